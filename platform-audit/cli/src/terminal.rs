//! Escapes control characters in output to a terminal.

use platform_audit::text::is_invisible;

/// Passes printable text and escapes characters that would move the cursor, hide text or change its
/// direction. Input may be split at any byte.
#[derive(Debug, Default)]
pub(crate) struct TerminalFilter {
    /// An incomplete character, or a CR that may be followed by LF.
    pending: Vec<u8>,
}

impl TerminalFilter {
    /// Returns the filtered text of `bytes`, preceded by that of the pending bytes.
    pub(crate) fn filter(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut shown = String::with_capacity(pending.len());
        let mut chunks = pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = chunks.peek().is_none();
            let (text, end) = match chunk.valid().strip_suffix('\r') {
                Some(text) if is_last && chunk.invalid().is_empty() => (text, &b"\r"[..]),
                _ => (chunk.valid(), chunk.invalid()),
            };
            escape_into(text, &mut shown);
            let is_incomplete = end == b"\r"
                || std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none());
            if is_last && is_incomplete {
                self.pending = end.to_vec();
            } else if !end.is_empty() {
                shown.push(char::REPLACEMENT_CHARACTER);
            }
        }
        shown
    }
}

fn escape_into(text: &str, shown: &mut String) {
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        let ends_line = it == '\r' && rest.peek() == Some(&'\n');
        if is_invisible(it) && !matches!(it, '\n' | '\t') && !ends_line {
            shown.extend(it.escape_unicode());
        } else {
            shown.push(it);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TerminalFilter;

    const SENT: &str =
        "a\u{1b}[2J\u{9b}2J\r\né\u{202e}🦀\rb\u{7f}\t\u{9d}0;x\u{7}\u{200b}\r\r\nc\n";
    const SHOWN: &str = "a\\u{1b}[2J\\u{9b}2J\r\né\\u{202e}🦀\\u{d}b\\u{7f}\t\\u{9d}0;x\\u{7}\\u{200b}\\u{d}\r\nc\n";

    #[test]
    fn control_characters_are_escaped_wherever_the_bytes_are_split() {
        assert_eq!(TerminalFilter::default().filter(SENT.as_bytes()), SHOWN);
        for size in 1..SENT.len() {
            let mut filter = TerminalFilter::default();
            let pieces = SENT.as_bytes().chunks(size);
            let shown: String = pieces.map(|piece| filter.filter(piece)).collect();
            assert_eq!(shown, SHOWN, "{size}");
        }
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let mut filter = TerminalFilter::default();
        assert_eq!(filter.filter(b"a\xffb\x9b2J\xc3"), "a\u{fffd}b\u{fffd}2J");
        assert_eq!(filter.filter(b"x\n"), "\u{fffd}x\n");
    }
}
