//! Validates a handler for `#[audit_exempt]`.

use super::attr::Options;
use crate::errors::Errors;
use crate::handler::{Handler, Role};
use proc_macro2::{Span, TokenStream};
use syn::Path;

/// axum's handlers take up to 16 arguments.
const MAX_EXTRACTORS: usize = 16;

/// A handler that can be wrapped. After errors, the reason may be empty.
#[derive(Debug)]
pub(super) struct Exemption {
    pub(super) handler: Handler,
    pub(super) reason: String,
    pub(super) crate_path: Path,
}

pub(super) fn exemption(
    options: Options,
    item: TokenStream,
    errors: &mut Errors,
) -> Option<Exemption> {
    let reason = check_reason(&options, errors);
    let handler = Handler::parse("#[audit_exempt]", item, errors)?;
    check_parameters(&handler, errors).then(|| Exemption {
        handler,
        reason,
        crate_path: options.crate_path,
    })
}

fn check_reason(options: &Options, errors: &mut Errors) -> String {
    let Some(reason) = &options.reason else {
        if !options.has_reason {
            errors.push(syn::Error::new(
                Span::call_site(),
                "missing `reason`, which auditors read: write `#[audit_exempt(reason = \"only checks the input\")]`",
            ));
        }
        return String::new();
    };
    let value = reason.value().trim().to_owned();
    if !value.contains(char::is_alphanumeric) {
        errors.at(
            reason,
            "this reason is empty, but auditors read it: write why this handler needs no audit record",
        );
    }
    value
}

fn check_parameters(handler: &Handler, errors: &mut Errors) -> bool {
    let before = errors.count();
    for parameter in &handler.parameters {
        match parameter.role {
            Role::Transaction | Role::SharedTransaction | Role::OwnedTransaction => errors.at(
                &parameter.ty,
                "an exempt handler has no audit transaction: remove this parameter, or write `#[audited]` instead of `#[audit_exempt]`",
            ),
            Role::SharedReference => errors.at(
                &parameter.ty,
                "an extractor cannot be a reference: take it by value",
            ),
            Role::Extractor => {}
        }
    }
    let rule = format!("a handler takes at most {MAX_EXTRACTORS} extractors");
    handler.limit_extractors(MAX_EXTRACTORS, &rule, errors);
    handler.is_valid && errors.count() == before
}
