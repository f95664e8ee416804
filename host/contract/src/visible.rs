//! Text as a human must see it: nothing invisible, nothing that reorders, nothing that runs off the screen.

use std::fmt::Write as _;

/// A text made safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What to show.
    pub text: String,
    /// Characters of the original left out at the end.
    pub cut: usize,
}

/// Shows at most `max` characters of `text`. Control characters, line breaks, characters without a width, characters that
/// reorder text (Unicode bidi controls) and other format characters appear as `\u{..}`; a backslash is doubled,
/// so that what is shown can be told from what was typed.
pub fn visible(text: &str, max: usize) -> Shown {
    let mut shown = String::with_capacity(text.len().min(max.saturating_mul(4)));
    let mut chars = text.chars();
    for c in chars.by_ref().take(max) {
        if c == '\\' {
            shown.push_str("\\\\");
        } else if is_hidden(c) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Shown { text: shown, cut: chars.count() }
}

/// Whether `text` has characters that [`visible`] would write as `\u{..}`.
pub(crate) fn has_hidden(text: &str) -> bool {
    text.chars().any(is_hidden)
}

/// Whether a character changes what is seen without being seen: control, format, separator, tag, variation selector,
/// filler and private-use characters.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            u32::from(c),
            0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F
                | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0F
                | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1345F
                | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE000..=0xF8FF | 0xE0000..=0xE0FFF
                | 0xF0000..=0x0010_FFFF
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_made_visible() {
        for (text, shown) in [
            ("plain äöü 日本語 🙂", "plain äöü 日本語 🙂"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{200b}b", "a\\u{200b}b"),
            ("a\nb\t\0", "a\\u{a}b\\u{9}\\u{0}"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{e0041}", "\\u{e0041}"),
            ("\u{a0}\u{2028}", "\\u{a0}\\u{2028}"),
            ("\\u{202e}", "\\\\u{202e}"),
        ] {
            assert_eq!(visible(text, 100), Shown { text: shown.to_owned(), cut: 0 }, "{text:?}");
        }
    }

    #[test]
    fn length_is_bounded_and_the_cut_is_told() {
        assert_eq!(visible("äbcdef", 4), Shown { text: "äbcd".to_owned(), cut: 2 });
        assert_eq!(visible(&"x".repeat(1_000_000), 10).cut, 999_990);
    }
}
