//! `key = value, flag, …`: what stands between the parentheses of every attribute here.

use crate::errors::Errors;
use crate::names::nearest;
use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token};

/// The options one attribute knows, each with an example of its use.
#[derive(Debug)]
pub(crate) struct Known {
    /// How messages call the attribute.
    pub(crate) attribute: &'static str,
    /// Key and example, in the order messages list them.
    pub(crate) options: &'static [(&'static str, &'static str)],
}

/// Which options were given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    read: Vec<&'static str>,
    misspelt: Vec<&'static str>,
}

impl Given {
    /// Whether `name` is there in some form, so that it is not also called missing.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.read.contains(&name) || self.misspelt.contains(&name)
    }
}

impl Known {
    /// Reads all options to the end, past every mistake; `read` is called once for each
    /// known key, behind the key.
    pub(crate) fn parse(
        &self,
        tokens: TokenStream,
        errors: &mut Errors,
        mut read: impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
    ) -> Given {
        let mut given = Given::default();
        let parser = |input: ParseStream<'_>| {
            self.parse_all(input, errors, &mut given, &mut read);
            Ok(())
        };
        if let Err(error) = parser.parse2(tokens) {
            errors.push(error);
        }
        given
    }

    /// The same for the helper attribute `name`, in which the options may be spread over
    /// several attributes.
    pub(crate) fn parse_attributes(
        &self,
        name: &str,
        attributes: &[Attribute],
        errors: &mut Errors,
        mut read: impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
    ) -> Given {
        let mut given = Given::default();
        for attribute in attributes
            .iter()
            .filter(|found| found.path().is_ident(name))
        {
            let Meta::List(list) = &attribute.meta else {
                errors.at(
                    attribute,
                    format!("write `#[{name}(…)]`; {}", self.listed()),
                );
                continue;
            };
            let parser = |input: ParseStream<'_>| {
                self.parse_all(input, errors, &mut given, &mut read);
                Ok(())
            };
            if let Err(error) = parser.parse2(list.tokens.clone()) {
                errors.push(error);
            }
        }
        given
    }

    fn parse_all(
        &self,
        input: ParseStream<'_>,
        errors: &mut Errors,
        given: &mut Given,
        read: &mut impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
    ) {
        while !input.is_empty() {
            if let Err(error) = self.parse_one(input, given, read) {
                errors.push(error);
                skip_to_comma(input);
            }
            if input.is_empty() {
                break;
            }
            if let Err(error) = input.parse::<Token![,]>() {
                errors.push(syn::Error::new(
                    error.span(),
                    "expected `,` before the next option",
                ));
                skip_to_comma(input);
                let _ = input.parse::<Token![,]>();
            }
        }
    }

    fn parse_one(
        &self,
        input: ParseStream<'_>,
        given: &mut Given,
        read: &mut impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
    ) -> syn::Result<()> {
        if !input.peek(Ident::peek_any) {
            let mut message = "expected the name of an option".to_owned();
            if let Some((name, example)) = self.options.first() {
                given.misspelt.push(name);
                message.push_str(&format!(", as in `{example}`"));
            }
            message.push_str(&format!("; {}", self.listed()));
            return Err(input.error(message));
        }
        let ident = input.call(Ident::parse_any)?;
        let typed = ident.unraw().to_string();
        let Some((name, example)) = self.options.iter().find(|(name, _)| *name == typed) else {
            let mut message = format!("unknown option `{typed}` of {}", self.attribute);
            let names: Vec<&'static str> = self.options.iter().map(|(name, _)| *name).collect();
            if let Some(meant) = nearest(&typed, &names) {
                given.misspelt.push(meant);
                message.push_str(&format!(", perhaps `{meant}`"));
            }
            message.push_str(&format!("; {}", self.listed()));
            skip_value(input);
            return Err(syn::Error::new(ident.span(), message));
        };
        if given.read.contains(name) {
            skip_value(input);
            return Err(syn::Error::new(
                ident.span(),
                format!("`{name}` is given twice: keep one of them"),
            ));
        }
        given.read.push(name);
        read(
            name,
            &OptionKey {
                ident,
                name,
                example,
            },
            input,
        )
    }

    fn listed(&self) -> String {
        let names: Vec<String> = self
            .options
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        format!("the options are {}", names.join(", "))
    }
}

/// A key that was read; its value comes next.
#[derive(Debug)]
pub(crate) struct OptionKey {
    pub(crate) ident: Ident,
    name: &'static str,
    example: &'static str,
}

impl OptionKey {
    /// The key alone.
    pub(crate) fn flag(&self, input: ParseStream<'_>) -> syn::Result<()> {
        if input.is_empty() || input.peek(Token![,]) {
            return Ok(());
        }
        Err(syn::Error::new(
            self.ident.span(),
            format!("`{}` takes no value: write `{}`", self.name, self.example),
        ))
    }

    /// `= "…"`, a literal because it is checked now.
    pub(crate) fn string(&self, input: ParseStream<'_>) -> syn::Result<LitStr> {
        let value = self.expression(input)?;
        as_string(&value).ok_or_else(|| {
            syn::Error::new_spanned(
                &value,
                format!(
                    "`{}` takes a string literal: write `{}`",
                    self.name, self.example
                ),
            )
        })
    }

    /// `= "value"`, where no other value has a meaning.
    pub(crate) fn only(&self, input: ParseStream<'_>, value: &str) -> syn::Result<()> {
        let given = self.expression(input)?;
        if as_string(&given).is_some_and(|given| given.value() == value) {
            return Ok(());
        }
        Err(syn::Error::new_spanned(
            given,
            format!(
                "`{}` has one value: write `{}`, or leave it out",
                self.name, self.example
            ),
        ))
    }

    /// `= path` or `= "path"`.
    pub(crate) fn path(&self, input: ParseStream<'_>) -> syn::Result<Path> {
        let value = self.expression(input)?;
        let path = match as_string(&value) {
            Some(string) => string.parse_with(Path::parse_mod_style).ok(),
            None => match ungrouped(&value) {
                Expr::Path(path) if path.qself.is_none() && path.attrs.is_empty() => {
                    Some(path.path.clone())
                }
                _ => None,
            },
        };
        path.ok_or_else(|| {
            syn::Error::new_spanned(
                &value,
                format!("`{}` takes a path: write `{}`", self.name, self.example),
            )
        })
    }

    /// `= expression`.
    pub(crate) fn expression(&self, input: ParseStream<'_>) -> syn::Result<Expr> {
        let missing = || {
            syn::Error::new(
                self.ident.span(),
                format!("`{}` needs a value: write `{}`", self.name, self.example),
            )
        };
        if !input.peek(Token![=]) {
            return Err(missing());
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() || input.peek(Token![,]) {
            return Err(missing());
        }
        input.parse()
    }
}

/// A literal that came through a `macro_rules!` fragment is wrapped in an invisible group.
fn ungrouped(expression: &Expr) -> &Expr {
    match expression {
        Expr::Group(group) => ungrouped(&group.expr),
        other => other,
    }
}

fn as_string(expression: &Expr) -> Option<LitStr> {
    match ungrouped(expression) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(string),
            ..
        }) => Some(string.clone()),
        _ => None,
    }
}

/// A whole expression where there is one: the commas of `f::<A, B>(c)` are its own.
fn skip_value(input: ParseStream<'_>) {
    if input.peek(Token![=]) {
        let ahead = input.fork();
        if ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Expr>().is_ok() {
            let _ = input.parse::<Token![=]>();
            let _ = input.parse::<Expr>();
        }
    }
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        if input.parse::<TokenTree>().is_err() {
            return;
        }
    }
}
