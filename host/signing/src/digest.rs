//! Content digests: RFC 9530 with `sha-256`, over the bytes of a body as they travel.

use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, Dictionary, FieldType as _, Item, ListEntry, key_ref};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::Refused;
use crate::field::{one, only_member};

/// The field's name.
pub const CONTENT_DIGEST: &str = "content-digest";
/// Bytes of the field at most: one SHA-256 takes 55.
const FIELD_MOST: usize = 128;

/// The field's value for a body.
pub fn content_digest(body: &[u8]) -> HeaderValue {
    let digest = BareItem::ByteSequence(Sha256::digest(body).to_vec());
    let dictionary: Dictionary = [(key_ref("sha-256").to_owned(), ListEntry::Item(Item::new(digest)))].into();
    let text = dictionary.serialize().expect("a dictionary of one member has a form");
    HeaderValue::from_str(&text).expect("structured fields are ASCII")
}

/// Whether a field's value is the digest of `body`. It names `sha-256` and nothing else: a second algorithm would be one
/// that nobody here checks.
///
/// # Errors
/// [`Refused::Form`] when it is anything but one SHA-256; [`Refused::Digest`] when it is that of another body.
pub fn is_digest_of(value: &str, body: &[u8]) -> Result<(), Refused> {
    let digest = digest_in(value)?;
    if bool::from(Sha256::digest(body).as_slice().ct_eq(&digest)) { Ok(()) } else { Err(Refused::Digest) }
}

fn digest_in(value: &str) -> Result<Vec<u8>, Refused> {
    const FORM: Refused = Refused::Form("content-digest must be sha-256=:BASE64: and nothing else");
    let (key, member) = only_member(value).ok_or(FORM)?;
    let ListEntry::Item(Item { bare_item: BareItem::ByteSequence(digest), params }) = member else { return Err(FORM) };
    if key != "sha-256" || !params.is_empty() || digest.len() != 32 {
        return Err(FORM);
    }
    Ok(digest)
}

/// The value of the message's own digest, which has the form of one; whether it is that of the body is not known yet.
pub(crate) fn claimed(headers: &HeaderMap) -> Result<&str, Refused> {
    let value = one(headers, CONTENT_DIGEST, FIELD_MOST)?;
    let value = value.ok_or(Refused::Form("a signed message has content-digest, of an empty body too"))?;
    digest_in(value)?;
    Ok(value)
}

/// Holds the body against the message's own digest; answers the field's value.
pub(crate) fn checked<'h>(headers: &'h HeaderMap, body: &[u8]) -> Result<&'h str, Refused> {
    let value = claimed(headers)?;
    is_digest_of(value, body)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9530 appendix B.1 and B.4: `{"hello": "world"}` and a line feed.
    #[test]
    fn digests_of_the_rfc() {
        let body = b"{\"hello\": \"world\"}\n";
        let value = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        assert_eq!(content_digest(body), value);
        assert_eq!(is_digest_of(value, body), Ok(()));
        assert_eq!(is_digest_of(value, b"{\"hello\": \"world\"}"), Err(Refused::Digest));
    }

    /// RFC 9530 appendix D and the empty body.
    #[test]
    fn an_empty_body_has_a_digest() {
        assert_eq!(content_digest(b""), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
    }

    #[test]
    fn one_algorithm_in_one_spelling() {
        let good = content_digest(b"x");
        let good = good.to_str().unwrap();
        let other = good.replace("sha-256", "sha-512");
        let both = format!("{good}, {other}");
        let twice = format!("{good}, {good}");
        let with = format!("{good};q=1");
        let short = "sha-256=:AAAA:".to_owned();
        for bad in
            [other, both, twice, with, short, String::new(), "sha-256=1".to_owned(), "sha-256=(:YQ==:)".to_owned()]
        {
            assert!(matches!(is_digest_of(&bad, b"x"), Err(Refused::Form(_))), "{bad}");
        }
    }
}
