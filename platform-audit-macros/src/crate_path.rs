use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Path, parse_quote_spanned};

/// Where the runtime is, unless `crate_path` says otherwise.
pub(crate) fn default() -> Path {
    parse_quote_spanned!(Span::mixed_site()=> ::platform_audit)
}

/// The same path for code whose errors are to be shown at `place`. It keeps its meaning: a
/// `$crate` is still the crate of the macro that wrote it.
pub(crate) fn shown_at(path: &Path, place: Span) -> TokenStream {
    path.to_token_stream()
        .into_iter()
        .map(|mut token: TokenTree| {
            token.set_span(token.span().located_at(place));
            token
        })
        .collect()
}
