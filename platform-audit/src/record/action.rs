use thiserror::Error;

/// The maximum length of an action, in bytes.
const MAX_LEN: usize = 100;

/// An action that is not in the form `noun.verb`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{given}` is not a valid action: use `noun.verb`, such as `ledger.close`: at least two words \
     joined by dots, each starting with a letter, of lower-case letters, digits and underscores, \
     at most 100 bytes in all"
)]
pub struct InvalidAction {
    given: String,
}

/// Validates an action that is chosen at run time; `#[audited]` applies the same rule at compile
/// time.
pub(crate) fn check(action: &str) -> Result<(), InvalidAction> {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if action.len() <= MAX_LEN && action.contains('.') && action.split('.').all(is_word) {
        Ok(())
    } else {
        let given = action.chars().take(MAX_LEN).collect();
        Err(InvalidAction { given })
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn an_action_needs_a_noun_and_a_verb() {
        for valid in ["entry.create", "ledger.period.close", "a1.b_2"] {
            assert_eq!(check(valid), Ok(()), "{valid}");
        }
        let long = format!("a.{}", "b".repeat(99));
        for invalid in [
            "",
            "entry",
            "entry.",
            ".create",
            "Entry.create",
            "entry..create",
            "entry.1st",
            "é.b",
            "a b.c",
            &long,
        ] {
            assert!(check(invalid).is_err(), "{invalid}");
        }
    }
}
