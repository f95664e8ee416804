//! Risky writes wait here for a person. What is shown is what was validated and what later runs: the preview and the
//! hash are the host's, made from the sealed canonical parameters.

use opsiq_audit::{AuditError, Draft, Kind, Op, OpError, field};
use opsiq_contract::{
    Argument, Digest, InstallationId, InvocationId, PluginRef, Principal, Role, confirmation_hash, render, visible,
};
use opsiq_store::{ConfirmationRow, WriteTx};
use opsiq_vault::{KeyId, SubjectKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use opsiq_store::ConfirmationState;

use crate::act::Person;
use crate::core::{Core, now_ms};
use crate::docs::{ConfirmationDoc, Kept, Request, Told};
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::replay::{KEPT_MS, Replay};
use crate::stages::Admitted;
use crate::state::TenantState;
use crate::subjects;

/// A confirmation, as a person must see it before deciding.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfirmationView {
    /// Its id, which is also the id of the invocation that asked for it and that runs it: one id in every log.
    pub id: String,
    /// Where it stands.
    #[serde(serialize_with = "as_word", deserialize_with = "of_word")]
    pub state: ConfirmationState,
    /// The installation's name.
    pub installation: String,
    /// The plugin version it will run.
    pub plugin: PluginRef,
    /// The plugin's title.
    pub connector: String,
    /// The action's name.
    pub action: String,
    /// The action's title.
    pub action_title: String,
    /// One sentence made by the host from the contract's template and the validated parameters.
    pub preview: String,
    /// Every argument; fields marked secret or pii are redacted, and what would hide is made visible.
    pub arguments: Vec<Argument>,
    /// The hash of all it is bound to; `None`, as preview and arguments are gone, once whom it was about is erased.
    pub hash: Option<Digest>,
    /// Who asked.
    pub requester: String,
    /// In which role.
    pub role: Role,
    /// When, in milliseconds since 1970.
    pub requested_ms: i64,
    /// Until when it can be approved, in milliseconds since 1970.
    pub expires_ms: i64,
    /// Who decided.
    pub decided_by: Option<String>,
    /// `ok` or the code it failed with, once it ran.
    pub outcome: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn as_word<S: Serializer>(state: &ConfirmationState, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(state.as_str())
}

fn of_word<'de, D: Deserializer<'de>>(from: D) -> Result<ConfirmationState, D::Error> {
    let word = String::deserialize(from)?;
    ConfirmationState::from_word(&word).ok_or_else(|| D::Error::custom("no state of a confirmation"))
}

/// A confirmation as stored, opened.
pub(crate) struct Waiting {
    row: ConfirmationRow<ConfirmationDoc>,
    doc: ConfirmationDoc,
    /// What is asked; `None` once whom it was about is erased.
    told: Option<Told>,
    /// The key of whom it is about.
    about: Option<SubjectKey>,
}

/// The end of a confirmation, ready to be written with the outcome.
pub(crate) struct Settled {
    row: ConfirmationRow<ConfirmationDoc>,
    from: ConfirmationState,
}

/// A confirmation was decided by somebody else first.
#[derive(Debug, thiserror::Error)]
#[error("the confirmation was decided meanwhile")]
pub(crate) struct Decided;

impl Settled {
    /// Moves the confirmation, unless it moved already, which undoes the whole commit.
    pub(crate) async fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), OpError> {
        let moved = tx.confirmation_update(&self.row, self.from, self.row.version - 1).await?;
        if moved { Ok(()) } else { Err(OpError::refused(Decided)) }
    }
}

impl Waiting {
    /// Where it stands.
    pub(crate) fn state(&self) -> ConfirmationState {
        self.row.state
    }

    /// Until when it can be approved, in milliseconds since 1970.
    pub(crate) fn expires_ms(&self) -> i64 {
        self.row.expires_ms
    }

    /// What would run.
    pub(crate) fn request(&self) -> &Request {
        &self.doc.request
    }

    /// What of it is about somebody.
    pub(crate) fn told(&self) -> Result<&Told, Refusal> {
        self.told.as_ref().ok_or_else(|| subjects::erased(Stage::Confirmation))
    }

    /// Whether it is, or was, about the subject of that key.
    pub(crate) fn is_about(&self, key: KeyId) -> bool {
        self.doc.request.told.about() == Some(key)
    }

    /// Who asked.
    pub(crate) fn requester(&self) -> &Principal {
        &self.doc.request.requester
    }

    /// Which installation would run it.
    pub(crate) fn installation(&self) -> &InstallationId {
        &self.row.installation
    }

    /// The invocation that asked for it and that runs it.
    pub(crate) fn invocation(&self) -> Result<InvocationId, Refusal> {
        self.row.id.parse().map_err(|_| errors::internal(Stage::Confirmation, "a confirmation's id is no invocation's"))
    }

    /// Notes who decided.
    pub(crate) fn decide(&mut self, by: String) {
        self.doc.decided_by = Some(by);
    }

    /// The confirmation as it is once `settled` is written.
    pub(crate) fn now(&self, settled: &Settled) -> Self {
        let (told, about) = (self.told.clone(), self.about.clone());
        Self { row: settled.row.clone(), doc: self.doc.clone(), told, about }
    }

    /// What a person is shown.
    pub(crate) fn view(&self) -> ConfirmationView {
        let Request { installation_name, plugin, connector, action, action_title, requester, role, .. } =
            &self.doc.request;
        let told = self.told.as_ref();
        ConfirmationView {
            id: self.row.id.clone(),
            state: self.row.state,
            installation: installation_name.clone(),
            plugin: plugin.clone(),
            connector: connector.clone(),
            action: action.clone(),
            action_title: action_title.clone(),
            preview: self.sentence().to_owned(),
            arguments: told.map(|told| told.shown.arguments.clone()).unwrap_or_default(),
            hash: told.map(|told| told.hash),
            requester: requester.to_string(),
            role: *role,
            requested_ms: self.row.created_ms,
            expires_ms: self.row.expires_ms,
            decided_by: self.doc.decided_by.clone(),
            outcome: self.doc.outcome.clone(),
        }
    }

    fn sentence(&self) -> &str {
        self.told.as_ref().map_or("[erased]", |told| &told.shown.sentence)
    }

    /// The row after it ran with this outcome.
    pub(crate) fn ended(mut self, tenant: &TenantState, outcome: String) -> Result<Settled, Refusal> {
        self.doc.outcome = Some(outcome);
        self.moved(tenant, ConfirmationState::Running, ConfirmationState::Done)
    }

    /// The row moved on from one state to another.
    pub(crate) fn moved(
        &self,
        tenant: &TenantState,
        from: ConfirmationState,
        to: ConfirmationState,
    ) -> Result<Settled, Refusal> {
        let version = self.row.version + 1;
        let sealed = tenant.vault.seal(&ConfirmationDoc::place(&[&self.row.id], version), &self.doc);
        let doc = sealed.map_err(|error| errors::vault(Stage::Confirmation, &error))?;
        Ok(Settled { row: ConfirmationRow { state: to, version, doc, ..self.row.clone() }, from })
    }

    /// An entry about it.
    pub(crate) fn entry(&self, draft: Draft, act: &str) -> Draft {
        let request = &self.doc.request;
        let draft = draft
            .about(self.about.clone())
            .field(field::INSTALLATION, request.installation_name.clone())
            .field(field::PLUGIN, request.plugin.to_string())
            .field(field::CONFIRMATION, self.row.id.clone())
            .field(field::DETAIL, format!("{act}: {}", self.sentence()));
        match &self.told {
            Some(told) => draft.field("hash", told.hash.to_string()),
            None => draft,
        }
    }
}

impl Core {
    /// Stage 7: puts a risky write before a person. The call's invocation id becomes the confirmation's.
    pub(crate) async fn ask_confirmation(
        &self,
        person: &Person,
        admitted: Admitted,
        replay: Option<Replay>,
        invocation: &InvocationId,
    ) -> Result<ConfirmationView, AuditError> {
        let Admitted { installed, authorized, params, about } = admitted;
        let (created_ms, tenant) = (now_ms(), &person.tenant);
        let expires_ms = created_ms + self.settings.confirmation_ms;
        let action = authorized.action();
        let told = Told {
            shown: render(action.preview.as_ref(), &action.title, &action.params, params.value()),
            hash: confirmation_hash(&authorized, &params, expires_ms),
            params: params.as_str().to_owned(),
        };
        let kept = match &about {
            Some(key) => Kept::Apart { apart: key.seal(&Told::place(&[invocation.as_str()]), &told)? },
            None => Kept::Here(told.clone()),
        };
        let request = Request {
            installation_name: authorized.installation_name().to_owned(),
            plugin: authorized.plugin().clone(),
            connector: visible(&installed.contract.plugin.title, 120).text,
            action: action.name.clone(),
            action_title: visible(&action.title, 120).text,
            told: kept,
            requester: person.actor.principal.clone(),
            scopes: person.actor.scopes.clone(),
            role: person.user.role,
            replay: replay.clone(),
        };
        let doc = ConfirmationDoc { request, decided_by: None, outcome: None };
        let sealed = tenant.vault.seal(&ConfirmationDoc::place(&[invocation.as_str()], 1), &doc)?;
        let row = ConfirmationRow {
            tenant: tenant.id.clone(),
            id: invocation.to_string(),
            installation: authorized.installation().clone(),
            state: ConfirmationState::Pending,
            created_ms,
            expires_ms,
            version: 1,
            doc: sealed,
        };
        let waiting = Waiting { row, doc, told: Some(told), about };
        let draft = waiting
            .entry(person.draft(Kind::Confirmation, &action.name), "asked")
            .invocation(invocation.clone())
            .field(field::OUTCOME, "pending")
            .field(field::PARAMS, action.params.redact(params.value()).to_string());
        let (row, whose, which) = (waiting.row.clone(), tenant.id.clone(), invocation.clone());
        let op = Op::new(move |tx| {
            Box::pin(async move {
                if let Some(replay) = replay {
                    replay.claim(tx, &whose, &which, created_ms, expires_ms + KEPT_MS).await?;
                }
                Ok(tx.confirmation_insert(&row).await?)
            })
        });
        self.journal.commit(&person.log(), vec![draft], op).await?;
        Ok(waiting.view())
    }

    /// A confirmation of a tenant.
    pub(crate) async fn confirmation(&self, tenant: &TenantState, id: &str) -> Result<Option<Waiting>, Refusal> {
        let found = self.store.confirmation::<ConfirmationDoc>(&tenant.id, id).await;
        let found = found.map_err(|error| errors::store(Stage::Confirmation, &error))?;
        match found {
            Some(row) => self.opened(tenant, row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The newest confirmations of a tenant, newest first.
    pub(crate) async fn confirmations(&self, tenant: &TenantState, most: u32) -> Result<Vec<Waiting>, Refusal> {
        let rows = self.store.confirmations::<ConfirmationDoc>(&tenant.id, most).await;
        let rows = rows.map_err(|error| errors::store(Stage::Confirmation, &error))?;
        self.all_opened(tenant, rows).await
    }

    /// Those that wait, newest first.
    pub(crate) async fn pending(&self, tenant: &TenantState) -> Result<Vec<Waiting>, Refusal> {
        let rows = self.store.confirmations_in::<ConfirmationDoc>(&tenant.id, ConfirmationState::Pending, u32::MAX);
        let rows = rows.await.map_err(|error| errors::store(Stage::Confirmation, &error))?;
        self.all_opened(tenant, rows).await
    }

    async fn all_opened(
        &self,
        tenant: &TenantState,
        rows: Vec<ConfirmationRow<ConfirmationDoc>>,
    ) -> Result<Vec<Waiting>, Refusal> {
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            all.push(self.opened(tenant, row).await?);
        }
        Ok(all)
    }

    async fn opened(&self, tenant: &TenantState, row: ConfirmationRow<ConfirmationDoc>) -> Result<Waiting, Refusal> {
        let failed = |error| errors::vault(Stage::Confirmation, &error);
        let doc = tenant.vault.open(&ConfirmationDoc::place(&[&row.id], row.version), &row.doc).map_err(failed)?;
        let (told, about) = match &doc.request.told {
            Kept::Here(told) => (Some(told.clone()), None),
            Kept::Apart { apart } => {
                let key = apart.key_id();
                let key = key.ok_or_else(|| errors::internal(Stage::Confirmation, "a confirmation names no key"))?;
                let about = tenant.subject_by_id(&self.store, key).await?;
                let told = about.as_ref().map(|key| key.open(&Told::place(&[&row.id]), apart));
                (told.transpose().map_err(failed)?, about)
            }
        };
        Ok(Waiting { row, doc, told, about })
    }
}
