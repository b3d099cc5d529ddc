use super::auditable;

fn messages(item: &str) -> Vec<String> {
    auditable(item.parse().expect("tokens")).1.messages()
}

/// Returns the messages for a struct with an id and `fields`.
fn messages_for_fields(fields: &str) -> Vec<String> {
    messages(&format!(
        "#[audit(resource = \"entry\")] struct Entry {{ #[audit(id)] id: u64, {fields} }}"
    ))
}

#[test]
fn a_valid_struct_has_no_errors() {
    assert!(
        messages_for_fields(
            "a: u8, #[audit(redact, rename = \"iban\")] b: u8, #[audit(skip)] c: u8"
        )
        .is_empty()
    );
}

#[test]
fn a_missing_resource_is_an_error_with_a_suggestion() {
    assert_eq!(
        messages("struct LedgerEntry { #[audit(id)] id: u64 }"),
        [
            "missing `resource`, the name of this type in the audit log: write `#[audit(resource = \"ledger_entry\")]` above the struct"
        ]
    );
}

#[test]
fn a_malformed_resource_is_refused() {
    assert_eq!(
        messages("#[audit(resource = \"Entry\")] struct Entry { #[audit(id)] id: u64 }"),
        [
            "malformed resource `Entry`: write one noun in lower-case ASCII letters, digits and underscores, without dots; perhaps \"entry\""
        ]
    );
}

#[test]
fn the_error_for_an_unknown_option_lists_the_known_ones_and_suggests_the_nearest() {
    assert_eq!(
        messages(
            "#[audit(resource = \"entry\", rename = \"x\")] struct Entry { #[audit(id)] id: u64 }"
        ),
        [
            "unknown option `rename` of `#[audit]` on a struct; the options are `resource`, `crate_path`"
        ]
    );
    assert_eq!(
        messages_for_fields("#[audit(redcat)] iban: String"),
        [
            "unknown option `redcat` of `#[audit]` on a field, perhaps `redact`; the options are `id`, `skip`, `redact`, `rename`"
        ]
    );
}

#[test]
fn a_repeated_option_is_refused_across_attributes() {
    assert_eq!(
        messages_for_fields("#[audit(redact)] #[audit(redact)] iban: String"),
        ["`redact` is given twice: keep one of them"]
    );
}

#[test]
fn an_attribute_without_options_is_an_error() {
    for attribute in ["#[audit]", "#[audit = \"redact\"]"] {
        assert_eq!(
            messages_for_fields(&format!("{attribute} iban: String")),
            ["write `#[audit(…)]`; the options are `id`, `skip`, `redact`, `rename`"]
        );
    }
}

#[test]
fn exactly_one_id_is_required() {
    assert_eq!(
        messages("#[audit(resource = \"entry\")] struct Entry { id: u64 }"),
        ["missing the id of this resource in the audit log: write `#[audit(id)]` above one field"]
    );
    assert_eq!(
        messages_for_fields("#[audit(id)] number: u64"),
        ["`id` is already the id, and a resource has only one: remove one of the two `id`"]
    );
}

#[test]
fn the_id_cannot_be_redacted_or_skipped() {
    assert_eq!(
        messages("#[audit(resource = \"entry\")] struct Entry { #[audit(id, redact)] id: u64 }"),
        ["every record contains the id unredacted: remove `redact`, or make another field the id"]
    );
    assert_eq!(
        messages("#[audit(resource = \"entry\")] struct Entry { #[audit(skip, id)] id: u64 }"),
        [
            "every record contains the id, so it cannot be skipped: remove `skip`, or make another field the id"
        ]
    );
}

#[test]
fn a_skipped_field_has_no_other_option() {
    assert_eq!(
        messages_for_fields("#[audit(skip, redact)] a: u8, #[audit(rename = \"x\", skip)] b: u8"),
        [
            "a skipped field is not recorded at all, so `redact` has no effect: remove one of them",
            "a skipped field is not recorded at all, so `rename` has no effect: remove one of them"
        ]
    );
}

#[test]
fn two_fields_with_one_recorded_name_are_an_error() {
    let expected = "`a` is already recorded as `a`: give one of the two another name with `#[audit(rename = \"…\")]`";
    assert_eq!(
        messages_for_fields("a: u8, #[audit(rename = \"a\")] b: u8"),
        [expected]
    );
    assert!(
        messages_for_fields("#[audit(rename = \"b\")] a: u8, #[audit(rename = \"a\")] b: u8")
            .is_empty()
    );
    assert!(messages_for_fields("#[audit(skip)] a: u8, #[audit(rename = \"a\")] b: u8").is_empty());
    assert_eq!(
        messages_for_fields("#[audit(rename = \" \")] a: u8"),
        ["a field name cannot be empty: write `rename = \"name\"`"]
    );
}

#[test]
fn a_flag_takes_no_value() {
    assert_eq!(
        messages_for_fields("#[audit(redact = true)] iban: String"),
        ["`redact` takes no value: write `redact`"]
    );
}

#[test]
fn only_a_struct_with_named_fields_can_derive_auditable() {
    let fix = "derive `Auditable` on a struct with named fields, whose fields are recorded";
    for (item, reason) in [
        (
            "struct Entry(u64);",
            "the fields of a tuple struct have no names to record: ",
        ),
        ("struct Entry;", "a unit struct has no fields to record: "),
        (
            "union Entry { a: u8, b: i8 }",
            "a union cannot be read safely: ",
        ),
    ] {
        assert_eq!(
            messages(&format!("#[audit(resource = \"entry\")] {item}")),
            [format!("{reason}{fix}")]
        );
    }
    assert_eq!(
        messages("#[audit(resource = \"entry\")] enum Entry { A }"),
        [format!(
            "an enum is not a resource with an id: {fix}, and make the enum one of the fields"
        )]
    );
}

#[test]
fn all_errors_are_reported_at_once() {
    let messages = messages(
        "#[audit(resource = \"Entry\", colour)] struct Entry { #[audit(id, redact)] id: u64, #[audit(skip, rename = \"x\")] a: u8, #[audit(wipe)] b: u8 }",
    );
    assert_eq!(messages.len(), 5, "{messages:#?}");
}

#[test]
fn a_struct_with_an_invalid_field_still_implements_auditable() {
    let item = "#[audit(resource = \"entry\")] struct Entry { #[audit(ID)] id: u64 }";
    let (emitted, errors) = auditable(item.parse().expect("tokens"));
    assert_eq!(errors.messages().len(), 1);
    assert!(
        emitted.to_string().contains("Auditable for Entry"),
        "{emitted}"
    );
}
