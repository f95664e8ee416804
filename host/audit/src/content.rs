//! What an entry keeps sealed: the values of its fields and the salts of their commitments.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use opsiq_vault::{Apart, Form, KeyId, Place, Sealed, SubjectKey, Tampering, TenantVault, VaultError};
use serde::{Deserialize, Serialize};

use crate::draft::{Draft, Value, field};
use crate::entry::{Commitments, Committing, Record, Salt, commitment};
use crate::error::AuditError;
use crate::journal::Vaults;
use crate::kind::Kind;
use crate::log::Log;

/// The sealed document of an entry, in few bytes: every row has one. Bound to the entry's random id, not to its number, so
/// that it can be sealed before the number is known: sealing happens in the caller's task, in parallel, and the one
/// committer only counts and writes.
#[derive(Default, Serialize, Deserialize)]
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
    /// What is about data subjects, each part under the key of one, and without parts of its own.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    apart: Vec<Apart<Content>>,
}

/// One opened field.
pub(crate) struct Field {
    pub(crate) name: Cow<'static, str>,
    /// Its value and salt; `None` once the subject it was about is erased.
    pub(crate) kept: Option<(String, Salt)>,
    /// Lists show this field as sealed.
    pub(crate) hidden: bool,
}

/// A content being filled.
#[derive(Default)]
struct Filling {
    content: Content,
    salts: Vec<u8>,
}

impl Filling {
    fn push(&mut self, name: &'static str, value: Value, salt: &Salt) {
        if value.hidden {
            self.content.hidden.push(self.content.fields.len());
        }
        self.content.fields.push((Cow::Borrowed(name), value.text));
        self.salts.extend_from_slice(salt);
    }

    fn filled(self) -> Content {
        Content { salts: STANDARD_NO_PAD.encode(&self.salts), ..self.content }
    }
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
            kept: Some((value, *salt)),
            hidden: self.hidden.contains(&at),
        };
        Some(self.fields.into_iter().zip(salts).enumerate().map(field).collect())
    }
}

/// An entry that lacks only its place and time.
#[derive(Clone)]
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

/// Commits to the fields of a draft and seals them: what is about a data subject under that subject's key, and all of it
/// under the vault's.
///
/// # Errors
/// [`AuditError::Draft`] for a field name that is none, [`AuditError::Vault`] when sealing fails.
pub(crate) fn prepare(draft: Draft, vault: &TenantVault) -> Result<Prepared, AuditError> {
    let Draft { kind, invocation, fields, about } = draft;
    let mut id = [0; 16];
    let mut salts = vec![Salt::default(); fields.len()];
    opsiq_vault::fresh(&mut id);
    opsiq_vault::fresh(salts.as_flattened_mut());
    let mut commitments = Vec::with_capacity(fields.len());
    let mut committing = Committing::default();
    let mut own = Filling::default();
    own.content.fields.reserve_exact(fields.len());
    let mut apart: Vec<(SubjectKey, Filling)> = Vec::new();
    for ((name, mut value), salt) in fields.into_iter().zip(&salts) {
        commitments.push((Cow::Borrowed(name), committing.to(name, salt, &value.text)));
        let subject = value.about.take().or_else(|| about.clone()).filter(|_| !field::stays(name));
        let filling = match subject {
            None => &mut own,
            Some(key) => {
                let at = apart.iter().position(|(other, _)| other.id() == key.id()).unwrap_or_else(|| {
                    apart.push((key, Filling::default()));
                    apart.len() - 1
                });
                &mut apart[at].1
            }
        };
        filling.push(name, value, salt);
    }
    let commitments = Commitments::new(commitments).ok_or(AuditError::Draft)?;
    let mut content = own.filled();
    let sealed = with_place(&id, |place| {
        for (key, filling) in apart {
            content.apart.push(key.seal(place, &filling.filled())?);
        }
        vault.seal(place, &content)
    })?;
    Ok(Prepared { kind, invocation, id, commitments, sealed })
}

/// Opens the content of a row and checks it against the row's commitments, so that what is shown is what was committed to.
/// What was about an erased subject comes without value and salt.
///
/// # Errors
/// [`AuditError::Vault`] when it does not open, [`AuditError::Tampered`] when it is not what the commitments say.
pub(crate) async fn open(
    log: &Log,
    seq: u64,
    record: &Record,
    sealed: &Sealed<Content>,
    vault: &TenantVault,
    vaults: &dyn Vaults,
) -> Result<Vec<Field>, AuditError> {
    let changed = || AuditError::tampered(seq, "its content is not what its commitments say");
    let mut content = with_place(&record.id, |place| vault.open(place, sealed))?;
    let (apart, mut erased) = (std::mem::take(&mut content.apart), false);
    let mut fields = content.open().ok_or_else(changed)?;
    for part in apart {
        match vaults.subject(log, part.key_id().ok_or_else(changed)?).await? {
            Some(key) => {
                let opened = with_place(&record.id, |place| key.open(place, &part))?;
                fields.extend(opened.open().ok_or_else(changed)?);
            }
            None => erased = true,
        }
    }
    fields.sort_by(|one, other| one.name.cmp(&other.name));
    let mut opened = fields.into_iter().peekable();
    let mut all = Vec::with_capacity(record.commitments.iter().len());
    for (name, hash) in record.commitments.iter() {
        let field = match opened.next_if(|field| field.name == name) {
            Some(field) => {
                let holds = |(value, salt): &(String, Salt)| commitment(name, salt, value) == *hash;
                if !field.kept.as_ref().is_some_and(holds) {
                    return Err(changed());
                }
                field
            }
            None if erased => Field { name: Cow::Owned(name.to_owned()), kept: None, hidden: false },
            None => return Err(changed()),
        };
        all.push(field);
    }
    if opened.next().is_none() { Ok(all) } else { Err(changed()) }
}

/// Proves that stored bytes are the content sealed for the entry with this stored header. Answers the key they are under,
/// and the parts about data subjects, each for [`prove_apart`].
///
/// # Errors
/// [`VaultError::Tampered`] when they are not, or when the header is none.
pub fn prove_content(
    vault: &TenantVault,
    header: &[u8],
    stored: &[u8],
) -> Result<(KeyId, Vec<Apart<Content>>), VaultError> {
    let record = Record::decode(header).ok_or(NO_HEADER)?;
    with_place(&record.id, |place| {
        let key = vault.prove(place, Form::Document, stored)?;
        let content = vault.open(place, &Sealed::<Content>::from_stored(stored.to_vec()))?;
        Ok((key, content.apart))
    })
}

/// Proves that a part of a content is what was sealed under a subject's key for the entry with this stored header.
///
/// # Errors
/// [`VaultError::Tampered`] when it is not, or when the header is none.
pub fn prove_apart(header: &[u8], part: &Apart<Content>, key: &SubjectKey) -> Result<(), VaultError> {
    let record = Record::decode(header).ok_or(NO_HEADER)?;
    with_place(&record.id, |place| key.open(place, part).map(drop))
}

const NO_HEADER: VaultError = VaultError::Tampered { table: "audit_entry", column: "header", why: Tampering::Format };
