use std::fmt::{self, Write};

/// Text for a terminal. Characters that could move the cursor, change colours, end the line or
/// change the text direction are escaped, and the text is truncated at a limit.
pub(super) struct Escaped {
    text: String,
    max: usize,
    is_truncated: bool,
}

impl Escaped {
    /// Keeps at most `max` bytes; an ellipsis replaces the rest.
    pub(super) fn new(max: usize) -> Self {
        Self {
            text: String::new(),
            max,
            is_truncated: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn into_text(mut self) -> String {
        if self.is_truncated {
            self.text.push('…');
        }
        self.text.shrink_to_fit();
        self.text
    }
}

impl Write for Escaped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            // The longest escape is `\u{10ffff}`.
            if self.is_truncated || self.text.len().saturating_add(10) > self.max {
                self.is_truncated = true;
                break;
            }
            if is_dangerous(char) {
                self.text.extend(char.escape_default());
            } else {
                self.text.push(char);
            }
        }
        // Truncation is not an error, as some formatting code panics on errors.
        Ok(())
    }
}

/// Escapes a whole text.
pub(crate) fn escaped(text: &str, max: usize) -> String {
    let mut escaped = Escaped::new(max);
    // `write_str` always succeeds.
    let _ = escaped.write_str(text);
    escaped.into_text()
}

fn is_dangerous(char: char) -> bool {
    char.is_control()
        // Line separators, and characters that reorder or hide text (Unicode TR 36).
        || matches!(
            char,
            '\u{61c}'
                | '\u{180e}'
                | '\u{e0000}'..='\u{e007f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            escaped("a\x1b[2Jb\r\nc\t\u{7}\u{9b}\u{202e}\u{61c}\u{e0041}", 100),
            r"a\u{1b}[2Jb\r\nc\t\u{7}\u{9b}\u{202e}\u{61c}\u{e0041}"
        );
        assert_eq!(escaped("Zürich ✔", 100), "Zürich ✔");
    }

    #[test]
    fn long_text_is_truncated() {
        let text = escaped(&"ü".repeat(1000), 100);
        assert!(text.len() <= 103, "{}", text.len());
        assert!(text.ends_with("ü…"));
    }
}
