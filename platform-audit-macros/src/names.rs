//! Validates the names of actions (`entry.create`) and resources (`entry`).

/// The maximum length that the store accepts.
const MAX_BYTES: usize = 100;

const CHARACTERS: &str = "lower-case ASCII letters, digits and underscores";

/// Returns why `action` is not `noun.verb`, with a suggestion.
pub(crate) fn check_action(action: &str) -> Result<(), String> {
    if is_action(action) {
        return Ok(());
    }
    if action.len() > MAX_BYTES {
        return Err(format!(
            "this action is {} bytes long, but at most {MAX_BYTES} are stored: shorten it",
            action.len()
        ));
    }
    let mut message = format!(
        "malformed action `{action}`: write `noun.verb` in {CHARACTERS}, at least two parts joined by dots, each beginning with a letter"
    );
    let suggestion = normalise(action, true);
    if is_action(&suggestion) {
        message.push_str(&format!("; perhaps \"{suggestion}\""));
    }
    Err(message)
}

/// Returns why `resource` is malformed, with a suggestion.
pub(crate) fn check_resource(resource: &str) -> Result<(), String> {
    if resource.len() > MAX_BYTES {
        return Err(format!(
            "this resource is {} bytes long, but at most {MAX_BYTES} are stored: shorten it",
            resource.len()
        ));
    }
    if is_segment(resource) {
        return Ok(());
    }
    let mut message =
        format!("malformed resource `{resource}`: write one noun in {CHARACTERS}, without dots");
    let suggestion = normalise(resource, false);
    if is_segment(&suggestion) {
        message.push_str(&format!("; perhaps \"{suggestion}\""));
    }
    Err(message)
}

/// Suggests an action for a function, such as `entry.create` for `create_entry`.
pub(crate) fn action_for(function: &str) -> String {
    let action = match function.split_once('_') {
        Some((verb, noun)) => format!("{noun}.{verb}"),
        None => format!("entry.{function}"),
    };
    if is_action(&action) {
        action
    } else {
        "entry.create".to_owned()
    }
}

/// Suggests a resource for a type, such as `ledger_entry` for `LedgerEntry`.
pub(crate) fn resource_for(ty: &str) -> String {
    let resource = normalise(ty, false);
    if is_segment(&resource) {
        resource
    } else {
        "entry".to_owned()
    }
}

/// Returns the known name with the smallest edit distance to `typed`, if it is small enough.
pub(crate) fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    known
        .iter()
        .map(|name| (distance(&typed, name), *name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

fn is_action(action: &str) -> bool {
    action.len() <= MAX_BYTES && action.contains('.') && action.split('.').all(is_word)
}

/// One part of an action. platform-audit applies the same rule to actions that are chosen at run
/// time.
fn is_word(word: &str) -> bool {
    is_segment(word) && word.starts_with(|first: char| first.is_ascii_lowercase())
}

/// A resource, which may begin with a digit.
fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Converts `word` to the form of an action or a resource.
fn normalise(word: &str, dots: bool) -> String {
    let mut suggestion = String::new();
    for (index, character) in word.trim().char_indices() {
        match character {
            'A'..='Z' => {
                if index > 0 && suggestion.ends_with(|c: char| c.is_ascii_lowercase()) {
                    suggestion.push('_');
                }
                suggestion.push(character.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' | '_' => suggestion.push(character),
            '.' | ':' | '/' if dots => {
                if !suggestion.ends_with('.') {
                    suggestion.push('.');
                }
            }
            _ => suggestion.push('_'),
        }
    }
    suggestion.trim_matches('.').to_owned()
}

/// The Levenshtein distance.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (b, above) in to.chars().zip(row.iter_mut().skip(1)) {
            let substituted = diagonal + usize::from(a != b);
            diagonal = *above;
            left = substituted.min(*above + 1).min(left + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_consists_of_lower_case_words_joined_by_dots() {
        for action in ["entry.create", "ledger_2.entry.close", "a.b"] {
            assert_eq!(check_action(action), Ok(()), "{action}");
        }
        for action in [
            "",
            ".",
            "entry",
            "entry.",
            ".create",
            "a..b",
            "Entry.create",
            "é.b",
            "a.b c",
            "2fa.enable",
            "_entry.create",
        ] {
            assert!(check_action(action).is_err(), "{action}");
        }
    }

    #[test]
    fn an_action_has_at_most_100_bytes() {
        let noun = "a".repeat(98);
        assert_eq!(check_action(&format!("{noun}.b")), Ok(()));
        assert_eq!(
            check_action(&format!("{noun}.bc")),
            Err("this action is 101 bytes long, but at most 100 are stored: shorten it".to_owned())
        );
    }

    #[test]
    fn the_error_for_a_malformed_action_suggests_a_valid_one() {
        for (wrong, suggestion) in [
            ("Entry.Create", "entry.create"),
            ("ledgerEntry.create", "ledger_entry.create"),
            ("entry:create", "entry.create"),
            ("entry::create", "entry.create"),
            ("/entry/create", "entry.create"),
            ("entry.create all", "entry.create_all"),
            ("ledger-entry.create", "ledger_entry.create"),
            ("entry.create.", "entry.create"),
        ] {
            let message = check_action(wrong).expect_err(wrong);
            assert!(
                message.ends_with(&format!("; perhaps \"{suggestion}\"")),
                "{message}"
            );
        }
        assert!(
            !check_action("entry")
                .expect_err("one part")
                .contains("perhaps")
        );
    }

    #[test]
    fn a_resource_is_one_word() {
        assert_eq!(check_resource("ledger_entry"), Ok(()));
        assert!(
            check_resource("ledger.entry")
                .expect_err("dots")
                .ends_with("; perhaps \"ledger_entry\"")
        );
        assert!(check_resource("").is_err());
        assert!(check_resource(&"a".repeat(101)).is_err());
    }

    #[test]
    fn the_suggested_action_is_the_noun_and_verb_of_the_function() {
        assert_eq!(action_for("create_entry"), "entry.create");
        assert_eq!(action_for("close_ledger_year"), "ledger_year.close");
        assert_eq!(action_for("create"), "entry.create");
        assert_eq!(action_for("_"), "entry.create");
    }

    #[test]
    fn the_suggested_resource_is_the_name_of_the_type() {
        assert_eq!(resource_for("LedgerEntry"), "ledger_entry");
        assert_eq!(resource_for("Entry"), "entry");
        assert_eq!(resource_for("Größe"), "gr__e");
    }

    #[test]
    fn the_nearest_known_name_is_suggested_for_a_misspelt_one() {
        let known = ["action", "resource", "resource_id", "read"];
        assert_eq!(nearest("acton", &known), Some("action"));
        assert_eq!(nearest("Action", &known), Some("action"));
        assert_eq!(nearest("resorce", &known), Some("resource"));
        assert_eq!(nearest("resourceid", &known), Some("resource_id"));
        assert_eq!(nearest("wibble", &known), None);
    }
}
