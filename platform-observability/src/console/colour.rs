use std::ffi::OsStr;
use std::io::IsTerminal;

/// Whether standard error gets colours: as `NO_COLOR` (any value: none) or else
/// `CLICOLOR_FORCE` (any value but 0: always) say, else if it is a terminal.
pub(crate) fn is_coloured() -> bool {
    decide(
        std::env::var_os("NO_COLOR").as_deref(),
        std::env::var_os("CLICOLOR_FORCE").as_deref(),
        std::env::var_os("TERM").as_deref(),
        std::io::stderr().is_terminal(),
    )
}

fn decide(
    never: Option<&OsStr>,
    always: Option<&OsStr>,
    terminal: Option<&OsStr>,
    is_terminal: bool,
) -> bool {
    let is_set = |it: &OsStr| !it.is_empty();
    if never.is_some_and(is_set) {
        return false;
    }
    if always.is_some_and(|it| is_set(it) && it != "0") {
        return true;
    }
    is_terminal && terminal.is_none_or(|it| it != "dumb")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    #[test]
    fn colours_are_for_terminals_unless_the_environment_says_otherwise() {
        let coloured = |never: Option<&str>, always: Option<&str>, term: &str, is_terminal| {
            super::decide(
                never.map(OsStr::new),
                always.map(OsStr::new),
                Some(OsStr::new(term)),
                is_terminal,
            )
        };
        assert!(coloured(None, None, "xterm", true));
        assert!(!coloured(None, None, "xterm", false));
        assert!(!coloured(None, None, "dumb", true));
        assert!(!coloured(Some("1"), None, "xterm", true));
        assert!(coloured(Some(""), None, "xterm", true), "empty is unset");
        assert!(coloured(None, Some("1"), "dumb", false));
        assert!(!coloured(None, Some("0"), "xterm", false));
        assert!(!coloured(Some("1"), Some("1"), "xterm", true));
    }
}
