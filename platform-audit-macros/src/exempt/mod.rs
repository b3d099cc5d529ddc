//! `#[audit_exempt(reason = "…")]`: declares that a state-changing handler needs no record.

mod attr;
mod expand;
#[cfg(test)]
mod tests;
mod validate;

use crate::errors::Errors;
use proc_macro2::TokenStream;

/// Returns the expansion of `item`, and its errors.
pub(crate) fn audit_exempt(attributes: TokenStream, item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let options = attr::Options::parse(attributes, &mut errors);
    let tokens = match validate::exemption(options, item.clone(), &mut errors) {
        Some(exemption) => expand::expand(&exemption),
        None => item,
    };
    (tokens, errors)
}
