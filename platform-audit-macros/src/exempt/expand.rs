//! Generates the wrapper of an exempt handler.

use super::validate::Exemption;
use crate::crate_path;
use crate::handler::Wrapper;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

pub(super) fn expand(exemption: &Exemption) -> TokenStream {
    let Exemption {
        handler,
        reason,
        crate_path,
    } = exemption;
    let wrapper = Wrapper::new("audit_exempt", handler);
    let name = &wrapper.marker;
    let span = wrapper.span();
    let marker = wrapper.marker_with(&quote_spanned! {span=>
        impl #crate_path::__private::ExemptAction for #name {
            const REASON: &'static str = #reason;
        }
    });
    let call = wrapper.call();
    let response = wrapper.response_span();
    let path_at_response = crate_path::with_span_at(crate_path, response);
    let outer = wrapper.outer(
        None,
        &quote_spanned!(span=> #crate_path::Exempt),
        &quote_spanned!(response=> #path_at_response::__private::exempt(#call.await)),
    );
    quote!(#marker #outer)
}
