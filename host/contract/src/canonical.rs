//! The one text of a JSON value (RFC 8785).

use std::cmp::Ordering;
use std::io::Write as _;

use serde_json::{Number, Value};

/// Writes `value` canonically.
///
/// # Errors
/// A number without a canonical form, which strict parsing lets none through of.
pub(crate) fn canonical(value: &Value) -> Result<String, serde_json::Error> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out)?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out)?,
        // Escapes exactly what RFC 8785 §3.2.2.2 asks for, in lower-case hex.
        Value::String(text) => serde_json::to_writer(out, text)?,
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by(|a, b| by_utf16(a.0, b.0));
            out.push(b'{');
            for (at, (name, member)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, name)?;
                out.push(b':');
                write(member, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// RFC 8785 §3.2.3: names are compared as UTF-16 code units, which differs from UTF-8 only outside the basic plane.
fn by_utf16(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

fn write_number(number: &Number, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match number.as_i64() {
        Some(whole) if whole.unsigned_abs() <= crate::json::MAX_NUMBER => {
            write!(out, "{whole}").map_err(serde_json::Error::io)
        }
        // ECMAScript's form of a double.
        _ => serde_jcs::to_writer(out, number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::canonical;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_992_i64..=9_007_199_254_740_992).prop_map(Value::from),
            (-1e15..1e15_f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|all| Value::from(all.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_another_implementation(value in value()) {
            prop_assert_eq!(canonical(&value).unwrap(), serde_jcs::to_string(&value).unwrap());
        }
    }
}
