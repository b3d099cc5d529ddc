//! Parses the options of an attribute, `key = value, flag, …`.

use crate::errors::Errors;
use crate::names::nearest;
use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token};

/// The options of an attribute, each with an example.
#[derive(Debug)]
pub(crate) struct KnownOptions {
    /// The attribute's name in messages.
    pub(crate) attribute: &'static str,
    /// Keys and examples, in the order of messages.
    pub(crate) options: &'static [(&'static str, &'static str)],
}

/// The keys of the options that were given.
#[derive(Debug, Default)]
pub(crate) struct GivenOptions {
    parsed: Vec<&'static str>,
    misspelt: Vec<&'static str>,
}

impl GivenOptions {
    /// Whether `name` was given, perhaps misspelt, so that it is not also reported as missing.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.parsed.contains(&name) || self.misspelt.contains(&name)
    }
}

impl KnownOptions {
    /// Parses all options and continues after errors. Calls `parse_value` once for each known key,
    /// with the input after the key.
    pub(crate) fn parse(
        &self,
        tokens: TokenStream,
        errors: &mut Errors,
        mut parse_value: impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
    ) -> GivenOptions {
        let mut given = GivenOptions::default();
        let parser = |input: ParseStream<'_>| {
            self.parse_all(input, errors, &mut given, &mut parse_value);
            Ok(())
        };
        if let Err(error) = parser.parse2(tokens) {
            errors.push(error);
        }
        given
    }

    /// Like [`parse`](Self::parse), for the helper attribute `name`, which may occur several times.
    pub(crate) fn parse_attributes(
        &self,
        name: &str,
        attributes: &[Attribute],
        errors: &mut Errors,
        mut parse_value: impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
    ) -> GivenOptions {
        let mut given = GivenOptions::default();
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
                self.parse_all(input, errors, &mut given, &mut parse_value);
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
        given: &mut GivenOptions,
        parse_value: &mut impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
    ) {
        while !input.is_empty() {
            if let Err(error) = self.parse_one(input, given, parse_value) {
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
        given: &mut GivenOptions,
        parse_value: &mut impl FnMut(&'static str, &OptionKey, ParseStream<'_>) -> syn::Result<()>,
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
            if let Some(suggestion) = nearest(&typed, &names) {
                given.misspelt.push(suggestion);
                message.push_str(&format!(", perhaps `{suggestion}`"));
            }
            message.push_str(&format!("; {}", self.listed()));
            skip_value(input);
            return Err(syn::Error::new(ident.span(), message));
        };
        if given.parsed.contains(name) {
            skip_value(input);
            return Err(syn::Error::new(
                ident.span(),
                format!("`{name}` is given twice: keep one of them"),
            ));
        }
        given.parsed.push(name);
        parse_value(
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

/// A parsed key, whose value comes next.
#[derive(Debug)]
pub(crate) struct OptionKey {
    pub(crate) ident: Ident,
    name: &'static str,
    example: &'static str,
}

impl OptionKey {
    /// Parses a key without a value.
    pub(crate) fn flag(&self, input: ParseStream<'_>) -> syn::Result<()> {
        if input.is_empty() || input.peek(Token![,]) {
            return Ok(());
        }
        Err(syn::Error::new(
            self.ident.span(),
            format!("`{}` takes no value: write `{}`", self.name, self.example),
        ))
    }

    /// Parses `= "…"`. Only a literal can be validated at compile time.
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

    /// Parses `= "value"`, the only valid value.
    pub(crate) fn only(&self, input: ParseStream<'_>, value: &str) -> syn::Result<()> {
        let given = self.expression(input)?;
        if as_string(&given).is_some_and(|given| given.value() == value) {
            return Ok(());
        }
        Err(syn::Error::new_spanned(
            given,
            format!(
                "`{}` has only one valid value: write `{}`, or leave it out",
                self.name, self.example
            ),
        ))
    }

    /// Parses `= path` or `= "path"`.
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

    /// Parses `= expression`.
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

/// Removes the invisible groups around a literal that was a `macro_rules!` fragment.
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

/// Skips a whole expression if there is one, as an expression such as `f::<A, B>(c)` contains
/// commas.
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
