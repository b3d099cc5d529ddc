//! Text of a record, so that all of it is seen and none of it acts.

use maud::{Markup, Render, html};

use crate::hidden::is_hidden;

/// How many characters a list shows of a value.
const BRIEF: usize = 120;

/// All of `text`: escaped, kept apart from the direction of what is around it, and with characters
/// that cannot be seen shown by their number.
pub(super) fn visible(text: &str) -> Markup {
    html! { bdi { (Visible(text)) } }
}

/// Its beginning, for a list.
pub(super) fn brief(text: &str) -> Markup {
    match text.char_indices().nth(BRIEF) {
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

struct Visible<'a>(&'a str);

impl Render for Visible<'_> {
    fn render_to(&self, out: &mut String) {
        let mut text = self.0;
        while let Some((at, hidden)) = text.char_indices().find(|(_, c)| is_hidden(*c)) {
            let (before, rest) = text.split_at(at);
            before.render_to(out);
            let number = format!("‹U+{:04X}›", u32::from(hidden));
            html! { span.hidden { (number) } }.render_to(out);
            if hidden == '\n' {
                out.push('\n');
            }
            text = rest.strip_prefix(hidden).unwrap_or_default();
        }
        text.render_to(out);
    }
}

#[cfg(test)]
mod tests {
    use super::{brief, visible};

    #[test]
    fn what_cannot_be_seen_is_named_and_markup_is_text() {
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
    fn a_list_says_how_much_it_left_out() {
        assert!(!brief(&"é".repeat(120)).into_string().contains('…'));
        let cut = brief(&"é".repeat(125)).into_string();
        assert!(cut.contains("(5 more characters)"), "{cut}");
    }
}
