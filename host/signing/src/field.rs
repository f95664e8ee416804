//! Header fields as signatures take them: one line each, short, and in ASCII.

use http::HeaderMap;
use sfv::{Dictionary, FieldType as _, ListEntry, Parser};

use crate::error::Refused;

/// The value of a field that may be there once, in at most `most` bytes.
pub(crate) fn one<'h>(headers: &'h HeaderMap, name: &str, most: usize) -> Result<Option<&'h str>, Refused> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Refused::Form("a field of the signature, or one that it covers, is there twice"));
    }
    if line.len() > most {
        return Err(Refused::Form("a field of the signature, or one that it covers, is too long"));
    }
    let text =
        line.to_str().map_err(|_| Refused::Form("a field of the signature, or one that it covers, is not ASCII"))?;
    Ok(Some(text.trim_matches([' ', '\t'])))
}

/// The only member of a dictionary and its key. The text must be the one spelling that a dictionary of that member has,
/// which is what leaves no room for a key given twice, of which parsers keep the last.
pub(crate) fn only_member(text: &str) -> Option<(String, ListEntry)> {
    let parsed: Dictionary = Parser::new(text).parse().ok()?;
    if parsed.len() != 1 || parsed.serialize()? != text {
        return None;
    }
    let (key, member) = parsed.into_iter().next()?;
    Some((key.into(), member))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_member_has_one_spelling() {
        assert_eq!(only_member("a=1").unwrap().0, "a");
        for other in [
            "",
            "a=1, b=2",
            "a=1,a=1",
            "a=1, a=1",
            "a=01",
            " a=1",
            "a=1 ",
            "a=1;x;x",
            "a=1; x",
            "a=(\"b\"  \"c\")",
            "a=:YQ:",
            "a=:YR==:",
            "a",
            "a=1,",
        ] {
            // A member without a value is true, in one spelling.
            assert_eq!(only_member(other).is_some(), other == "a", "{other:?}");
        }
    }

    #[test]
    fn a_field_is_there_once_and_short() {
        let mut headers = HeaderMap::new();
        assert_eq!(one(&headers, "x", 3), Ok(None));
        headers.insert("x", HeaderValue::from_static(" ab"));
        assert_eq!(one(&headers, "x", 3), Ok(Some("ab")));
        assert!(one(&headers, "x", 2).is_err());
        headers.append("x", HeaderValue::from_static("c"));
        assert!(one(&headers, "x", 3).is_err());
        headers.insert("x", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(one(&headers, "x", 3).is_err());
    }
}
