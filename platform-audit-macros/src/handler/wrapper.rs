use super::item::Handler;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, Type, parse_quote_spanned};

/// The pieces both wrappers are made of. The names they bring are invisible to the body, and
/// the errors the compiler finds in them are shown at the handler's own name.
#[derive(Debug)]
pub(crate) struct Wrapper<'a> {
    handler: &'a Handler,
    pub(crate) marker: Ident,
    span: Span,
}

impl<'a> Wrapper<'a> {
    pub(crate) fn new(prefix: &str, handler: &'a Handler) -> Self {
        let name = &handler.signature.ident;
        Self {
            handler,
            marker: format_ident!("__{prefix}_{}", name.unraw(), span = name.span()),
            span: Span::mixed_site().located_at(name.span()),
        }
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The type that stands for this handler, and its `implementation`.
    pub(crate) fn marker_with(&self, implementation: &TokenStream) -> TokenStream {
        let conditions = &self.handler.attributes.conditions;
        let visibility = &self.handler.visibility;
        let marker = &self.marker;
        quote_spanned! {self.span=>
            #(#conditions)*
            #[doc(hidden)]
            #[allow(non_camel_case_types, dead_code, unreachable_pub)]
            #[derive(::core::fmt::Debug)]
            #visibility struct #marker;

            #(#conditions)*
            #[automatically_derived]
            #implementation
        }
    }

    /// The function axum calls: the extractors of the handler, after `first`.
    pub(crate) fn outer(
        &self,
        allowed: &[&str],
        first: Option<FnArg>,
        output: &TokenStream,
        body: &TokenStream,
    ) -> TokenStream {
        let handler = self.handler;
        let mut lints: Vec<TokenStream> = allowed
            .iter()
            .filter_map(|lint| lint.parse().ok())
            .collect();
        if handler.signature.generics.lifetimes().next().is_some() {
            // Those that only the transaction used.
            lints.push(quote!(unused_lifetimes));
            lints.push(quote!(clippy::extra_unused_lifetimes));
        }
        let allow = (!lints.is_empty()).then(|| quote_spanned!(self.span=> #[allow(#(#lints),*)]));

        let mut signature = handler.signature.clone();
        signature.inputs = first.into_iter().collect();
        for (index, parameter) in handler.parameters.iter().enumerate() {
            if !parameter.is_lent() {
                let argument = self.argument(index);
                let ty = &parameter.ty;
                signature
                    .inputs
                    .push(parse_quote_spanned!(self.span=> #argument: #ty));
            }
        }
        signature.output = parse_quote_spanned!(self.span=> -> #output);

        let attributes = &handler.attributes.outer;
        let visibility = &handler.visibility;
        let inner = self.inner();
        quote_spanned! {self.span=>
            #allow
            #(#attributes)*
            #visibility #signature {
                #inner
                #body
            }
        }
    }

    /// The developer's function under its own name, so that its spans keep theirs.
    fn inner(&self) -> TokenStream {
        let attributes = &self.handler.attributes.inner;
        let signature = &self.handler.signature;
        let body = &self.handler.body;
        quote_spanned! {self.span=>
            #[allow(clippy::unused_async)]
            #(#attributes)*
            #signature #body
        }
    }

    /// `handler::<T, N>(__arg0, transaction, __arg2)`
    pub(crate) fn call(&self) -> TokenStream {
        let name = &self.handler.signature.ident;
        let generics: Vec<&Ident> = self
            .handler
            .signature
            .generics
            .params
            .iter()
            .filter_map(|parameter| match parameter {
                GenericParam::Type(ty) => Some(&ty.ident),
                GenericParam::Const(constant) => Some(&constant.ident),
                GenericParam::Lifetime(_) => None,
            })
            .collect();
        let turbofish =
            (!generics.is_empty()).then(|| quote_spanned!(self.span=> ::<#(#generics),*>));
        let arguments = self
            .handler
            .parameters
            .iter()
            .enumerate()
            .map(|(index, parameter)| {
                if parameter.is_lent() {
                    self.transaction(&parameter.ty)
                } else {
                    self.argument(index)
                }
            });
        quote_spanned!(self.span=> #name #turbofish (#(#arguments),*))
    }

    pub(crate) fn argument(&self, index: usize) -> Ident {
        format_ident!("__arg{}", index, span = self.span)
    }

    /// Shown where the handler says its type, should that not be the transaction's.
    pub(crate) fn transaction(&self, ty: &Type) -> Ident {
        Ident::new("__tx", self.span.located_at(ty.span()))
    }
}
