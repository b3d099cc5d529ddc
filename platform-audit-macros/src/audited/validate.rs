//! Validates a handler for `#[audited]`.

use super::attr::Options;
use crate::errors::Errors;
use crate::handler::{Handler, Role};
use crate::names;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprPath, LitStr, Pat, Path};

/// axum's handlers take up to 16 arguments, and the audit call is one of them.
const MAX_EXTRACTORS: usize = 15;

/// A handler that can be wrapped. After errors, missing options are empty.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) handler: Handler,
    pub(super) action: String,
    pub(super) resource: Option<String>,
    pub(super) resource_id: Option<Expr>,
    pub(super) reason_required: bool,
    pub(super) actor_optional: bool,
    pub(super) read: bool,
    pub(super) crate_path: Path,
}

pub(super) fn action(options: Options, item: TokenStream, errors: &mut Errors) -> Option<Action> {
    let handler = Handler::parse("#[audited]", item, errors);
    let action = check_action(&options, handler.as_ref(), errors);
    let resource = options.resource.as_ref().map(|resource| {
        check_literal(resource, names::check_resource, errors);
        resource.value()
    });
    let handler = handler?;
    if let Some(expression) = &options.resource_id {
        check_resource_id(expression, &handler, errors);
    }
    check_parameters(&handler, options.read, errors).then(|| Action {
        handler,
        action,
        resource,
        resource_id: options.resource_id,
        reason_required: options.reason_required,
        actor_optional: options.actor_optional,
        read: options.read,
        crate_path: options.crate_path,
    })
}

fn check_action(options: &Options, handler: Option<&Handler>, errors: &mut Errors) -> String {
    if let Some(action) = &options.action {
        check_literal(action, names::check_action, errors);
        return action.value();
    }
    if !options.has_action {
        let example = match handler {
            Some(handler) => names::action_for(&handler.signature.ident.to_string()),
            None => "entry.create".to_owned(),
        };
        errors.push(syn::Error::new(
            Span::call_site(),
            format!(
                "missing `action`, the name of what this handler does: write `#[audited(action = \"{example}\")]`"
            ),
        ));
    }
    String::new()
}

fn check_literal(literal: &LitStr, check: fn(&str) -> Result<(), String>, errors: &mut Errors) {
    if let Err(message) = check(&literal.value()) {
        errors.at(literal, message);
    }
}

fn check_parameters(handler: &Handler, read: bool, errors: &mut Errors) -> bool {
    let before = errors.count();
    let mut transaction = false;
    for parameter in &handler.parameters {
        let ty = &parameter.ty;
        match parameter.role {
            Role::Transaction if transaction => errors.at(
                ty,
                "a handler has one transaction, and this is a second `&mut` parameter: remove one of them, and take anything else by value",
            ),
            Role::SharedTransaction => errors.at(
                ty,
                "a handler borrows the transaction mutably: write `&mut AuditTx`",
            ),
            Role::OwnedTransaction => errors.at(
                ty,
                "a handler borrows the transaction and does not own it: write `&mut AuditTx`",
            ),
            Role::SharedReference => errors.at(
                ty,
                "an extractor cannot be a reference: take it by value (only the transaction is borrowed, as `&mut AuditTx`)",
            ),
            Role::Transaction | Role::Extractor => {}
        }
        transaction |= matches!(
            parameter.role,
            Role::Transaction | Role::SharedTransaction | Role::OwnedTransaction
        );
    }
    if !transaction && !read {
        errors.push(syn::Error::new(
            handler.signature.paren_token.span.join(),
            "an audited handler needs the transaction in which its change and its record are written: add `tx: &mut AuditTx`, or the option `read` if it changes nothing",
        ));
    }
    let rule = format!(
        "an audited handler takes at most {MAX_EXTRACTORS} extractors besides the transaction"
    );
    handler.limit_extractors(MAX_EXTRACTORS, &rule, errors);
    handler.is_valid && errors.count() == before
}

fn check_resource_id(expression: &Expr, handler: &Handler, errors: &mut Errors) {
    let Some(transaction) = handler.transaction() else {
        return;
    };
    let Pat::Ident(pattern) = &transaction.pattern else {
        return;
    };
    let mut uses = UsesOf {
        name: &pattern.ident,
        found: None,
    };
    uses.visit_expr_mut(&mut expression.clone());
    if let Some(found) = uses.found {
        errors.at(
            found,
            "`resource_id` is evaluated before the transaction begins: leave it out, and name the resource in the body, for example with `tx.created(…)`",
        );
    }
}

struct UsesOf<'a> {
    name: &'a Ident,
    found: Option<TokenStream>,
}

impl VisitMut for UsesOf<'_> {
    fn visit_expr_path_mut(&mut self, path: &mut ExprPath) {
        if path.path.is_ident(self.name) {
            self.found = Some(quote!(#path));
        }
        visit_mut::visit_expr_path_mut(self, path);
    }
}
