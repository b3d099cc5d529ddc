//! Generates the function that axum calls.

use super::item::Handler;
use crate::identifiers::Identifiers;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, ReturnType, Type, parse_quote_spanned};

/// The default threshold of `clippy::too_many_arguments`.
const CLIPPY_MAX_ARGUMENTS: usize = 7;

/// The parts that both macros emit. Their names are hygienic, so the body cannot see them, and the
/// compiler reports errors in them at the handler's name.
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
            // Not the name's own span, so that its lints (`non_camel_case_types`) do not apply.
            marker: format_ident!(
                "__{prefix}_{}",
                name.unraw(),
                span = Span::call_site().located_at(name.span())
            ),
            span: Span::mixed_site().located_at(name.span()),
        }
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The span for errors about the response: its type.
    pub(crate) fn response_span(&self) -> Span {
        match &self.handler.signature.output {
            ReturnType::Type(_, output) => self.span.located_at(output.span()),
            ReturnType::Default => self.span,
        }
    }

    /// The marker type of this handler, and its `implementation` of a trait.
    pub(crate) fn marker_with(&self, implementation: &TokenStream) -> TokenStream {
        let conditions = &self.handler.attributes.conditions;
        let visibility = &self.handler.visibility;
        let marker = &self.marker;
        quote_spanned! {self.span=>
            #(#conditions)*
            #[doc(hidden)]
            #[derive(::core::fmt::Debug)]
            #visibility struct #marker;

            #(#conditions)*
            #[automatically_derived]
            #implementation
        }
    }

    /// The function that axum calls. Its parameters are `first` and the handler's extractors.
    pub(crate) fn outer(
        &self,
        first: Option<FnArg>,
        output: &TokenStream,
        body: &TokenStream,
    ) -> TokenStream {
        let handler = self.handler;
        let mut signature = handler.signature.clone();
        signature.inputs = first.into_iter().collect();
        for (index, parameter) in handler.parameters.iter().enumerate() {
            if !parameter.is_transaction() {
                let argument = self.argument(index);
                let ty = &parameter.ty;
                signature
                    .inputs
                    .push(parse_quote_spanned!(self.span=> #argument: #ty));
            }
        }
        let marker = &self.marker;
        let close = quote_spanned!(self.end_of_signature()=> >);
        signature.output = parse_quote_spanned!(self.span=> -> #output<#marker #close);

        let mut lints = Vec::new();
        let original = handler.parameters.len();
        if original == CLIPPY_MAX_ARGUMENTS && signature.inputs.len() > original {
            lints.push(quote!(clippy::too_many_arguments));
        }
        if handler.signature.generics.lifetimes().next().is_some() {
            // The outer function has no transaction parameter, which may leave a lifetime unused.
            lints.push(quote!(unused_lifetimes));
            lints.push(quote!(clippy::extra_unused_lifetimes));
        }
        let attributes = &handler.attributes.outer;
        if attributes
            .iter()
            .any(|found| found.path().is_ident("must_use"))
        {
            // The generated return type is `#[must_use]` as well.
            lints.push(quote!(clippy::double_must_use));
        }
        let allow = self.allow(&lints);
        let visibility = &handler.visibility;
        let inner = self.inner();
        // With generated braces, the compiler would not warn about an unused handler.
        let mut nested = Group::new(Delimiter::Brace, quote!(#inner #body));
        nested.set_span(handler.body.span());
        quote_spanned! {self.span=>
            #allow
            #(#attributes)*
            #visibility #signature #nested
        }
    }

    /// The original function under its original name, which its tracing spans use.
    fn inner(&self) -> TokenStream {
        let attributes = &self.handler.attributes.inner;
        let signature = &self.handler.signature;
        let body = &self.handler.body;
        let mut lints = Vec::new();
        if !Identifiers::from_tokens(quote!(#body)).may_contain("await") {
            // The macro requires `async`, even if the body does not.
            lints.push(quote!(clippy::unused_async));
        }
        if self.handler.parameters.len() > CLIPPY_MAX_ARGUMENTS {
            // Clippy reports the outer function already.
            lints.push(quote!(clippy::too_many_arguments));
        }
        let allow = self.allow(&lints);
        quote_spanned! {self.span=>
            #allow
            #(#attributes)*
            #signature #body
        }
    }

    /// The span of the last token of the signature. With original tokens at both ends of the
    /// function, the compiler reports lints about it as being in the developer's code.
    fn end_of_signature(&self) -> Span {
        let parentheses = self.handler.signature.paren_token.span.close();
        match &self.handler.signature.output {
            ReturnType::Type(_, output) => match output.to_token_stream().into_iter().last() {
                Some(TokenTree::Group(group)) => group.span_close(),
                Some(last) => last.span(),
                None => parentheses,
            },
            ReturnType::Default => parentheses,
        }
    }

    fn allow(&self, lints: &[TokenStream]) -> Option<TokenStream> {
        (!lints.is_empty()).then(|| quote_spanned!(self.span=> #[allow(#(#lints),*)]))
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
                if parameter.is_transaction() {
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

    /// The transaction's argument. A wrong type is reported at the parameter's type.
    pub(crate) fn transaction(&self, ty: &Type) -> Ident {
        Ident::new("__tx", self.span.located_at(ty.span()))
    }
}
