//! Rendering of record text: nothing is interpreted as markup, invisible characters are made
//! visible, and numbers are not broken across lines.

use maud::{Markup, PreEscaped, Render, html};

use crate::text::is_invisible;

/// Lists truncate values after this many characters.
const BRIEF_CHARS: usize = 120;
/// Words of at most this many characters, such as an IPv4 address, are never broken.
const UNBROKEN_CHARS: usize = 16;
/// Words without separators, such as a trace id, may be broken after this many characters.
const MAX_PIECE_CHARS: usize = 32;

/// The whole text: escaped, isolated from the surrounding text direction, with invisible characters
/// replaced by their code points.
pub(super) fn visible(text: &str) -> Markup {
    html! { bdi { (VisibleText(text)) } }
}

/// The text, truncated for a list.
pub(super) fn brief(text: &str) -> Markup {
    match text.char_indices().nth(BRIEF_CHARS) {
        None => visible(text),
        Some((end, _)) => {
            let (shown, rest) = text.split_at(end);
            html! {
                (visible(shown)) "… "
                span.note { "(" (rest.chars().count()) " more characters)" }
            }
        }
    }
}

struct VisibleText<'a>(&'a str);

impl Render for VisibleText<'_> {
    fn render_to(&self, out: &mut String) {
        let mut text = self.0;
        while let Some((at, hidden)) = text.char_indices().find(|(_, c)| is_invisible(*c)) {
            let (before, rest) = text.split_at(at);
            escape_words(before, out);
            let number = format!("‹U+{:04X}›", u32::from(hidden));
            html! { span.hidden { (number) } }.render_to(out);
            if hidden == '\n' {
                out.push('\n');
            }
            text = rest.strip_prefix(hidden).unwrap_or_default();
        }
        escape_words(text, out);
    }
}

/// Escapes text and marks where the browser may break long words.
fn escape_words(text: &str, out: &mut String) {
    for word in text.split_inclusive(' ') {
        if word.chars().nth(UNBROKEN_CHARS).is_none() {
            word.render_to(out);
            continue;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let piece = piece_length(rest);
            rest[..piece].render_to(out);
            rest = &rest[piece..];
            if !rest.is_empty() {
                PreEscaped("<wbr>").render_to(out);
            }
        }
    }
}

/// The length of the next unbreakable piece: up to and including the first separators. Opening
/// brackets and a leading sign belong to what follows; a point or comma before a digit is part of a
/// number.
fn piece_length(text: &str) -> usize {
    let mut last = ' ';
    for (count, (at, c)) in text.char_indices().enumerate() {
        let is_number = matches!(last, '.' | ',') && c.is_ascii_digit();
        let is_separator = last.is_ascii_punctuation() && !"<([{\"'".contains(last);
        let is_after = count > 1 && is_separator && !c.is_ascii_punctuation() && !is_number;
        if count == MAX_PIECE_CHARS || is_after {
            return at;
        }
        last = c;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{brief, visible};

    #[test]
    fn invisible_characters_are_shown_and_markup_is_escaped() {
        let shown = visible("a\u{202e}b<script>\"\0\u{e0041}").into_string();
        let plain = shown
            .replace("<span class=\"hidden\">", "")
            .replace("</span>", "");
        assert_eq!(
            plain,
            "<bdi>a‹U+202E›b&lt;script&gt;&quot;‹U+0000›‹U+E0041›</bdi>"
        );
    }

    #[test]
    fn a_truncated_value_shows_how_many_characters_are_missing() {
        assert!(!brief(&"é".repeat(120)).into_string().contains('…'));
        let truncated = brief(&"é".repeat(125)).into_string();
        assert!(truncated.contains("(5 more characters)"), "{truncated}");
    }

    #[test]
    fn a_long_word_may_break_after_its_separators_and_nowhere_else() {
        let digits = "0af7651916cd43dd8448eb211c80319c";
        for (text, expected) in [
            ("203.0.113.107", "203.0.113.107"),
            (
                "2001:db8:85a3::8a2e:370:7334",
                "2001:|db8:|85a3::|8a2e:|370:|7334",
            ),
            (
                "01a209e0-85d2-747e-8a80-c87fec65906e",
                "01a209e0-|85d2-|747e-|8a80-|c87fec65906e",
            ),
            ("::ffff:192.0.2.128", "::|ffff:|192.0.2.128"),
            ("-12345678901234567.89", "-12345678901234567.89"),
            ("/entries/{id}/lines", "/entries/{id}/|lines"),
            ("/entries/4711/lines", "/entries/|4711/|lines"),
            ("a word of seventeen", "a word of seventeen"),
            (digits, digits),
            (&digits.repeat(2), &[digits, digits].join("|")),
        ] {
            let shown = visible(text).into_string().replace("<wbr>", "|");
            assert_eq!(shown, format!("<bdi>{expected}</bdi>"));
        }
    }
}
