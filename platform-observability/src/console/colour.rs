use std::ffi::OsStr;
use std::io::IsTerminal;

/// Whether output on standard error is coloured: never with `NO_COLOR` (any value), else always
/// with `CLICOLOR_FORCE` (any value but 0), else if standard error is a terminal.
pub(crate) fn is_coloured() -> bool {
    decide(
        std::env::var_os("NO_COLOR").as_deref(),
        std::env::var_os("CLICOLOR_FORCE").as_deref(),
        std::env::var_os("TERM").as_deref(),
        std::io::stderr().is_terminal(),
    )
}

fn decide(
    no_color: Option<&OsStr>,
    force: Option<&OsStr>,
    term: Option<&OsStr>,
    is_terminal: bool,
) -> bool {
    let is_set = |value: &OsStr| !value.is_empty();
    let is_forced = force.is_some_and(|value| is_set(value) && value != "0");
    let supports_colour = is_terminal && term.is_none_or(|value| value != "dumb");
    !no_color.is_some_and(is_set) && (is_forced || supports_colour)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    #[test]
    fn only_terminals_get_colours_unless_the_environment_overrides_that() {
        let coloured = |no_color: Option<&str>, force: Option<&str>, term: &str, is_terminal| {
            super::decide(
                no_color.map(OsStr::new),
                force.map(OsStr::new),
                Some(OsStr::new(term)),
                is_terminal,
            )
        };
        assert!(coloured(None, None, "xterm", true));
        assert!(!coloured(None, None, "xterm", false));
        assert!(!coloured(None, None, "dumb", true));
        assert!(!coloured(Some("1"), None, "xterm", true));
        assert!(
            coloured(Some(""), None, "xterm", true),
            "empty counts as unset"
        );
        assert!(coloured(None, Some("1"), "dumb", false));
        assert!(!coloured(None, Some("0"), "xterm", false));
        assert!(!coloured(Some("1"), Some("1"), "xterm", true));
    }
}
