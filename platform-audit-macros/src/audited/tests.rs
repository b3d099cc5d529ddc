use super::audited;
use proc_macro2::TokenStream;

const HANDLER: &str = "async fn create_entry(tx: &mut AuditTx, Json(new): Json<NewEntry>) {}";

fn messages(options: &str, item: &str) -> Vec<String> {
    expand(options, item).1
}

fn expand(options: &str, item: &str) -> (String, Vec<String>) {
    let (tokens, errors) = audited(tokens(options), tokens(item));
    (tokens.to_string(), errors.messages())
}

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("tokens")
}

/// Returns the only error message for `item`.
fn only_message(item: &str) -> String {
    let mut messages = messages("action = \"entry.create\"", item);
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

#[test]
fn a_valid_handler_has_no_errors() {
    assert!(messages("action = \"entry.create\"", HANDLER).is_empty());
    assert!(messages("action = \"entry.create\",", HANDLER).is_empty());
}

#[test]
fn a_missing_action_is_an_error_with_a_suggestion() {
    let expected = "missing `action`, the name of what this handler does: write `#[audited(action = \"entry.create\")]`";
    assert_eq!(messages("", HANDLER), [expected]);
    assert_eq!(messages("reason = \"required\"", HANDLER), [expected]);
}

#[test]
fn an_unparsable_action_is_not_also_reported_as_missing() {
    assert_eq!(
        messages("action", HANDLER),
        ["`action` needs a value: write `action = \"entry.create\"`"]
    );
    assert_eq!(
        messages("action =", HANDLER),
        ["`action` needs a value: write `action = \"entry.create\"`"]
    );
    assert_eq!(
        messages("action(\"entry.create\")", HANDLER),
        ["`action` needs a value: write `action = \"entry.create\"`"]
    );
    assert_eq!(
        messages("action = CREATE", HANDLER),
        ["`action` takes a string literal: write `action = \"entry.create\"`"]
    );
}

#[test]
fn a_malformed_action_is_refused() {
    assert_eq!(
        messages("action = \"Entry.Create\"", HANDLER),
        [
            "malformed action `Entry.Create`: write `noun.verb` in lower-case ASCII letters, digits and underscores, at least two parts joined by dots, each beginning with a letter; perhaps \"entry.create\""
        ]
    );
}

#[test]
fn a_malformed_resource_is_refused() {
    assert_eq!(
        messages(
            "action = \"entry.create\", resource = \"ledger.entry\"",
            HANDLER
        ),
        [
            "malformed resource `ledger.entry`: write one noun in lower-case ASCII letters, digits and underscores, without dots; perhaps \"ledger_entry\""
        ]
    );
}

#[test]
fn the_error_for_an_unknown_option_lists_the_known_ones_and_suggests_the_nearest() {
    let listed = "the options are `action`, `resource`, `resource_id`, `reason`, `actor`, `read`, `crate_path`";
    assert_eq!(
        messages("action = \"entry.create\", resorce = \"entry\"", HANDLER),
        [format!(
            "unknown option `resorce` of `#[audited]`, perhaps `resource`; {listed}"
        )]
    );
    assert_eq!(
        messages("action = \"entry.create\", wibble", HANDLER),
        [format!("unknown option `wibble` of `#[audited]`; {listed}")]
    );
}

#[test]
fn a_repeated_option_is_refused() {
    assert_eq!(
        messages(
            "action = \"entry.create\", read, action = \"entry.update\", read",
            HANDLER
        ),
        [
            "`action` is given twice: keep one of them",
            "`read` is given twice: keep one of them"
        ]
    );
}

#[test]
fn an_option_with_one_valid_value_rejects_others() {
    assert_eq!(
        messages(
            "action = \"entry.create\", reason = \"optional\", actor = required",
            HANDLER
        ),
        [
            "`reason` has only one valid value: write `reason = \"required\"`, or leave it out",
            "`actor` has only one valid value: write `actor = \"optional\"`, or leave it out"
        ]
    );
    assert_eq!(
        messages("action = \"entry.create\", reason", HANDLER),
        ["`reason` needs a value: write `reason = \"required\"`"]
    );
}

#[test]
fn a_flag_takes_no_value() {
    assert_eq!(
        messages("action = \"entry.create\", read = true", HANDLER),
        ["`read` takes no value: write `read`"]
    );
}

#[test]
fn an_option_without_a_name_is_an_error() {
    assert_eq!(
        messages("\"entry.create\"", HANDLER),
        [
            "expected the name of an option, as in `action = \"entry.create\"`; the options are `action`, `resource`, `resource_id`, `reason`, `actor`, `read`, `crate_path`"
        ]
    );
}

#[test]
fn options_are_separated_by_commas() {
    assert_eq!(
        messages("action = \"entry.create\" read", HANDLER),
        ["expected `,` before the next option"]
    );
}

#[test]
fn a_crate_path_is_a_path_or_a_string_with_a_path() {
    for path in ["crate::audit", "::my::audit", "\"crate::audit\"", "audit"] {
        let (tokens, messages) = expand(
            &format!("action = \"entry.create\", crate_path = {path}"),
            HANDLER,
        );
        assert!(messages.is_empty(), "{messages:?}");
        assert!(!tokens.contains("platform_audit"), "{tokens}");
    }
    for path in ["\"not a path\"", "5", "f()", "<T as U>::V"] {
        assert_eq!(
            messages(
                &format!("action = \"entry.create\", crate_path = {path}"),
                HANDLER
            ),
            ["`crate_path` takes a path: write `crate_path = ::platform_audit`"]
        );
    }
}

#[test]
fn the_transaction_is_required_unless_reading() {
    let item = "async fn create_entry(Json(new): Json<NewEntry>) {}";
    assert_eq!(
        only_message(item),
        "an audited handler needs the transaction in which its change and its record are written: add `tx: &mut AuditTx`, or the option `read` if it changes nothing"
    );
    assert!(messages("action = \"entry.read\", read", item).is_empty());
}

#[test]
fn a_second_transaction_is_an_error() {
    assert_eq!(
        only_message("async fn create_entry(tx: &mut AuditTx, other: &mut AuditTx) {}"),
        "a handler has one transaction, and this is a second `&mut` parameter: remove one of them, and take anything else by value"
    );
}

#[test]
fn the_transaction_is_a_mutable_reference() {
    assert_eq!(
        only_message("async fn create_entry(tx: platform_audit::AuditTx<Sqlite>) {}"),
        "a handler borrows the transaction and does not own it: write `&mut AuditTx`"
    );
    assert_eq!(
        only_message("async fn create_entry(tx: &AuditTx) {}"),
        "a handler borrows the transaction mutably: write `&mut AuditTx`"
    );
}

#[test]
fn an_extractor_cannot_be_a_reference() {
    assert_eq!(
        only_message("async fn create_entry(tx: &mut AuditTx, new: &NewEntry) {}"),
        "an extractor cannot be a reference: take it by value (only the transaction is borrowed, as `&mut AuditTx`)"
    );
}

#[test]
fn there_are_at_most_15_extractors() {
    let handler = |extractors: usize| {
        format!(
            "async fn create_entry(tx: &mut AuditTx, {}) {{}}",
            "_: HeaderMap, ".repeat(extractors)
        )
    };
    assert!(messages("action = \"entry.create\"", &handler(15)).is_empty());
    assert_eq!(
        only_message(&handler(16)),
        "an audited handler takes at most 15 extractors besides the transaction: combine some in a struct with `#[derive(FromRequestParts)]`"
    );
}

#[test]
fn a_handler_must_be_async() {
    assert_eq!(
        only_message("fn create_entry(tx: &mut AuditTx) {}"),
        "a handler with `#[audited]` must be async: write `async fn create_entry`"
    );
}

#[test]
fn a_handler_has_no_self() {
    for receiver in ["self", "&self", "&mut self", "self: Arc<Self>"] {
        assert_eq!(
            only_message(&format!(
                "async fn create_entry({receiver}, tx: &mut AuditTx) {{}}"
            )),
            "a handler with `#[audited]` must be a free function without `self`: move it out of the `impl`, and take its state as `State(…): State<…>`"
        );
    }
}

#[test]
fn unsafe_and_extern_handlers_are_errors() {
    assert_eq!(
        only_message("async unsafe fn create_entry(tx: &mut AuditTx) {}"),
        "axum cannot call an `unsafe` handler: remove `unsafe` here, and use it in the body"
    );
    assert_eq!(
        only_message("async extern \"C\" fn create_entry(tx: &mut AuditTx) {}"),
        "axum cannot call an `extern` handler: remove this"
    );
}

#[test]
fn only_a_function_can_be_audited() {
    for item in [
        "pub struct Entry { id: u64 }",
        "impl Entry { async fn create(tx: &mut AuditTx) {} }",
        "const CREATE: fn() = create;",
        "mod entries { fn create() {} }",
    ] {
        assert_eq!(
            only_message(item),
            "`#[audited]` applies to an `async fn` handler, and this is not a function"
        );
    }
    assert_eq!(
        only_message("async fn create_entry(tx: &mut AuditTx);"),
        "`#[audited]` applies to a handler with a body, and this one has none"
    );
}

#[test]
fn a_second_audit_attribute_is_an_error() {
    assert_eq!(
        only_message(&format!(
            "#[platform_audit::audited(action = \"a.b\")] {HANDLER}"
        )),
        "this handler already has `#[audited]`: remove this `#[audited]` or the other"
    );
    assert_eq!(
        only_message(&format!("#[audit_exempt(reason = \"none\")] {HANDLER}")),
        "this handler already has `#[audited]`: remove this `#[audit_exempt]` or the other"
    );
}

#[test]
fn a_conditional_parameter_is_an_error() {
    assert_eq!(
        only_message("async fn create_entry(tx: &mut AuditTx, #[cfg(unix)] new: NewEntry) {}"),
        "`#[audited]` does not support conditional parameters: put the `#[cfg]` on the whole function, and write one function for each condition"
    );
}

#[test]
fn a_resource_id_cannot_use_the_transaction() {
    assert_eq!(
        messages("action = \"entry.create\", resource_id = tx.id()", HANDLER),
        [
            "`resource_id` is evaluated before the transaction begins: leave it out, and name the resource in the body, for example with `tx.created(…)`"
        ]
    );
    assert!(messages("action = \"entry.create\", resource_id = new.tx", HANDLER).is_empty());
}

#[test]
fn all_errors_are_reported_at_once() {
    let messages = messages(
        "action = \"Create\", colour = \"red\", reason = \"maybe\", read = 1",
        "fn create_entry(&self, tx: AuditTx, new: &NewEntry) {}",
    );
    assert_eq!(messages.len(), 8, "{messages:#?}");
}

#[test]
fn errors_after_an_unparsable_value_are_reported() {
    let messages = messages(
        "action = \"entry.create\", resource_id = + , colour = \"red\"",
        HANDLER,
    );
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert!(
        messages[1].starts_with("unknown option `colour`"),
        "{messages:#?}"
    );
}

#[test]
fn a_value_may_contain_commas() {
    assert!(
        messages(
            "resource_id = Key::<u8, u8>::of(new.id, 1), action = \"entry.create\"",
            HANDLER
        )
        .is_empty()
    );
    let messages = messages(
        "colour = Key::<u8, u8>::of(1), action = \"entry.create\"",
        HANDLER,
    );
    assert_eq!(messages.len(), 1, "{messages:#?}");
}

#[test]
fn an_item_that_cannot_be_wrapped_is_emitted_unchanged() {
    let item = "#[debug_handler] pub async fn create_entry(tx: AuditTx) { let x = 1 + ; }";
    let (emitted, messages) = expand("action = \"entry.create\"", item);
    assert_eq!(emitted, tokens(item).to_string());
    assert_eq!(messages.len(), 1);
}

#[test]
fn a_handler_with_invalid_options_is_still_wrapped() {
    let (emitted, messages) = expand("acton = \"entry.create\"", HANDLER);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        emitted.contains("-> :: platform_audit :: Audited < __audited_create_entry >"),
        "{emitted}"
    );
}
