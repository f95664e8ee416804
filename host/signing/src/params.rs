//! `Signature-Input` and `Signature`: one labelled signature, its covered components and its parameters.

use http::HeaderMap;
use opsiq_vault::Secret;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, Item, Key, ListEntry, Parameters, key_ref};

use crate::error::Refused;
use crate::field::{one, only_member};
use crate::key_id::KeyId;

/// The field that says what is signed and how.
pub const SIGNATURE_INPUT: &str = "signature-input";
/// The field that holds the signature.
pub const SIGNATURE: &str = "signature";
/// How many seconds before and after its making a request is accepted.
pub const WINDOW_S: i64 = 300;

/// Our own label, and the one algorithm.
pub(crate) const LABEL: &str = "opsiq";
const ALGORITHM: &str = "hmac-sha256";

/// Bytes of the fields at most. What a client needs is below 500.
const INPUT_MOST: usize = 1024;
pub(crate) const SIGNATURE_MOST: usize = 256;
/// Bytes of a nonce: enough that none comes up twice by chance, and no more than is worth keeping.
const NONCE: std::ops::RangeInclusive<usize> = 16..=128;
/// Bytes of an HMAC-SHA256.
const MAC: usize = 32;

/// A covered component as it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) name: String,
    /// Whether it is one of the request that the message answers.
    pub(crate) of_request: bool,
}

/// One signature as it stands in a message, in the accepted form. Nothing is verified yet.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) components: Vec<Component>,
    /// The inner list with its parameters, as text.
    pub(crate) params: String,
    pub(crate) created: i64,
    pub(crate) expires: Option<i64>,
    pub(crate) nonce: Option<String>,
    pub(crate) keyid: String,
    pub(crate) mac: [u8; MAC],
    /// The whole `Signature` field.
    pub(crate) field: String,
}

impl Signed {
    /// Reads the signature of a message.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Refused> {
        let input = one(headers, SIGNATURE_INPUT, INPUT_MOST)?;
        let field = one(headers, SIGNATURE, SIGNATURE_MOST)?;
        let (input, field) = match (input, field) {
            (Some(input), Some(field)) => (input, field),
            (None, None) => return Err(Refused::Missing),
            _ => return Err(Refused::Form("signature-input and signature come together")),
        };
        let Some((label, ListEntry::InnerList(list))) = only_member(input) else {
            return Err(Refused::Form("signature-input must be one label with its covered components, canonical"));
        };
        let mac = match only_member(field) {
            Some((same, ListEntry::Item(Item { bare_item: BareItem::ByteSequence(mac), params })))
                if same == label && params.is_empty() =>
            {
                mac.try_into().map_err(|_| Refused::Form("a signature by hmac-sha256 has 32 bytes"))?
            }
            _ => {
                return Err(Refused::Form(
                    "signature must be the label of signature-input with one :BASE64:, canonical",
                ));
            }
        };
        // The text of a sole member is its label, an equals sign, and the member.
        let params = input[label.len() + 1..].to_owned();
        let components = list.items.iter().map(component).collect::<Result<_, _>>()?;
        let mut signed = Self {
            components,
            params,
            created: 0,
            expires: None,
            nonce: None,
            keyid: String::new(),
            mac,
            field: field.to_owned(),
        };
        for (name, value) in &list.params {
            signed.take(name.as_str(), value)?;
        }
        if signed.created == 0 || signed.keyid.is_empty() {
            return Err(Refused::Form("a signature has the parameters created and keyid"));
        }
        Ok(signed)
    }

    fn take(&mut self, name: &str, value: &BareItem) -> Result<(), Refused> {
        let text = || value.as_string().map(sfv::StringRef::as_str);
        match name {
            "created" => self.created = seconds(value)?,
            "expires" => self.expires = Some(seconds(value)?),
            "nonce" => {
                let nonce = text().filter(|nonce| NONCE.contains(&nonce.len()));
                self.nonce = Some(nonce.ok_or(Refused::Form("nonce is a string of 16 to 128 characters"))?.to_owned());
            }
            "keyid" => text().ok_or(Refused::Form("keyid is a string"))?.clone_into(&mut self.keyid),
            "alg" if text() == Some(ALGORITHM) => {}
            "alg" => return Err(Refused::Form("alg must be hmac-sha256, or left out")),
            _ => return Err(Refused::Form("a parameter other than created, expires, nonce, keyid and alg")),
        }
        Ok(())
    }

    /// Whether `secret` signed this base.
    pub(crate) fn is_made_with(&self, secret: &Secret, base: &str) -> bool {
        secret.verify(opsiq_vault::MacAlgorithm::HmacSha256, base.as_bytes(), &self.mac)
    }
}

fn component(item: &Item) -> Result<Component, Refused> {
    const FORM: Refused = Refused::Form("a covered component is a name, with `req` or nothing");
    let name = item.bare_item.as_string().ok_or(FORM)?.as_str().to_owned();
    let of_request = match item.params.len() {
        0 => false,
        1 if item.params.get(key_ref("req")) == Some(&BareItem::Boolean(true)) => true,
        _ => return Err(FORM),
    };
    Ok(Component { name, of_request })
}

/// A time in whole seconds since 1970. Structured fields end at 15 digits, so milliseconds of it fit 64 bits.
fn seconds(value: &BareItem) -> Result<i64, Refused> {
    let number = value.as_integer().map(i64::from).filter(|number| *number > 0);
    number.ok_or(Refused::Form("created and expires are whole seconds since 1970"))
}

/// The inner list with its parameters as text, for signing.
pub(crate) fn write_params(components: &[(&str, bool)], created: i64, nonce: Option<&str>, keyid: &KeyId) -> String {
    let item = |(name, of_request): &(&str, bool)| {
        let mut params = Parameters::new();
        if *of_request {
            params.insert(key_ref("req").to_owned(), BareItem::Boolean(true));
        }
        Item::with_params(string(name), params)
    };
    let mut params = Parameters::new();
    let created = sfv::Integer::try_from(created.max(1)).unwrap_or(sfv::Integer::MAX);
    params.insert(key_ref("created").to_owned(), created.into());
    if let Some(nonce) = nonce {
        params.insert(key_ref("nonce").to_owned(), string(nonce).into());
    }
    // In the order in which libraries write them that do not keep the one that came.
    params.insert(key_ref("alg").to_owned(), string(ALGORITHM).into());
    params.insert(key_ref("keyid").to_owned(), string(&keyid.to_string()).into());
    let list = InnerList::with_params(components.iter().map(item).collect(), params);
    let text = vec![ListEntry::InnerList(list)].serialize();
    text.expect("a list of one member has a form")
}

/// The `Signature` field of a MAC.
pub(crate) fn write_signature(mac: &[u8; MAC]) -> String {
    let item = Item::new(BareItem::ByteSequence(mac.to_vec()));
    let dictionary: Dictionary = [(label(), ListEntry::Item(item))].into();
    dictionary.serialize().expect("a dictionary of one member has a form")
}

/// A text of visible ASCII as a string; other characters are left out, so that what they were in does not verify.
fn string(text: &str) -> sfv::String {
    let text: String = text.chars().filter(|c| matches!(c, ' '..='~')).collect();
    sfv::String::from_string(text).expect("only characters that strings have are left")
}

fn label() -> Key {
    key_ref(LABEL).to_owned()
}
