//! What an entry keeps sealed: the values of its fields and the salts of their commitments.

use std::borrow::Cow;

use opsiq_vault::{Place, Sealed, TenantVault};
use serde::{Deserialize, Serialize};

use crate::draft::Draft;
use crate::entry::{Commitments, Record, Salt, commitment};
use crate::error::AuditError;
use crate::kind::Kind;

/// The sealed document of an entry. Bound to the entry's random id, not to its number, so that it can be sealed before the
/// number is known: sealing happens in the caller's task, in parallel, and the one committer only counts and writes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub(crate) fields: Vec<Field>,
}

/// One field of the sealed document.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    #[serde(rename = "n")]
    pub(crate) name: Cow<'static, str>,
    #[serde(rename = "s", with = "hex::serde")]
    pub(crate) salt: Salt,
    #[serde(rename = "v")]
    pub(crate) value: String,
    /// Lists show this field as sealed.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
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
    let row = hex::encode(id);
    run(&Place { table: "audit_entry", row: &[&row], column: "content", version: 1 })
}

/// Commits to the fields of a draft and seals them.
///
/// # Errors
/// [`AuditError::Draft`] for a field name that is none, [`AuditError::Vault`] when sealing fails.
pub(crate) fn prepare(draft: Draft, vault: &TenantVault) -> Result<Prepared, AuditError> {
    let Draft { kind, invocation, fields } = draft;
    let mut random = vec![0_u8; 16 * (fields.len() + 1)];
    getrandom::fill(&mut random).map_err(|_| AuditError::Randomness)?;
    let mut salts = random.as_chunks::<16>().0.iter().copied();
    let mut salt = || salts.next().ok_or(AuditError::Randomness);
    let id = salt()?;
    let mut commitments = Vec::with_capacity(fields.len());
    let mut sealed = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let salt = salt()?;
        commitments.push((Cow::Borrowed(name), commitment(name, &salt, &value.text)));
        sealed.push(Field { name: Cow::Borrowed(name), salt, value: value.text, hidden: value.hidden });
    }
    let commitments = Commitments::new(commitments).ok_or(AuditError::Draft)?;
    let content = Content { fields: sealed };
    let sealed = with_place(&id, |place| vault.seal(place, &content))?;
    Ok(Prepared { kind, invocation, id, commitments, sealed })
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
    let content = with_place(&record.id, |place| vault.open(place, sealed))?;
    let opened =
        content.fields.iter().map(|field| (field.name.as_ref(), commitment(&field.name, &field.salt, &field.value)));
    if opened.eq(record.commitments.iter().map(|(name, hash)| (name, *hash))) {
        Ok(content.fields)
    } else {
        Err(AuditError::tampered(seq, "its content is not what its commitments say"))
    }
}
