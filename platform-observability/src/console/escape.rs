use std::fmt::{self, Write};

/// Text on its way to a terminal: what could move the cursor, change colours, end the line or
/// turn the direction of writing is escaped, and what is beyond the limit is cut off.
pub(super) struct Escaped {
    text: String,
    most: usize,
    is_cut: bool,
}

impl Escaped {
    /// Of at most `most` bytes, and an ellipsis.
    pub(super) fn new(most: usize) -> Self {
        Self {
            text: String::new(),
            most,
            is_cut: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn into_text(mut self) -> String {
        if self.is_cut {
            self.text.push('…');
        }
        self.text.shrink_to_fit();
        self.text
    }
}

impl Write for Escaped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            // At most `\u{10ffff}`.
            if self.is_cut || self.text.len().saturating_add(10) > self.most {
                self.is_cut = true;
                break;
            }
            if is_dangerous(char) {
                self.text.extend(char.escape_default());
            } else {
                self.text.push(char);
            }
        }
        // Not an error, which whoever formats might panic at.
        Ok(())
    }
}

/// As [`Escaped`], whole.
pub(crate) fn escaped(text: &str, most: usize) -> String {
    let mut escaped = Escaped::new(most);
    // It never fails.
    let _ = escaped.write_str(text);
    escaped.into_text()
}

fn is_dangerous(char: char) -> bool {
    char.is_control()
        // Line ends, and marks that turn or hide text (Unicode TR 36).
        || matches!(char, '\u{61c}' | '\u{180e}' | '\u{e0000}'..='\u{e007f}' | '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_in_a_text_acts_on_the_terminal() {
        assert_eq!(
            escaped("a\x1b[2Jb\r\nc\t\u{7}\u{9b}\u{202e}\u{61c}\u{e0041}", 100),
            r"a\u{1b}[2Jb\r\nc\t\u{7}\u{9b}\u{202e}\u{61c}\u{e0041}"
        );
        assert_eq!(escaped("Zürich ✔", 100), "Zürich ✔");
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = escaped(&"ü".repeat(1000), 100);
        assert!(text.len() <= 103, "{}", text.len());
        assert!(text.ends_with("ü…"));
    }
}
