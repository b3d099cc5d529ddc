//! The path of platform-audit in the emitted code.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Path, parse_quote_spanned};

/// The default of the option `crate_path`.
pub(crate) fn default() -> Path {
    parse_quote_spanned!(Span::mixed_site()=> ::platform_audit)
}

/// The same path, with errors about it reported at `span`. Its hygiene does not change: `$crate` is
/// still the crate of the macro that contains it.
pub(crate) fn with_span_at(path: &Path, span: Span) -> TokenStream {
    path.to_token_stream()
        .into_iter()
        .map(|mut token: TokenTree| {
            token.set_span(token.span().located_at(span));
            token
        })
        .collect()
}
