//! `#[audited(…)]`: the handler becomes one that axum calls with the audit context, and its
//! body runs in the audit transaction.

mod attr;
mod expand;
#[cfg(test)]
mod tests;
mod validate;

use crate::errors::Errors;
use proc_macro2::TokenStream;

/// The item to compile in place of `item`, and what is wrong with it. A handler that could be
/// wrapped is wrapped even so, lest the router complain a second time about the first mistake.
pub(crate) fn audited(attributes: TokenStream, item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let options = attr::Options::parse(attributes, &mut errors);
    let tokens = match validate::action(options, item.clone(), &mut errors) {
        Some(action) => expand::expand(&action),
        None => item,
    };
    (tokens, errors)
}
