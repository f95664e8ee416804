//! What an entry keeps sealed: the values of its fields and the salts of their commitments.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use opsiq_vault::{Form, KeyId, Place, Sealed, Tampering, TenantVault, VaultError};
use serde::{Deserialize, Serialize};

use crate::draft::Draft;
use crate::entry::{Commitments, Record, Salt, commitment};
use crate::error::AuditError;
use crate::kind::Kind;

/// The sealed document of an entry, in few bytes: every row has one. Bound to the entry's random id, not to its number, so
/// that it can be sealed before the number is known: sealing happens in the caller's task, in parallel, and the one
/// committer only counts and writes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Names and values, in order of names.
    #[serde(rename = "f")]
    fields: Vec<(Cow<'static, str>, String)>,
    /// All salts, one after the other, in base64.
    #[serde(rename = "s")]
    salts: String,
    /// Which fields lists show as sealed, by their place.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    hidden: Vec<usize>,
}

/// One opened field.
pub(crate) struct Field {
    pub(crate) name: Cow<'static, str>,
    pub(crate) salt: Salt,
    pub(crate) value: String,
    /// Lists show this field as sealed.
    pub(crate) hidden: bool,
}

impl Content {
    /// The fields; `None` when there is not one salt for each.
    fn open(self) -> Option<Vec<Field>> {
        let salts = STANDARD_NO_PAD.decode(self.salts).ok()?;
        let (salts, rest) = salts.as_chunks::<16>();
        if !rest.is_empty() || salts.len() != self.fields.len() {
            return None;
        }
        let field = |(at, ((name, value), salt)): (usize, ((_, _), &Salt))| Field {
            name,
            salt: *salt,
            value,
            hidden: self.hidden.contains(&at),
        };
        Some(self.fields.into_iter().zip(salts).enumerate().map(field).collect())
    }
}

/// An entry that lacks only its place and time.
pub(crate) struct Prepared {
    pub(crate) kind: Kind,
    pub(crate) invocation: Option<opsiq_contract::InvocationId>,
    pub(crate) id: [u8; 16],
    pub(crate) commitments: Commitments,
    pub(crate) sealed: Sealed<Content>,
}

/// Where a content is sealed: its entry's row, named by the random id.
fn with_place<T>(id: &[u8; 16], run: impl FnOnce(&Place<'_>) -> T) -> T {
    let mut digits = [0; 32];
    hex::encode_to_slice(id, &mut digits).expect("two digits for each of 16 bytes");
    let row = str::from_utf8(&digits).expect("digits are text");
    run(&Place { table: "audit_entry", row: &[row], column: "content", version: 1 })
}

/// Commits to the fields of a draft and seals them.
///
/// # Errors
/// [`AuditError::Draft`] for a field name that is none, [`AuditError::Vault`] when sealing fails.
pub(crate) fn prepare(draft: Draft, vault: &TenantVault) -> Result<Prepared, AuditError> {
    let Draft { kind, invocation, fields } = draft;
    let mut random = vec![0_u8; 16 * (fields.len() + 1)];
    getrandom::fill(&mut random).map_err(|_| AuditError::Randomness)?;
    let (id, salts) = random.split_first_chunk::<16>().ok_or(AuditError::Randomness)?;
    let mut commitments = Vec::with_capacity(fields.len());
    let mut content =
        Content { fields: Vec::with_capacity(fields.len()), salts: STANDARD_NO_PAD.encode(salts), hidden: Vec::new() };
    for ((name, value), salt) in fields.into_iter().zip(salts.as_chunks::<16>().0) {
        commitments.push((Cow::Borrowed(name), commitment(name, salt, &value.text)));
        if value.hidden {
            content.hidden.push(content.fields.len());
        }
        content.fields.push((Cow::Borrowed(name), value.text));
    }
    let commitments = Commitments::new(commitments).ok_or(AuditError::Draft)?;
    let sealed = with_place(id, |place| vault.seal(place, &content))?;
    Ok(Prepared { kind, invocation, id: *id, commitments, sealed })
}

/// Opens the content of a row and checks it against the row's commitments, so that what is shown is what was committed to.
///
/// # Errors
/// [`AuditError::Vault`] when it does not open, [`AuditError::Tampered`] when it is not what the commitments say.
pub(crate) fn open(
    seq: u64,
    record: &Record,
    sealed: &Sealed<Content>,
    vault: &TenantVault,
) -> Result<Vec<Field>, AuditError> {
    let changed = || AuditError::tampered(seq, "its content is not what its commitments say");
    let content = with_place(&record.id, |place| vault.open(place, sealed))?;
    let fields = content.open().ok_or_else(changed)?;
    let opened = fields.iter().map(|field| (field.name.as_ref(), commitment(&field.name, &field.salt, &field.value)));
    if opened.eq(record.commitments.iter().map(|(name, hash)| (name, *hash))) { Ok(fields) } else { Err(changed()) }
}

/// Proves that stored bytes are the content sealed for the entry with this stored header. Answers the key they are under.
///
/// # Errors
/// [`VaultError::Tampered`] when they are not, or when the header is none.
pub fn prove_content(vault: &TenantVault, header: &[u8], stored: &[u8]) -> Result<KeyId, VaultError> {
    match Record::decode(header) {
        Some(record) => with_place(&record.id, |place| vault.prove(place, Form::Document, stored)),
        None => Err(VaultError::Tampered { table: "audit_entry", column: "header", why: Tampering::Format }),
    }
}
