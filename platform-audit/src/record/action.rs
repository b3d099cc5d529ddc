use thiserror::Error;

/// The longest action, in bytes.
const LONGEST: usize = 100;

/// An action's name that is not `noun.verb`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{given}` is not an action's name: write `noun.verb` in lower-case letters, digits and \
     underscores, at least two words joined by dots, each starting with a letter, at most 100 bytes, such as `ledger.close`"
)]
pub struct InvalidAction {
    given: String,
}

/// The same rule as `#[audited]` applies while compiling, for actions named at run time.
pub(crate) fn check(action: &str) -> Result<(), InvalidAction> {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if action.len() <= LONGEST && action.contains('.') && action.split('.').all(word) {
        Ok(())
    } else {
        let given = action.chars().take(LONGEST).collect();
        Err(InvalidAction { given })
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn an_action_is_at_least_a_noun_and_a_verb() {
        for good in ["entry.create", "ledger.period.close", "a1.b_2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = format!("a.{}", "b".repeat(99));
        for bad in [
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
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
