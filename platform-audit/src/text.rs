//! Escaping of control characters and invisible characters.
//!
//! A record contains text from clients. A control character in it could move the cursor of the
//! terminal that displays it, and an invisible or bidirectional character could make it look like
//! different text.
//!
//! ```
//! use platform_audit::text::escape_controls;
//!
//! assert_eq!(escape_controls("entry 7\u{1b}[2J"), r"entry 7\u{1b}[2J");
//! assert_eq!(escape_controls("Zoë"), "Zoë");
//! ```

/// Returns whether a character is invisible or changes the text direction.
///
/// These are the control characters, Unicode's `Default_Ignorable_Code_Point` and `Bidi_Control`,
/// the line and paragraph separators, and U+2800 BRAILLE PATTERN BLANK, which looks like a space.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Replaces each [invisible](is_invisible) character, including line breaks, with `\u{…}`.
pub fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Escapes each [invisible](is_invisible) character in the JSON `text`, without changing its value.
///
/// ASCII control characters other than DEL are left alone: valid JSON contains them only between
/// tokens.
///
/// ```
/// use platform_audit::text::escape_json;
///
/// assert_eq!(escape_json("\"a\u{202e}b\"".to_owned()), r#""a\u202eb""#);
/// ```
pub fn escape_json(text: String) -> String {
    let needs_escape = |c: char| !matches!(c, '\0'..='~') && is_invisible(c);
    if !text.contains(needs_escape) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if needs_escape(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}
