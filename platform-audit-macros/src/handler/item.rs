use super::attributes::Routed;
use super::parameters::Parameter;
use crate::errors::Errors;
use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Signature, Token, Visibility, token};

/// A free function with its body left as tokens: the body is the compiler's to judge, and an
/// editor must get it back even when half typed.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenTree,
    pub(crate) attributes: Routed,
    pub(crate) parameters: Vec<Parameter>,
    /// Whether it can be wrapped, as far as both macros agree.
    pub(crate) sound: bool,
}

impl Handler {
    /// Reads the item below `attribute` (its name, for the messages). `None` when it is no
    /// function, and then `errors` says so.
    pub(crate) fn parse(attribute: &str, item: TokenStream, errors: &mut Errors) -> Option<Self> {
        let parser = |input: ParseStream<'_>| Item::parse(attribute, input);
        let item = match parser.parse2(item) {
            Ok(item) => item,
            Err(error) => {
                errors.push(error);
                return None;
            }
        };
        let before = errors.count();
        item.check(attribute, errors);
        let parameters = Parameter::all(&item.signature, attribute, errors);
        Some(Self {
            visibility: item.visibility,
            attributes: Routed::from(item.attributes),
            signature: item.signature,
            body: item.body,
            parameters,
            sound: errors.count() == before,
        })
    }

    pub(crate) fn transaction(&self) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.is_lent())
    }

    pub(crate) fn extractors(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters
            .iter()
            .filter(|parameter| !parameter.is_lent())
    }
}

struct Item {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
    body: TokenTree,
}

impl Item {
    fn parse(attribute: &str, input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if !is_function(input) {
            return Err(input.error(format!(
                "`{attribute}` goes on a handler, an `async fn`, and this is none"
            )));
        }
        let signature: Signature = input.parse()?;
        if !input.peek(token::Brace) {
            return Err(syn::Error::new_spanned(
                &signature.ident,
                format!("`{attribute}` goes on a handler with a body, and this one has none"),
            ));
        }
        Ok(Self {
            attributes,
            visibility,
            signature,
            body: input.parse()?,
        })
    }

    fn check(&self, attribute: &str, errors: &mut Errors) {
        for other in &self.attributes {
            let name = other
                .path()
                .segments
                .last()
                .map(|last| last.ident.to_string());
            if let Some(name @ ("audited" | "audit_exempt")) = name.as_deref() {
                errors.at(
                    other,
                    format!(
                        "this handler is already `{attribute}`: remove this `#[{name}]` or the other"
                    ),
                );
            }
        }
        let signature = &self.signature;
        if signature.asyncness.is_none() {
            errors.at(
                signature.fn_token,
                format!(
                    "a handler under `{attribute}` is async: write `async fn {}`",
                    signature.ident
                ),
            );
        }
        if let Some(unsafety) = &signature.unsafety {
            errors.at(
                unsafety,
                "axum cannot call an `unsafe` handler: remove `unsafe` here, and use it in the body",
            );
        }
        if let Some(abi) = &signature.abi {
            errors.at(abi, "axum cannot call an `extern` handler: remove this");
        }
        if let Some(receiver) = signature.receiver() {
            errors.at(
                receiver,
                format!(
                    "a handler under `{attribute}` is a free function and has no `self`: move it out of the `impl`, and take what it needs as `State(…): State<…>`"
                ),
            );
        }
    }
}

fn is_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    while !ahead.is_empty() && !ahead.peek(token::Brace) {
        if ahead.peek(Token![fn]) {
            return true;
        }
        let qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern])
            || ahead.peek(syn::LitStr);
        if !qualifier || ahead.parse::<TokenTree>().is_err() {
            return false;
        }
    }
    false
}
