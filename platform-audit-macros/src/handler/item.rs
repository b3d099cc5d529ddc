//! Parses a handler.

use super::attributes::SplitAttributes;
use super::parameters::Parameter;
use crate::errors::Errors;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Signature, Token, Visibility, token};

/// A parsed handler. Its body remains tokens, so that the compiler reports errors in it, and an
/// editor gets it back even when it is incomplete.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenTree,
    pub(crate) attributes: SplitAttributes,
    pub(crate) parameters: Vec<Parameter>,
    /// Whether it can be wrapped, by the rules of both macros.
    pub(crate) is_valid: bool,
}

impl Handler {
    /// Parses the item below `attribute`, whose name is used in messages. Adds an error and returns
    /// `None` if it is not a function.
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
            attributes: SplitAttributes::from(item.attributes),
            signature: item.signature,
            body: item.body,
            parameters,
            is_valid: errors.count() == before,
        })
    }

    pub(crate) fn transaction(&self) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| parameter.is_transaction())
    }

    pub(crate) fn extractors(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters
            .iter()
            .filter(|parameter| !parameter.is_transaction())
    }

    /// Adds an error at the extractors after the first `max`.
    pub(crate) fn limit_extractors(&self, max: usize, rule: &str, errors: &mut Errors) {
        let surplus = self
            .extractors()
            .skip(max)
            .map(|it| it.ty.to_token_stream());
        let surplus: TokenStream = surplus.collect();
        if !surplus.is_empty() {
            errors.at(
                surplus,
                format!("{rule}: combine some in a struct with `#[derive(FromRequestParts)]`"),
            );
        }
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
                "`{attribute}` applies to an `async fn` handler, and this is not a function"
            )));
        }
        let signature: Signature = input.parse()?;
        if !input.peek(token::Brace) {
            return Err(syn::Error::new_spanned(
                &signature.ident,
                format!("`{attribute}` applies to a handler with a body, and this one has none"),
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
                        "this handler already has `{attribute}`: remove this `#[{name}]` or the other"
                    ),
                );
            }
        }
        let signature = &self.signature;
        if signature.asyncness.is_none() {
            errors.at(
                signature.fn_token,
                format!(
                    "a handler with `{attribute}` must be async: write `async fn {}`",
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
                    "a handler with `{attribute}` must be a free function without `self`: move it out of the `impl`, and take its state as `State(…): State<…>`"
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
