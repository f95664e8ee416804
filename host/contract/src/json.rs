//! JSON read strictly and written canonically.
//!
//! Duplicate keys, deep nesting and numbers that other parsers would round are refused here, because two readers that
//! understand one text differently are how an approved call becomes another one. What passes is kept as the one canonical
//! text (RFC 8785) that is hashed, shown and run.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::canonical::canonical;

/// Nesting accepted from anybody: objects and arrays inside one another.
pub const MAX_DEPTH: usize = 64;

/// Largest magnitude of a number: 2^53, up to which every reader agrees on integers (RFC 8259 §6).
pub const MAX_NUMBER: u64 = 1 << 53;

/// Why a text is not acceptable JSON. Never shows the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// A JSON value together with its one canonical text.
#[derive(Clone, PartialEq)]
pub struct CanonicalJson {
    text: String,
    value: Value,
}

impl CanonicalJson {
    /// Reads `bytes` strictly.
    ///
    /// # Errors
    /// Not UTF-8 JSON, a duplicate key, nesting beyond `max_depth` (at most [`MAX_DEPTH`]), or a number beyond ±2^53.
    pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Self, JsonError> {
        Self::of(parse_strict(bytes, max_depth)?)
    }

    /// The canonical form of a value the host itself made.
    ///
    /// # Errors
    /// A number beyond ±2^53.
    pub fn of(value: Value) -> Result<Self, JsonError> {
        let text = canonical(&value).map_err(|_| JsonError("a number has no canonical form".to_owned()))?;
        Ok(Self { text, value })
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The canonical text, given away.
    pub fn into_string(self) -> String {
        self.text
    }
}

impl fmt::Debug for CanonicalJson {
    /// Shows the size only: the content may be a tenant's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanonicalJson({} bytes)", self.text.len())
    }
}

/// Reads `bytes` as one JSON value: UTF-8, no duplicate keys, at most `max_depth` nested containers (and never more than
/// [`MAX_DEPTH`]), numbers within ±2^53. Numbers that are whole become integers, so that `1.0` and `1` are one value.
///
/// # Errors
/// Says what is wrong and where, without showing content.
pub fn parse_strict(bytes: &[u8], max_depth: usize) -> Result<Value, JsonError> {
    let error = |error: serde_json::Error| JsonError(error.to_string());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth_left: max_depth.min(MAX_DEPTH) }.deserialize(&mut reader).map_err(error)?;
    reader.end().map_err(error)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_NUMBER { Err(beyond()) } else { Ok(value.into()) }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_NUMBER { Err(beyond()) } else { Ok(value.into()) }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        number_of(value).map(Value::Number).ok_or_else(beyond)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inside)?;
            if map.insert(key, value).is_some() {
                return Err(de::Error::custom("an object has the same key twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

/// A number within ±2^53, as an integer when it is whole.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "exact: whole and within 2^53")]
pub(crate) fn number_of(value: f64) -> Option<Number> {
    if value.is_nan() || value.abs() > MAX_NUMBER as f64 {
        None
    } else if value.fract() == 0.0 {
        Some((value as i64).into())
    } else {
        Number::from_f64(value)
    }
}

fn beyond<E: de::Error>() -> E {
    E::custom("a number is beyond ±2^53")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<String, String> {
        CanonicalJson::parse(text.as_bytes(), MAX_DEPTH).map(CanonicalJson::into_string).map_err(|e| e.to_string())
    }

    #[test]
    fn canonical_form_of_rfc_8785() {
        // RFC 8785 §3.2.2 and §3.2.3, the number beyond 2^53 left out.
        let text = r#"{"numbers":[4.50,2e-3,0.000000000000000000000000001,-0,1.0],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        let canonical_text = "{\"literals\":[null,true,false],\"numbers\":[4.5,0.002,1e-27,0,1],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical(text).unwrap(), canonical_text);
        let keys = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        assert_eq!(
            canonical(keys).unwrap(),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn text_and_value_agree() {
        for text in ["1.0", "-0", "1e3", "0.5", "[1.50]", "{\"a\":1E2}"] {
            let once = CanonicalJson::parse(text.as_bytes(), MAX_DEPTH).unwrap();
            let twice = CanonicalJson::parse(once.as_str().as_bytes(), MAX_DEPTH).unwrap();
            assert_eq!(once.value(), twice.value(), "{text}");
            assert_eq!(once.as_str(), twice.as_str());
        }
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"x":{"k":1,"k":1}}]"#,
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551616",
            "1e400",
            "1e300",
            "NaN",
            "[1,]",
            "{} {}",
            "'a'",
            "01",
            "\"\\ud800\"",
            "\u{feff}{}",
            "",
            "// c\n1",
        ] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert!(CanonicalJson::parse(b"\"\xff\"", MAX_DEPTH).is_err());
        assert!(canonical("9007199254740992").is_ok() && canonical("-9007199254740992").is_ok());
    }

    #[test]
    fn depth_is_bounded_without_recursing_first() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canonical(&nested(64)).is_ok());
        assert!(canonical(&nested(65)).is_err());
        assert!(canonical(&nested(100_000)).is_err());
        assert!(CanonicalJson::parse(nested(3).as_bytes(), 2).is_err());
        assert!(CanonicalJson::parse(nested(65).as_bytes(), usize::MAX).is_err());
    }

    #[test]
    fn errors_and_debug_show_no_content() {
        let text = r#"{"canary":"canary","canary":"canary"}"#;
        assert!(!canonical(text).unwrap_err().contains("canary"));
        let json = CanonicalJson::parse(b"\"canary\"", 1).unwrap();
        assert!(!format!("{json:?}").contains("canary"));
    }
}
