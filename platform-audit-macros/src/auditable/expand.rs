//! Generates the implementation of `Auditable`.

use super::validate::{Field, Resource};
use crate::crate_path;
use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Path;
use syn::spanned::Spanned;

pub(super) fn expand(resource: &Resource) -> TokenStream {
    let Resource {
        ident,
        generics,
        resource: name,
        crate_path,
        id,
        fields,
    } = resource;
    let span = Span::mixed_site().located_at(ident.span());
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let id = match id {
        Some((field, ty)) => {
            let span = span.located_at(ty.span());
            quote_spanned!(span=> ::std::string::ToString::to_string(&self.#field))
        }
        None => quote_spanned!(span=> ::std::string::String::new()),
    };
    let fields = fields.iter().map(|field| record(field, crate_path, span));
    quote_spanned! {span=>
        #[automatically_derived]
        impl #parameters #crate_path::Auditable for #ident #arguments #bounds {
            const RESOURCE: &'static str = #name;

            fn resource_id(&self) -> ::std::string::String {
                #id
            }

            fn fields(&self, __fields: &mut #crate_path::__private::Fields) {
                #(#fields)*
            }
        }
    }
}

/// Passes the field's value to `Fields`.
fn record(field: &Field, crate_path: &Path, span: Span) -> TokenStream {
    let Field {
        ident,
        ty,
        name,
        redact,
    } = field;
    let span = span.located_at(ty.span());
    let crate_path = crate_path::with_span_at(crate_path, span);
    let value = quote_spanned!(span=> #crate_path::__private::value!(&self.#ident));
    if *redact {
        quote_spanned!(span=> __fields.redacted(#name, #value);)
    } else {
        quote_spanned!(span=> __fields.field(#name, #value);)
    }
}
