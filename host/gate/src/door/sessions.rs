//! A person's own sessions and devices: to see, and to end. A custom role takes none of this away.

use opsiq_audit::{Kind, Op, field};
use opsiq_contract::visible;
use opsiq_shield::ClientIp;
use serde::Serialize;

use super::Door;
use super::session::{SessionView, opened, view};
use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::{DeviceDoc, SessionDoc};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;

/// A device from which somebody signed in before.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceView {
    /// Its id.
    pub id: String,
    /// What it says it is.
    pub device: String,
    /// From where it was first signed in.
    pub address: Option<ClientIp>,
    /// When, in milliseconds since 1970.
    pub created_ms: i64,
}

impl Door {
    /// The acting user's sessions, oldest first.
    ///
    /// # Errors
    /// No such user; a row that does not open.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<SessionView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core.sessions_shown(&person.tenant, &person.user.id, own(&person)).await
    }

    /// Ends one of the acting user's sessions, also the one that asks.
    ///
    /// # Errors
    /// No such session of theirs.
    pub async fn end_session(&self, actor: &Actor, id: &str) -> Result<(), Refusal> {
        let person = self.core.person(actor).await?;
        let id = id.to_owned();
        let detail = format!("session {}", visible(&id, 64).text);
        let (whose, user) = (person.tenant.id.clone(), person.user.id.clone());
        let op = Op::new(move |tx| Box::pin(async move { Ok(tx.session_end(&whose, &user, &id).await?) }));
        self.ended(&person, "session end", detail, op).await
    }

    /// Ends all of the acting user's sessions but the one that asks. How many there were.
    ///
    /// # Errors
    /// A disk that does not serve.
    pub async fn end_other_sessions(&self, actor: &Actor) -> Result<u64, Refusal> {
        let person = self.core.person(actor).await?;
        let (whose, user, except) = (person.tenant.id.clone(), person.user.id.clone(), own(&person).map(str::to_owned));
        let op =
            Op::new(move |tx| Box::pin(async move { Ok(tx.sessions_end_of(&whose, &user, except.as_deref()).await?) }));
        self.ended(&person, "session end", "all others".to_owned(), op).await
    }

    /// The devices that are known to be the acting user's, oldest first.
    ///
    /// # Errors
    /// No such user; a row that does not open.
    pub async fn devices(&self, actor: &Actor) -> Result<Vec<DeviceView>, Refusal> {
        let person = self.core.person(actor).await?;
        let tenant = &person.tenant;
        let rows = self.core.store.devices_of::<DeviceDoc>(&tenant.id, &person.user.id).await;
        let rows = rows.map_err(|error| errors::store(Stage::Admin, &error))?;
        rows.into_iter()
            .map(|row| {
                let doc = tenant.vault.open(&DeviceDoc::place(&[&row.id], row.created_ms), &row.doc);
                let doc = doc.map_err(|error| errors::vault(Stage::Admin, &error))?;
                let DeviceDoc { device, address } = doc;
                Ok(DeviceView { id: row.id, device, address, created_ms: row.created_ms })
            })
            .collect()
    }

    /// Forgets one of the acting user's devices, or all.
    ///
    /// # Errors
    /// No such device of theirs.
    pub async fn forget_devices(&self, actor: &Actor, id: Option<&str>) -> Result<u64, Refusal> {
        let person = self.core.person(actor).await?;
        let id = id.map(str::to_owned);
        let detail = id.as_deref().map_or_else(|| "all".to_owned(), |id| format!("device {}", visible(id, 64).text));
        let (whose, user) = (person.tenant.id.clone(), person.user.id.clone());
        let op = Op::new(move |tx| {
            Box::pin(
                async move { Ok(tx.devices_forget(&whose, &user, id.as_deref().filter(|id| !id.is_empty())).await?) },
            )
        });
        self.ended(&person, "device forget", detail, op).await
    }

    async fn ended<T: Send + 'static>(
        &self,
        person: &Person,
        act: &'static str,
        detail: String,
        op: Op<T>,
    ) -> Result<T, Refusal> {
        let draft = person.draft(Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, detail);
        let done = self.core.change_anyway(&person.tenant, vec![draft], op).await;
        match done {
            Err(refusal) if refusal.class == Class::Conflict => {
                let refusal = unknown();
                self.core.record_refusal(person.log(), person.draft(Kind::Refused, act), &refusal).await?;
                Err(refusal)
            }
            done => done,
        }
    }
}

/// The id of the session that asks.
fn own(person: &Person) -> Option<&str> {
    person.session.as_ref().map(|session| session.id.as_str())
}

/// There is no such session of that user.
pub(crate) fn unknown() -> Refusal {
    Refusal::new(
        Class::NotFound,
        Stage::Admin,
        "session.unknown",
        "there is no such session",
        "see the list: opsiq user sessions",
    )
}

impl Core {
    /// The sessions of a user that are not over, oldest first.
    pub(crate) async fn sessions_shown(
        &self,
        tenant: &TenantState,
        user: &str,
        asks: Option<&str>,
    ) -> Result<Vec<SessionView>, Refusal> {
        let rows = self.store.sessions_of::<SessionDoc>(&tenant.id, user).await;
        let rows = rows.map_err(|error| errors::store(Stage::Admin, &error))?;
        let now = now_ms();
        rows.iter()
            .filter(|row| now < row.expires_ms)
            .map(|row| Ok(view(&tenant.id, row, &opened(tenant, row)?, asks == Some(row.id.as_str()))))
            .collect()
    }
}
