use super::item::Handler;
use crate::words::Words;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, ReturnType, Type, parse_quote_spanned};

/// Clippy warns of more, unless told otherwise.
const CLIPPY_MOST_ARGUMENTS: usize = 7;

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
            // Not at the name's own span: its lints (`non_camel_case_types`) are not for the
            // developer.
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

    /// Where to show what is wrong with the response: at its type.
    pub(crate) fn response_span(&self) -> Span {
        match &self.handler.signature.output {
            ReturnType::Type(_, output) => self.span.located_at(output.span()),
            ReturnType::Default => self.span,
        }
    }

    /// The type that stands for this handler, and its `implementation`.
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

    /// The function axum calls: the extractors of the handler, after `first`.
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
            if !parameter.is_lent() {
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
        let written = handler.parameters.len();
        if written == CLIPPY_MOST_ARGUMENTS && signature.inputs.len() > written {
            lints.push(quote!(clippy::too_many_arguments));
        }
        if handler.signature.generics.lifetimes().next().is_some() {
            // Those that only the transaction used.
            lints.push(quote!(unused_lifetimes));
            lints.push(quote!(clippy::extra_unused_lifetimes));
        }
        let attributes = &handler.attributes.outer;
        if attributes
            .iter()
            .any(|found| found.path().is_ident("must_use"))
        {
            // Our return type is `#[must_use]` as well.
            lints.push(quote!(clippy::double_must_use));
        }
        let allow = self.allow(&lints);
        let visibility = &handler.visibility;
        let inner = self.inner();
        // With braces of our own, the compiler would not say that a handler is never used.
        let mut nested = Group::new(Delimiter::Brace, quote!(#inner #body));
        nested.set_span(handler.body.span());
        quote_spanned! {self.span=>
            #allow
            #(#attributes)*
            #visibility #signature #nested
        }
    }

    /// The developer's function under its own name, so that its spans keep theirs.
    fn inner(&self) -> TokenStream {
        let attributes = &self.handler.attributes.inner;
        let signature = &self.handler.signature;
        let body = &self.handler.body;
        let mut lints = Vec::new();
        if !Words::of(quote!(#body)).mention("await") {
            // Being `async` is our wish, not the developer's fault.
            lints.push(quote!(clippy::unused_async));
        }
        if self.handler.parameters.len() > CLIPPY_MOST_ARGUMENTS {
            // Said of the outer function already.
            lints.push(quote!(clippy::too_many_arguments));
        }
        let allow = self.allow(&lints);
        quote_spanned! {self.span=>
            #allow
            #(#attributes)*
            #signature #body
        }
    }

    /// With the developer's own tokens at both ends of the function, lints about it are
    /// theirs, and shown there.
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
