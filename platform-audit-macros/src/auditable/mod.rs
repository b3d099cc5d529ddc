//! `#[derive(Auditable)]`: records a struct field by field.

mod attr;
mod expand;
#[cfg(test)]
mod tests;
mod validate;

use crate::errors::Errors;
use proc_macro2::TokenStream;

/// Returns the implementation for the type in `item`, and its errors. A struct with errors in its
/// attributes still gets an implementation, so that its uses are not reported as well.
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
