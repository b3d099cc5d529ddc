/// Whether a character cannot be seen, or turns the direction of those around it: what Unicode calls
/// `Default_Ignorable_Code_Point` or `Bidi_Control`, the separators of lines and paragraphs, and a blank
/// that is no space (U+2800). Shown as it is, it would let a text pass for another.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// One line of text, in which nothing moves the cursor, hides or turns round.
pub(crate) fn escape_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for it in text.chars() {
        if is_invisible(it) {
            shown.extend(it.escape_unicode());
        } else {
            shown.push(it);
        }
    }
    shown
}

/// JSON with the same meaning, in which no character moves the cursor, hides or turns round: `text` is
/// JSON, where all controls of ASCII but DEL are escaped already or stand between its tokens.
#[cfg(feature = "export")]
pub(crate) fn escape_json(text: String) -> String {
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
