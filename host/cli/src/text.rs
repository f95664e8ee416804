//! Text that came from outside, made safe to show on a terminal.
//!
//! Titles, previews, parameters and messages are written by plugins, tenants and upstreams. Control characters could
//! move the cursor or repaint a line above, and bidirectional or invisible ones could make a preview read as something
//! it is not, so all of them are shown as `\u{…}` instead of being obeyed.

/// One line: every character that a terminal might obey or hide is spelled out, line breaks too.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut shown, c| {
            push(&mut shown, c);
            shown
        })
}

/// Several lines: as [`line`], but line feeds stay.
pub(crate) fn block(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut shown, c| {
            if c == '\n' {
                shown.push(c);
            } else {
                push(&mut shown, c);
            }
            shown
        })
}

fn push(shown: &mut String, c: char) {
    if c.is_control() || unseen(c) {
        shown.extend(c.escape_unicode());
    } else {
        shown.push(c);
    }
}

/// Format and separator characters that change how neighbours look, or cannot be seen at all: Unicode's bidirectional
/// controls (UAX #9), zero-width and filler characters, line and paragraph separators, variation selectors and tags.
fn unseen(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
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
        for text in ["Zürich", "注文", "שלום", "naïve – “quoted” · 100 €", "👍"]
        {
            assert_eq!(line(text), text);
        }
    }
}
