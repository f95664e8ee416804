//! Text that came from outside, made safe to show on a terminal.
//!
//! Titles, previews, parameters and messages are written by plugins, tenants and upstreams. Control characters could move
//! the cursor or repaint a line above, and bidirectional or invisible ones could make a preview read as something it is
//! not, so all of them are shown as `\u{…}` instead of being obeyed.

use opsiq_contract::is_hidden;

/// One line: every character that a terminal might obey or hide is spelled out, line breaks too.
pub(crate) fn line(text: &str) -> String {
    spelled(text, is_hidden)
}

/// Several lines: as [`line`], but line feeds stay.
pub(crate) fn block(text: &str) -> String {
    spelled(text, |c| c != '\n' && is_hidden(c))
}

fn spelled(text: &str, hidden: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{block, line};

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert_eq!(line("a\u{1b}[2Jb\r\n\u{7}"), r"a\u{1b}[2Jb\u{d}\u{a}\u{7}");
        assert_eq!(line("pay \u{202e}001\u{200b}"), r"pay \u{202e}001\u{200b}");
        assert_eq!(block("one\ntwo\rthree"), "one\ntwo\\u{d}three");
    }

    #[test]
    fn ordinary_text_of_any_language_is_left_alone() {
        for text in ["Zürich", "注文", "שלום", "naïve – “quoted” · 100 €", "👍"] {
            assert_eq!(line(text), text);
        }
    }
}
