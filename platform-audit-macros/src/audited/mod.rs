//! `#[audited(…)]`: wraps a handler, so that its body runs in the audit transaction.

mod attr;
mod expand;
#[cfg(test)]
mod tests;
mod validate;

use crate::errors::Errors;
use proc_macro2::TokenStream;

/// Returns the expansion of `item`, and its errors. A handler is wrapped despite errors in the
/// options if possible, so that the router does not report it as unaudited as well.
pub(crate) fn audited(attributes: TokenStream, item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let options = attr::Options::parse(attributes, &mut errors);
    let tokens = match validate::action(options, item.clone(), &mut errors) {
        Some(action) => expand::expand(&action),
        None => item,
    };
    (tokens, errors)
}
