//! Generates the wrapper of an audited handler.

use super::validate::Action;
use crate::crate_path;
use crate::handler::{Handler, Wrapper};
use crate::identifiers::Identifiers;
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{PatIdent, ReturnType, Type, TypeImplTrait, parse_quote_spanned};

pub(super) fn expand(action: &Action) -> TokenStream {
    let wrapper = Wrapper::new("audited", &action.handler);
    let marker = wrapper.marker_with(&specification(action, &wrapper));
    let span = wrapper.span();
    let krate = &action.crate_path;
    let name = &wrapper.marker;

    let outer = wrapper.outer(
        Some(parse_quote_spanned!(span=> __audit_call: #krate::__private::Call<#name>)),
        &quote_spanned!(span=> #krate::Audited),
        &body(action, &wrapper),
    );
    quote!(#marker #outer)
}

fn specification(action: &Action, wrapper: &Wrapper<'_>) -> TokenStream {
    let Action {
        action,
        resource,
        reason_required,
        actor_optional,
        read,
        crate_path,
        ..
    } = action;
    let marker = &wrapper.marker;
    let span = wrapper.span();
    let resource = match resource {
        Some(resource) => quote_spanned!(span=> ::core::option::Option::Some(#resource)),
        None => quote_spanned!(span=> ::core::option::Option::None),
    };
    quote_spanned! {span=>
        impl #crate_path::__private::AuditedAction for #marker {
            const SPEC: #crate_path::__private::ActionSpec = #crate_path::__private::ActionSpec {
                action: #action,
                resource: #resource,
                reason_required: #reason_required,
                actor_optional: #actor_optional,
                read: #read,
            };
        }
    }
}

fn body(action: &Action, wrapper: &Wrapper<'_>) -> TokenStream {
    let krate = &action.crate_path;
    let resource_id = resource_id(action, wrapper);
    let call = wrapper.call();
    let transaction = action
        .handler
        .transaction()
        .map(|parameter| wrapper.transaction(&parameter.ty));
    let span = wrapper.response_span();
    let krate = crate_path::with_span_at(krate, span);
    let run = match transaction {
        Some(_) => quote_spanned!(span=> #krate::__private::run),
        None => quote_spanned!(span=> #krate::__private::run_read),
    };
    // `impl Trait` captures the transaction's lifetime, which the type parameter of `run` cannot.
    let future = if transaction.is_some() && returns_impl_trait(&action.handler) {
        quote_spanned! {span=>
            async move { #krate::__private::IntoResponse::into_response(#call.await) }
        }
    } else {
        call
    };
    let future = quote_spanned!(wrapper.span()=> ::std::boxed::Box::pin(#future));
    quote_spanned! {span=>
        let __resource_id = #resource_id;
        #run(__audit_call, __resource_id, move |#transaction| #future).await
    }
}

/// Evaluates the expression over references to the extractors, before they move into the body.
fn resource_id(action: &Action, wrapper: &Wrapper<'_>) -> TokenStream {
    let span = wrapper.span();
    let Some(expression) = &action.resource_id else {
        return quote_spanned!(span=> ::core::option::Option::None);
    };
    let identifiers = Identifiers::from_tokens(quote!(#expression));
    let bindings = action
        .handler
        .parameters
        .iter()
        .enumerate()
        .filter(|(_, parameter)| !parameter.is_transaction())
        .filter_map(|(index, parameter)| {
            let mut bound = ByReference::default();
            let mut pattern = parameter.pattern.clone();
            bound.visit_pat_mut(&mut pattern);
            let argument = wrapper.argument(index);
            let names = &bound.names;
            names
                .iter()
                .any(|name| identifiers.may_contain(&name.to_string()))
                .then(|| {
                    // The expression may not use every name, so the tuple prevents warnings.
                    quote_spanned! {span=>
                        let #pattern = &#argument;
                        let _ = (#(&#names,)*);
                    }
                })
        });
    let value_span = span.located_at(expression.span());
    let value = quote_spanned!(value_span=> ::std::string::ToString::to_string(&(#expression)));
    quote_spanned! {span=> {
        #(#bindings)*
        ::core::option::Option::Some(#value)
    }}
}

fn returns_impl_trait(handler: &Handler) -> bool {
    struct Search(bool);
    impl VisitMut for Search {
        fn visit_type_impl_trait_mut(&mut self, _: &mut TypeImplTrait) {
            self.0 = true;
        }
    }
    let ReturnType::Type(_, output) = &handler.signature.output else {
        return false;
    };
    let mut search = Search(false);
    search.visit_type_mut(&mut Type::clone(output));
    search.0
}

/// Changes a parameter's pattern to match a reference to the argument, and collects its names.
#[derive(Default)]
struct ByReference {
    names: Vec<Ident>,
}

impl VisitMut for ByReference {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        pattern.by_ref = None;
        pattern.mutability = None;
        self.names.push(pattern.ident.clone());
        visit_mut::visit_pat_ident_mut(self, pattern);
    }
}
