//! What a terminal may be sent.

use platform_audit::text::is_invisible;

/// Lets through what people read, and shows by number whatever would move the cursor, hide or turn
/// round. What it passes on of bytes may be split anywhere.
#[derive(Debug, Default)]
pub(crate) struct Harmless {
    /// The beginning of a character, or a CR that the end of a line may follow.
    held: Vec<u8>,
}

impl Harmless {
    /// What may be sent of `bytes` and of what was held back before.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut shown = String::with_capacity(held.len());
        let mut chunks = held.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = chunks.peek().is_none();
            let (text, end) = match chunk.valid().strip_suffix('\r') {
                Some(text) if is_last && chunk.invalid().is_empty() => (text, &b"\r"[..]),
                _ => (chunk.valid(), chunk.invalid()),
            };
            show(text, &mut shown);
            let may_go_on = end == b"\r"
                || std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none());
            if is_last && may_go_on {
                self.held = end.to_vec();
            } else if !end.is_empty() {
                shown.push(char::REPLACEMENT_CHARACTER);
            }
        }
        shown
    }
}

fn show(text: &str, shown: &mut String) {
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
    use super::Harmless;

    const SENT: &str =
        "a\u{1b}[2J\u{9b}2J\r\né\u{202e}🦀\rb\u{7f}\t\u{9d}0;x\u{7}\u{200b}\r\r\nc\n";
    const SHOWN: &str = "a\\u{1b}[2J\\u{9b}2J\r\né\\u{202e}🦀\\u{d}b\\u{7f}\t\\u{9d}0;x\\u{7}\\u{200b}\\u{d}\r\nc\n";

    #[test]
    fn no_character_commands_a_terminal_wherever_its_bytes_are_split() {
        assert_eq!(Harmless::default().pass(SENT.as_bytes()), SHOWN);
        for size in 1..SENT.len() {
            let mut harmless = Harmless::default();
            let pieces = SENT.as_bytes().chunks(size);
            let shown: String = pieces.map(|piece| harmless.pass(piece)).collect();
            assert_eq!(shown, SHOWN, "{size}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut harmless = Harmless::default();
        assert_eq!(harmless.pass(b"a\xffb\x9b2J\xc3"), "a\u{fffd}b\u{fffd}2J");
        assert_eq!(harmless.pass(b"x\n"), "\u{fffd}x\n");
    }
}
