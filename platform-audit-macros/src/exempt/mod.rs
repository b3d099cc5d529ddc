//! `#[audit_exempt(reason = "…")]`: a state-changing handler that needs no record, and why.

mod attr;
mod expand;
#[cfg(test)]
mod tests;
mod validate;

use crate::errors::Errors;
use proc_macro2::TokenStream;

/// The item to compile in place of `item`, and what is wrong with it.
pub(crate) fn audit_exempt(attributes: TokenStream, item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let options = attr::Options::parse(attributes, &mut errors);
    let tokens = match validate::exemption(options, item.clone(), &mut errors) {
        Some(exemption) => expand::expand(&exemption),
        None => item,
    };
    (tokens, errors)
}
