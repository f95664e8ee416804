//! Data subjects: whoever a tenant's calls are about, as their contracts say with `"x-opsiq": "subject"`.
//!
//! Each has a key of their own, made at the first call about them and durable before anything is sealed under it. What a
//! call records about its subject is under that key, so erasing the subject is destroying it: nothing about them can be
//! read any more, in no copy of the data, while the log keeps order and proof.
//!
//! Erasing goes in three steps, each durable before the next: a note among the guarded rows, with an entry in the log;
//! the key is destroyed; the note says so, with another entry. Opening the host goes on where a crash stopped, and destroys
//! a key that somebody put back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opsiq_audit::{AuditError, Draft, Journal, Kind, Log, Op, field};
use opsiq_contract::{Principal, Role, Schema, TenantId};
use opsiq_store::{ErasedSubjectRow, Store, StoreError, SubjectKeyRow};
use opsiq_vault::{KeyId, SubjectKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::act::Person;
use crate::actor::Actor;
use crate::approve::Confirmations;
use crate::core::{Core, TenantMap, now_ms};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;

/// Keys remembered of one tenant; beyond, all are forgotten and read again.
const KNOWN_MOST: usize = 4096;
/// Who may look subjects up and erase them.
const ROLES: [Role; 2] = [Role::Owner, Role::Admin];

/// What is known of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectView {
    /// A keyed hash of the subject, 16 hex digits: entries about them name it, and nobody can tell from it who it is.
    pub subject: String,
    /// The id of the key that what is kept about them is sealed under; `None` when nothing is.
    pub key: Option<String>,
    /// Since when there is one, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Earlier keys of theirs, which are destroyed.
    pub erased: Vec<ErasedKey>,
}

/// A key of a subject that is destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedKey {
    /// Its id.
    pub key: String,
    /// When it was destroyed, in milliseconds since 1970.
    pub erased_ms: i64,
}

/// The data subjects of the acting user's tenant. See [`Host::subjects`](crate::Host::subjects).
#[derive(Clone)]
pub struct Subjects {
    pub(crate) core: Arc<Core>,
}

/// Keys of a tenant's subjects as last read.
#[derive(Default)]
pub(crate) struct KnownSubjects {
    known: Mutex<Known>,
    /// Held while a key is made or destroyed, so that no subject has two.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    by_index: HashMap<[u8; 32], SubjectKey>,
    by_id: HashMap<KeyId, SubjectKey>,
}

impl KnownSubjects {
    fn of_index(&self, subject: &[u8; 32]) -> Option<SubjectKey> {
        self.lock().by_index.get(subject).cloned()
    }

    fn of_id(&self, id: KeyId) -> Option<SubjectKey> {
        self.lock().by_id.get(&id).cloned()
    }

    fn keep(&self, subject: [u8; 32], key: &SubjectKey) {
        let mut known = self.lock();
        if known.by_id.len() >= KNOWN_MOST {
            *known = Known::default();
        }
        known.by_index.insert(subject, key.clone());
        known.by_id.insert(key.id(), key.clone());
    }

    /// Reads every key again at its next use.
    pub(crate) fn forget_all(&self) {
        *self.lock() = Known::default();
    }

    fn forget(&self, subject: &[u8; 32], id: KeyId) {
        let mut known = self.lock();
        known.by_index.remove(subject);
        known.by_id.remove(&id);
    }

    /// What is remembered stays whole when a thread panics: a key that is missing is read again.
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TenantState {
    /// The key of the subject that `value` names by its schema, if it names one.
    pub(crate) async fn subject_of(
        &self,
        store: &Store,
        schema: &Schema,
        value: &Value,
    ) -> Result<Option<SubjectKey>, Refusal> {
        match schema.subject(value) {
            Some(subject) => self.subject_key(store, &subject).await.map(Some),
            None => Ok(None),
        }
    }

    /// The key of a subject, made and durable if there was none.
    pub(crate) async fn subject_key(&self, store: &Store, subject: &str) -> Result<SubjectKey, Refusal> {
        let index = self.vault.subject_index(subject);
        if let Some(key) = self.subjects.of_index(&index) {
            return Ok(key);
        }
        let _turn = self.subjects.making.lock().await;
        let row = store.subject_key_of(&self.id, &index).await.map_err(failed)?;
        let key = if let Some(row) = row {
            self.opened(&row)?.ok_or_else(|| missing(&self.id, row.id))?
        } else {
            let (key, wrapped) = self.vault.new_subject_key(&index);
            let row = SubjectKeyRow { id: key.id(), subject: index, created_ms: now_ms(), wrapped: Some(wrapped) };
            store.subject_key_insert(&self.id, &row).await.map_err(failed)?;
            key
        };
        self.subjects.keep(index, &key);
        Ok(key)
    }

    /// The subject's key called `id`; `None` once it is erased.
    ///
    /// # Errors
    /// A key that is missing although nobody erased it, or that does not open: tampering.
    pub(crate) async fn subject_by_id(&self, store: &Store, id: KeyId) -> Result<Option<SubjectKey>, Refusal> {
        if let Some(key) = self.subjects.of_id(id) {
            return Ok(Some(key));
        }
        let _turn = self.subjects.making.lock().await;
        if store.erased_subject(&self.id, id).await.map_err(failed)?.is_some() {
            return Ok(None);
        }
        let row = store.subject_key(&self.id, id).await.map_err(failed)?;
        let row = row.ok_or_else(|| missing(&self.id, id))?;
        let key = self.opened(&row)?;
        if let Some(key) = &key {
            self.subjects.keep(row.subject, key);
        }
        Ok(key)
    }

    /// The key of a row; `None` when it is destroyed.
    fn opened(&self, row: &SubjectKeyRow) -> Result<Option<SubjectKey>, Refusal> {
        let key = row.wrapped.as_ref().map(|wrapped| self.vault.subject_key(row.id, &row.subject, wrapped));
        key.transpose().map_err(|error| errors::vault(Stage::Resolve, &error))
    }
}

fn missing(tenant: &TenantId, id: KeyId) -> Refusal {
    Refusal::new(
        Class::Tampered,
        Stage::Resolve,
        "subject.key-missing",
        format!("the key {id} of a data subject of {tenant} is missing, and nobody erased it"),
        "restore keys.db from a backup; see opsiq keys verify",
    )
}

impl Subjects {
    /// Whether anything is kept about a subject, and since when. For owners and admins; on record.
    ///
    /// # Errors
    /// Not one of those; no such user.
    pub async fn show(&self, actor: &Actor, subject: &str) -> Result<SubjectView, Refusal> {
        let person = self.core.person(actor).await?;
        let (act, index) = ("subject show", person.tenant.vault.subject_index(subject));
        let about = named(&index);
        self.core
            .act(&person, &ROLES, act, &about, async {
                let draft =
                    person.draft(Kind::Read, act).field(field::OUTCOME, "ok").field(field::DETAIL, about.clone());
                self.core.record(person.log(), vec![draft]).await?;
                self.view(&person.tenant, &index).await
            })
            .await
    }

    /// Erases a subject: destroys their key, so that nothing about them can be read, in no copy. What waits for a person
    /// about them can never run. Repeated, it goes on where it was stopped, or answers what is erased already. For
    /// owners and admins.
    ///
    /// # Errors
    /// Not one of those; a subject about whom nothing was ever kept.
    pub async fn erase(&self, actor: &Actor, subject: &str) -> Result<SubjectView, Refusal> {
        let person = self.core.person(actor).await?;
        let index = person.tenant.vault.subject_index(subject);
        let body = self.erase_now(&person, &index);
        self.core.act(&person, &ROLES, "subject erase", &named(&index), Box::pin(body)).await
    }

    async fn erase_now(&self, person: &Person, index: &[u8; 32]) -> Result<SubjectView, Refusal> {
        let (core, tenant) = (&self.core, &person.tenant);
        let turn = tenant.subjects.making.lock().await;
        let row = core.store.subject_key_of(&tenant.id, index).await.map_err(failed)?;
        let begun = core.store.erasures_of(&tenant.id, index).await.map_err(failed)?;
        let open = begun.iter().find(|erasure| erasure.done_ms.is_none()).cloned();
        let erasure = match (open, row) {
            (Some(open), _) => open,
            (None, Some(row)) => {
                core.not_held(&tenant.id, "nobody of it is erased").await?;
                let erasure = ErasedSubjectRow {
                    tenant: tenant.id.clone(),
                    key: row.id,
                    subject: *index,
                    begun_ms: now_ms(),
                    done_ms: None,
                };
                let draft = person.draft(Kind::Admin, "subject erase");
                begin(&core.journal, draft, &erasure).await?;
                erasure
            }
            (None, None) if begun.is_empty() => return Err(unknown()),
            (None, None) => return self.view(tenant, index).await,
        };
        tenant.subjects.forget(index, erasure.key);
        core.store.subject_key_destroy(&tenant.id, erasure.key).await.map_err(failed)?;
        core.tend_epochs().await?;
        done(&core.journal, person.draft(Kind::Admin, "subject erase"), &erasure).await?;
        drop(turn);
        Confirmations { core: core.clone() }.void_about(tenant, erasure.key).await?;
        self.view(tenant, index).await
    }

    async fn view(&self, tenant: &TenantState, index: &[u8; 32]) -> Result<SubjectView, Refusal> {
        let store = &self.core.store;
        let row = store.subject_key_of(&tenant.id, index).await.map_err(failed)?;
        let erased = store.erasures_of(&tenant.id, index).await.map_err(failed)?;
        let erased = erased.into_iter().map(|erasure| ErasedKey {
            key: erasure.key.to_string(),
            erased_ms: erasure.done_ms.unwrap_or(erasure.begun_ms),
        });
        Ok(SubjectView {
            subject: short(index),
            key: row.as_ref().map(|row| row.id.to_string()),
            since_ms: row.map(|row| row.created_ms),
            erased: erased.collect(),
        })
    }
}

/// The first step.
async fn begin(journal: &Journal, draft: Draft, erasure: &ErasedSubjectRow) -> Result<(), Refusal> {
    let said = format!("{}: destroying key {}", named(&erasure.subject), erasure.key);
    let draft = draft.field(field::OUTCOME, "begun").field(field::DETAIL, said);
    let row = erasure.clone();
    let op = Op::new(move |tx| Box::pin(async move { Ok(tx.erasure_begin(&row).await?) }));
    commit(journal, &erasure.tenant, draft, op).await
}

/// The last step: the note says that the key is gone.
async fn done(journal: &Journal, draft: Draft, erasure: &ErasedSubjectRow) -> Result<(), Refusal> {
    let said = format!(
        "{}: key {} is destroyed, so nothing kept about them can be read, in no copy",
        named(&erasure.subject),
        erasure.key
    );
    let draft = draft.field(field::OUTCOME, "ok").field(field::DETAIL, said);
    let (tenant, key) = (erasure.tenant.clone(), erasure.key);
    let op = Op::new(move |tx| Box::pin(async move { Ok(tx.erasure_done(&tenant, key, now_ms()).await?) }));
    commit(journal, &erasure.tenant, draft, op).await
}

async fn commit(journal: &Journal, tenant: &TenantId, draft: Draft, op: Op<()>) -> Result<(), Refusal> {
    let log = Log::Tenant(tenant.clone());
    journal.commit(&log, vec![draft], op).await.map_err(|error: AuditError| errors::audit(Stage::Admin, &error))
}

/// At start: destroys every key whose erasure began, also one that was put back, and records those erasures that a crash
/// stopped. What cannot be recorded now is at the next start; the keys are gone either way.
pub(crate) async fn go_on(store: &Store, journal: &Journal, tenants: &TenantMap) -> Result<(), Refusal> {
    for erasure in store.all_erasures().await.map_err(failed)? {
        let Some(tenant) = tenants.get(&erasure.tenant) else { continue };
        let row = store.subject_key(&tenant.id, erasure.key).await.map_err(failed)?;
        if row.is_some_and(|row| row.wrapped.is_some()) {
            store.subject_key_destroy(&tenant.id, erasure.key).await.map_err(failed)?;
        }
        if erasure.done_ms.is_none() {
            let draft = Draft::new(Kind::Admin)
                .field(field::ACTOR, Principal::Operator.to_string())
                .field(field::ACTION, "subject erase");
            if let Err(refusal) = done(journal, draft, &erasure).await {
                tracing::warn!(tenant = %tenant.id, why = refusal.message, "the end of an erasure is not recorded yet");
            }
        }
    }
    Ok(())
}

/// The refusal of what is asked about an erased subject.
pub(crate) fn erased(stage: Stage) -> Refusal {
    Refusal::new(
        Class::NotFound,
        stage,
        "subject.erased",
        "whom this was about is erased, so what was kept of it cannot be read",
        "call the action again with a new idempotency key if it is still wanted",
    )
}

fn unknown() -> Refusal {
    Refusal::new(
        Class::NotFound,
        Stage::Admin,
        "subject.unknown",
        "nothing was ever kept about this subject under a key of their own",
        "spell the subject as calls do: the value of the field that the action's contract marks as subject",
    )
}

fn named(index: &[u8; 32]) -> String {
    format!("subject {}", short(index))
}

fn short(index: &[u8; 32]) -> String {
    hex::encode(&index[..8])
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn failed(error: StoreError) -> Refusal {
    errors::store(Stage::Resolve, &error)
}
