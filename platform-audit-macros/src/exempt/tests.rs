use super::audit_exempt;
use proc_macro2::TokenStream;

const HANDLER: &str = "async fn preview(Json(new): Json<NewEntry>) -> Json<Preview> { of(new) }";

fn messages(options: &str, item: &str) -> Vec<String> {
    audit_exempt(tokens(options), tokens(item)).1.messages()
}

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("tokens")
}

#[test]
fn a_valid_handler_has_no_errors() {
    assert!(messages("reason = \"stores nothing\"", HANDLER).is_empty());
}

#[test]
fn a_reason_is_required() {
    assert_eq!(
        messages("", HANDLER),
        [
            "missing `reason`, which auditors read: write `#[audit_exempt(reason = \"only checks the input\")]`"
        ]
    );
}

#[test]
fn an_empty_reason_is_an_error() {
    for reason in ["", "  ", "-", "..."] {
        assert_eq!(
            messages(&format!("reason = \"{reason}\""), HANDLER),
            [
                "this reason is empty, but auditors read it: write why this handler needs no audit record"
            ]
        );
    }
}

#[test]
fn a_reason_must_be_a_literal() {
    assert_eq!(
        messages("reason = WHY", HANDLER),
        ["`reason` takes a string literal: write `reason = \"only checks the input\"`"]
    );
}

#[test]
fn the_error_for_an_unknown_option_lists_the_known_ones_and_suggests_the_nearest() {
    assert_eq!(
        messages(
            "reason = \"stores nothing\", raeson = \"x\", action = \"a.b\"",
            HANDLER
        ),
        [
            "unknown option `raeson` of `#[audit_exempt]`, perhaps `reason`; the options are `reason`, `crate_path`",
            "unknown option `action` of `#[audit_exempt]`; the options are `reason`, `crate_path`"
        ]
    );
}

#[test]
fn an_exempt_handler_has_no_transaction() {
    for ty in ["&mut AuditTx", "&mut Tx", "&AuditTx", "AuditTx"] {
        assert_eq!(
            messages(
                "reason = \"stores nothing\"",
                &format!("async fn preview(tx: {ty}) {{}}")
            ),
            [
                "an exempt handler has no audit transaction: remove this parameter, or write `#[audited]` instead of `#[audit_exempt]`"
            ]
        );
    }
}

#[test]
fn an_extractor_cannot_be_a_reference() {
    assert_eq!(
        messages(
            "reason = \"stores nothing\"",
            "async fn preview(new: &NewEntry) {}"
        ),
        ["an extractor cannot be a reference: take it by value"]
    );
}

#[test]
fn there_are_at_most_16_extractors() {
    let handler = |extractors: usize| {
        format!(
            "async fn preview({}) {{}}",
            "_: HeaderMap, ".repeat(extractors)
        )
    };
    assert!(messages("reason = \"stores nothing\"", &handler(16)).is_empty());
    assert_eq!(
        messages("reason = \"stores nothing\"", &handler(17)),
        [
            "a handler takes at most 16 extractors: combine some in a struct with `#[derive(FromRequestParts)]`"
        ]
    );
}

#[test]
fn a_handler_must_be_a_free_async_function() {
    assert_eq!(
        messages("reason = \"stores nothing\"", "fn preview(&self) {}"),
        [
            "a handler with `#[audit_exempt]` must be async: write `async fn preview`",
            "a handler with `#[audit_exempt]` must be a free function without `self`: move it out of the `impl`, and take its state as `State(…): State<…>`"
        ]
    );
    assert_eq!(
        messages("reason = \"stores nothing\"", "enum Preview {}"),
        ["`#[audit_exempt]` applies to an `async fn` handler, and this is not a function"]
    );
}

#[test]
fn an_item_that_cannot_be_wrapped_is_emitted_unchanged() {
    let item = "#[debug_handler] fn preview(new: NewEntry) { new }";
    let (emitted, errors) = audit_exempt(tokens("reason = \"stores nothing\""), tokens(item));
    assert_eq!(emitted.to_string(), tokens(item).to_string());
    assert_eq!(errors.messages().len(), 1);
}
