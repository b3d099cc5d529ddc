//! `#[derive(Auditable)]`: how a resource shows itself to the audit log.

mod attr;
mod expand;
#[cfg(test)]
mod tests;
mod validate;

use crate::errors::Errors;
use proc_macro2::TokenStream;

/// The implementation for the type in `item`, and what is wrong with it. A struct with
/// mistakes in its attributes still gets one, lest every use of it complain as well.
pub(crate) fn auditable(item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let tokens = match syn::parse2(item) {
        Ok(input) => {
            validate::resource(input, &mut errors).map(|resource| expand::expand(&resource))
        }
        Err(error) => {
            errors.push(error);
            None
        }
    };
    (tokens.unwrap_or_default(), errors)
}
