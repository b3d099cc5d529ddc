use super::auditable;

fn messages(item: &str) -> Vec<String> {
    auditable(item.parse().expect("tokens")).1.messages()
}

/// A struct with the fields `fields` beside its id.
fn with_fields(fields: &str) -> Vec<String> {
    messages(&format!(
        "#[audit(resource = \"entry\")] struct Entry {{ #[audit(id)] id: u64, {fields} }}"
    ))
}

#[test]
fn a_right_struct_has_no_errors() {
    assert!(
        with_fields("a: u8, #[audit(redact, rename = \"iban\")] b: u8, #[audit(skip)] c: u8")
            .is_empty()
    );
}

#[test]
fn a_resource_is_required_and_suggested() {
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
fn an_unknown_option_comes_with_the_known_ones_and_the_nearest() {
    assert_eq!(
        messages(
            "#[audit(resource = \"entry\", rename = \"x\")] struct Entry { #[audit(id)] id: u64 }"
        ),
        [
            "unknown option `rename` of `#[audit]` on a struct; the options are `resource`, `crate_path`"
        ]
    );
    assert_eq!(
        with_fields("#[audit(redcat)] iban: String"),
        [
            "unknown option `redcat` of `#[audit]` on a field, perhaps `redact`; the options are `id`, `skip`, `redact`, `rename`"
        ]
    );
}

#[test]
fn a_repeated_option_is_refused_across_attributes() {
    assert_eq!(
        with_fields("#[audit(redact)] #[audit(redact)] iban: String"),
        ["`redact` is given twice: keep one of them"]
    );
}

#[test]
fn an_attribute_has_options() {
    for attribute in ["#[audit]", "#[audit = \"redact\"]"] {
        assert_eq!(
            with_fields(&format!("{attribute} iban: String")),
            ["write `#[audit(…)]`; the options are `id`, `skip`, `redact`, `rename`"]
        );
    }
}

#[test]
fn there_is_exactly_one_id() {
    assert_eq!(
        messages("#[audit(resource = \"entry\")] struct Entry { id: u64 }"),
        [
            "missing the id, by which the audit log finds this resource: write `#[audit(id)]` above one field"
        ]
    );
    assert_eq!(
        with_fields("#[audit(id)] number: u64"),
        ["`id` is the id already, and a resource has one: remove `id` here or there"]
    );
}

#[test]
fn the_id_is_in_every_record_in_clear() {
    assert_eq!(
        messages("#[audit(resource = \"entry\")] struct Entry { #[audit(id, redact)] id: u64 }"),
        [
            "the id is written in clear in every record, so it cannot be redacted: remove `redact`, or let another field be the id"
        ]
    );
    assert_eq!(
        messages("#[audit(resource = \"entry\")] struct Entry { #[audit(skip, id)] id: u64 }"),
        [
            "the id is in every record, so it cannot be skipped: remove `skip`, or let another field be the id"
        ]
    );
}

#[test]
fn a_skipped_field_has_no_other_option() {
    assert_eq!(
        with_fields("#[audit(skip, redact)] a: u8, #[audit(rename = \"x\", skip)] b: u8"),
        [
            "a skipped field is not recorded at all, so `redact` has no effect: remove one of them",
            "a skipped field is not recorded at all, so `rename` has no effect: remove one of them"
        ]
    );
}

#[test]
fn no_two_fields_are_recorded_under_one_name() {
    let expected = "`a` is recorded as `a` already: give one of the two another name with `#[audit(rename = \"…\")]`";
    assert_eq!(
        with_fields("a: u8, #[audit(rename = \"a\")] b: u8"),
        [expected]
    );
    assert!(
        with_fields("#[audit(rename = \"b\")] a: u8, #[audit(rename = \"a\")] b: u8").is_empty()
    );
    assert!(with_fields("#[audit(skip)] a: u8, #[audit(rename = \"a\")] b: u8").is_empty());
    assert_eq!(
        with_fields("#[audit(rename = \" \")] a: u8"),
        ["a field is recorded under a name: write `rename = \"name\"`"]
    );
}

#[test]
fn a_flag_takes_no_value() {
    assert_eq!(
        with_fields("#[audit(redact = true)] iban: String"),
        ["`redact` takes no value: write `redact`"]
    );
}

#[test]
fn only_a_struct_with_named_fields_is_a_resource() {
    let fix = "derive `Auditable` on a struct with named fields, each of which becomes a field of the record";
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
            "an enum is not a resource with an id: {fix}, and keep the enum as one of them"
        )]
    );
}

#[test]
fn everything_wrong_is_said_at_once() {
    let messages = messages(
        "#[audit(resource = \"Entry\", colour)] struct Entry { #[audit(id, redact)] id: u64, #[audit(skip, rename = \"x\")] a: u8, #[audit(wipe)] b: u8 }",
    );
    assert_eq!(messages.len(), 5, "{messages:#?}");
}

#[test]
fn a_mistaken_field_does_not_make_every_use_complain_too() {
    let item = "#[audit(resource = \"entry\")] struct Entry { #[audit(ID)] id: u64 }";
    let (emitted, errors) = auditable(item.parse().expect("tokens"));
    assert_eq!(errors.messages().len(), 1);
    assert!(
        emitted.to_string().contains("Auditable for Entry"),
        "{emitted}"
    );
}
