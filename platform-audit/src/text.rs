//! Escaping of characters that would act on a terminal, or that a reader would not see.
//!
//! Whoever writes a record chooses its texts. A control character in one could move the cursor of
//! the terminal that shows it, and an invisible or bidirectional one could make it pass for another.
//!
//! ```
//! use platform_audit::text::escape_controls;
//!
//! assert_eq!(escape_controls("entry 7\u{1b}[2J"), r"entry 7\u{1b}[2J");
//! assert_eq!(escape_controls("Zoë"), "Zoë");
//! ```

/// Whether a character is invisible or changes the direction of its neighbours.
///
/// These are the control characters, Unicode's `Default_Ignorable_Code_Point` and `Bidi_Control`, the
/// separators of lines and paragraphs, and BRAILLE PATTERN BLANK (U+2800), which is blank but no space.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns `text` on one line, with each [invisible](is_invisible) character as `\u{…}`.
pub fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        if is_invisible(it) {
            escaped.extend(it.escape_unicode());
        } else {
            escaped.push(it);
        }
    }
    escaped
}

/// Returns JSON with the same meaning in which each [invisible](is_invisible) character is escaped.
///
/// `text` is JSON: its ASCII control characters but DEL are escaped already, or stand between tokens.
pub fn escape_json(text: String) -> String {
    let is_escaped = |it: char| !matches!(it, '\0'..='~') && is_invisible(it);
    if !text.contains(is_escaped) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        if is_escaped(it) {
            for unit in it.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(it);
        }
    }
    escaped
}
