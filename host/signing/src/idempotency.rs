//! The `Idempotency-Key` field, as the IETF draft (draft-ietf-httpapi-idempotency-key-header §2.1) has it: a string of
//! structured fields, that is, in quotes.

use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, FieldType as _, Item, Parser};

/// The field's name.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Bytes of a key.
const KEY: std::ops::RangeInclusive<usize> = 1..=255;

/// The key that a request carries.
///
/// # Errors
/// What is wrong with it: there twice, not a quoted string, or not 1 to 255 visible ASCII characters. HTTP 400.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    const FORM: &str = "idempotency-key is a string in quotes, of 1 to 255 visible ASCII characters";
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err("idempotency-key is there twice");
    }
    let item: Item = Parser::new(line.as_bytes()).parse().map_err(|_| FORM)?;
    let BareItem::String(key) = item.bare_item else { return Err(FORM) };
    let fits = KEY.contains(&key.as_str().len()) && key.as_str().bytes().all(|b| b.is_ascii_graphic());
    if fits && item.params.is_empty() { Ok(Some(key.into())) } else { Err(FORM) }
}

/// The field's value for a key; `None` when a key of those characters cannot be.
pub fn write_idempotency_key(key: &str) -> Option<HeaderValue> {
    let text = sfv::String::from_string(key.to_owned()).ok().filter(|_| KEY.contains(&key.len()))?;
    HeaderValue::from_str(&Item::new(text).serialize()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_quoted_string() {
        let read = |text: &str| {
            idempotency_key(&HeaderMap::from_iter([(
                http::HeaderName::from_static(IDEMPOTENCY_KEY),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(
            read("\"8e03978e-40d5-43dd-bc93-6894a57f9324\""),
            Ok(Some("8e03978e-40d5-43dd-bc93-6894a57f9324".into()))
        );
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
        let long = format!("\"{}\"", "k".repeat(256));
        for bad in ["8e03", "\"\"", "\"a", "\"a b\"", "\"a\";q=1", "\"a\", \"b\"", "1", ":YQ==:", "", long.as_str()] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("\"a\""));
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("\"a\""));
        assert!(idempotency_key(&twice).is_err());
        assert_eq!(write_idempotency_key("a\"b").unwrap(), "\"a\\\"b\"");
        assert!(write_idempotency_key("ä").is_none());
    }
}
