//! How long audit entries are kept: twelve months, longer where the owner or the operator says so, and however long while a
//! legal hold is in force. What is past its term loses its content and keeps its place, so that order and proof stay.
//!
//! Owners decide for their tenant's log, the operator for the host's own and, beside the owners, for any tenant's. A hold of the
//! operator is lifted by the operator alone. While a tenant is held nobody of it is erased either, and the answer says so.

mod clock;
mod job;

use std::sync::Arc;

use jiff::Timestamp;
use opsiq_audit::{Draft, Kind, Log, Op, OpError, field};
use opsiq_contract::{Principal, Role, TenantId, visible};
use opsiq_store::{HoldRow, RetentionRow, StoreError};
use opsiq_vault::{Place, Sealed, TenantVault};
use serde::{Deserialize, Serialize};

pub(crate) use clock::{MARGIN_MS, STEADY_MS, goes_its_way};
pub use job::{Expired, RetentionRun};
pub(crate) use job::{JOB, watch};

use crate::act::{Person, operator_draft};
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::ending::day;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// Months that are kept at least, and unless somebody says otherwise.
pub(crate) const MONTHS: u32 = 12;
/// Months that can be asked for at most: a hundred years.
const MONTHS_MOST: u32 = 1200;
/// Characters of a reason, at most.
const REASON: usize = 1000;

/// Of a hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HoldDoc {
    /// Who placed it.
    by: String,
    /// Whether the operator did.
    operator: bool,
    reason: String,
}

impl HoldDoc {
    fn place<'a>(row: &'a [&'a str], created_ms: i64) -> Place<'a> {
        Place { table: "audit_hold", row, column: "doc", version: u64::try_from(created_ms).unwrap_or(0) }
    }
}

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// What it is called.
    pub id: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Who placed it.
    pub by: String,
    /// Whether the operator did, who alone lifts it then.
    pub operator: bool,
    /// Why.
    pub reason: String,
}

/// How long a log is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionView {
    /// `tenant/acme` or `host`.
    pub log: String,
    /// For so many months.
    pub months: u32,
    /// The first entry whose content is kept.
    pub content_from: u64,
    /// What keeps all of it longer.
    pub holds: Vec<HoldView>,
    /// When it was last seen to what is past its term, in milliseconds since 1970.
    pub last_run_ms: Option<i64>,
}

/// How long audit logs are kept. See [`Host::retention`](crate::Host::retention). `tenant` is for the operator to name one; without,
/// the operator means the host's own log.
#[derive(Clone)]
pub struct Retention {
    pub(crate) core: Arc<Core>,
}

/// Whose log, and who acts on it.
struct Scope {
    log: Log,
    vault: TenantVault,
    by: String,
    person: Option<Person>,
}

impl Scope {
    fn draft(&self, actor: &Actor, kind: Kind, act: &'static str) -> Draft {
        match &self.person {
            Some(person) => person.draft(kind, act),
            None => operator_draft(actor, kind, act),
        }
    }
}

impl Retention {
    /// How long the log is kept, and what holds it.
    ///
    /// # Errors
    /// Neither an owner nor the operator; no such tenant.
    pub async fn show(&self, actor: &Actor, tenant: Option<&TenantId>) -> Result<RetentionView, Refusal> {
        let scope = self.scope(actor, tenant).await?;
        self.acting(actor, &scope, "audit retention show", async { self.core.retention_view(&scope).await }).await
    }

    /// Keeps it for so many months from now on: twelve at least.
    ///
    /// # Errors
    /// As [`Retention::show`]; fewer than twelve.
    pub async fn set(&self, actor: &Actor, tenant: Option<&TenantId>, months: u32) -> Result<RetentionView, Refusal> {
        let act = "audit retention set";
        let scope = self.scope(actor, tenant).await?;
        let body = async {
            if !(MONTHS..=MONTHS_MOST).contains(&months) {
                return Err(Refusal::new(
                    Class::Invalid,
                    Stage::Admin,
                    "retention.months",
                    format!("audit entries are kept for {MONTHS} to {MONTHS_MOST} months, not {months}"),
                    format!("opsiq audit retention set {MONTHS}"),
                ));
            }
            let log = scope.log.column().to_owned();
            let op = Op::new(move |tx| {
                Box::pin(async move {
                    let none = RetentionRow { log: log.clone(), months, content_from: 0, until: 0 };
                    let mut row = tx.retention(&log).await?.unwrap_or(none);
                    if months > row.months {
                        // What is going has not gone: the longer term saves it.
                        row.until = row.content_from;
                    }
                    row.months = months;
                    Ok(tx.retention_put(&row).await?)
                })
            });
            self.commit(actor, &scope, act, format!("{months} months"), op).await?;
            self.core.retention_view(&scope).await
        };
        self.acting(actor, &scope, act, body).await
    }

    /// Places a legal hold: nothing of the log goes, and nobody of the tenant is erased, until it is lifted.
    ///
    /// # Errors
    /// As [`Retention::show`]; no reason.
    pub async fn place(&self, actor: &Actor, tenant: Option<&TenantId>, reason: &str) -> Result<HoldView, Refusal> {
        let act = "audit hold place";
        let scope = self.scope(actor, tenant).await?;
        let body = async {
            let reason = reason.trim();
            if reason.is_empty() || reason.chars().count() > REASON {
                return Err(Refusal::new(
                    Class::Invalid,
                    Stage::Admin,
                    "hold.reason",
                    format!("a hold has a reason of 1 to {REASON} characters"),
                    "say why: the case, and who asked for it",
                ));
            }
            let doc = HoldDoc {
                by: scope.by.clone(),
                operator: scope.person.is_none(),
                reason: visible(reason, REASON).text,
            };
            let (id, created_ms) = (uuid::Uuid::now_v7().to_string(), now_ms());
            let sealed = scope.vault.seal(&HoldDoc::place(&[&id], created_ms), &doc);
            let sealed = sealed.map_err(|error| errors::vault(Stage::Admin, &error))?;
            let row = HoldRow { log: scope.log.column().to_owned(), id: id.clone(), created_ms, doc: sealed };
            let op = Op::new(move |tx| {
                Box::pin(async move {
                    // What is going has not gone: the hold saves it.
                    if let Some(mut kept) = tx.retention(&row.log).await? {
                        kept.until = kept.content_from;
                        tx.retention_put(&kept).await?;
                    }
                    Ok(tx.hold_insert(&row).await?)
                })
            });
            self.commit(actor, &scope, act, format!("{id}: {}", doc.reason), op).await?;
            let HoldDoc { by, operator, reason } = doc;
            Ok(HoldView { id, since_ms: created_ms, by, operator, reason })
        };
        self.acting(actor, &scope, act, body).await
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// As [`Retention::show`]; no such hold; one of the operator's, for anybody else.
    pub async fn lift(&self, actor: &Actor, tenant: Option<&TenantId>, id: &str) -> Result<RetentionView, Refusal> {
        let act = "audit hold lift";
        let scope = self.scope(actor, tenant).await?;
        let body = async {
            let holds = self.core.holds(&scope.log, &scope.vault).await?;
            let Some(hold) = holds.into_iter().find(|hold| hold.id == id) else {
                let message = "there is no such hold";
                let fix = "opsiq audit retention show lists them";
                return Err(Refusal::new(Class::NotFound, Stage::Admin, "hold.unknown", message, fix));
            };
            if hold.operator && scope.person.is_some() {
                let message = format!("the operator placed this hold on {}", day(hold.since_ms));
                let fix = "ask the operator to lift it";
                return Err(Refusal::new(Class::Denied, Stage::Admin, "hold.not-yours", message, fix));
            }
            let (log, lifted) = (scope.log.column().to_owned(), hold.id.clone());
            let op = Op::new(move |tx| Box::pin(async move { Ok(tx.hold_remove(&log, &lifted).await?) }));
            let detail = format!("{}, placed {} by {}: {}", hold.id, day(hold.since_ms), hold.by, hold.reason);
            self.commit(actor, &scope, act, detail, op).await?;
            self.core.retention_view(&scope).await
        };
        self.acting(actor, &scope, act, body).await
    }

    /// Sees to what is past its term now, rather than within the hour. For the operator.
    ///
    /// # Errors
    /// Not the operator; another node is at it; a disk that does not serve.
    pub async fn run(&self, actor: &Actor) -> Result<RetentionRun, Refusal> {
        self.core.operate(actor, "audit retention run", "", Box::pin(self.core.expire_audit())).await
    }

    /// Whose log `actor` means.
    async fn scope(&self, actor: &Actor, tenant: Option<&TenantId>) -> Result<Scope, Refusal> {
        if actor.principal != Principal::Operator {
            let person = self.core.person(actor).await?;
            if tenant.is_some_and(|named| *named != person.tenant.id) {
                return Err(self.core.no_tenant(&person.tenant.id));
            }
            let (log, vault, by) = (person.log(), person.tenant.vault.clone(), actor.principal.to_string());
            return Ok(Scope { log, vault, by, person: Some(person) });
        }
        let by = actor.principal.to_string();
        match tenant {
            None => Ok(Scope { log: Log::Host, vault: self.core.vault.host(), by, person: None }),
            Some(id) => {
                let tenant = self.core.tenants.get(id).ok_or_else(|| self.core.no_tenant(id))?;
                Ok(Scope { log: Log::Tenant(id.clone()), vault: tenant.vault.clone(), by, person: None })
            }
        }
    }

    async fn acting<T>(
        &self,
        actor: &Actor,
        scope: &Scope,
        act: &'static str,
        body: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let about = scope.log.to_string();
        match &scope.person {
            Some(person) => self.core.act(person, &[Role::Owner], act, &about, Box::pin(body)).await,
            None => self.core.operate(actor, act, &about, Box::pin(body)).await,
        }
    }

    /// Commits a change with its entry in the log that it is about, and one in the host's when the operator acts on a tenant's.
    async fn commit(
        &self,
        actor: &Actor,
        scope: &Scope,
        act: &'static str,
        detail: String,
        op: Op<()>,
    ) -> Result<(), Refusal> {
        let draft = scope.draft(actor, Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, detail);
        let done = self.core.journal.commit(&scope.log, vec![draft.clone()], op).await;
        done.map_err(|error| errors::audit(Stage::Admin, &error))?;
        if scope.person.is_none() && scope.log != Log::Host {
            self.core.record(Log::Host, vec![draft.field("log", scope.log.to_string())]).await?;
        }
        Ok(())
    }
}

impl Core {
    async fn retention_view(&self, scope: &Scope) -> Result<RetentionView, Refusal> {
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let row = self.store.retention(scope.log.column()).await.map_err(failed)?;
        let ran = self.store.job(JOB).await.map_err(failed)?;
        Ok(RetentionView {
            log: scope.log.to_string(),
            months: row.as_ref().map_or(MONTHS, |row| row.months),
            content_from: row.map_or(0, |row| row.content_from),
            holds: self.holds(&scope.log, &scope.vault).await?,
            last_run_ms: ran.map(|job| job.ran_ms).filter(|ran| *ran > 0),
        })
    }

    /// What holds a log, oldest first.
    async fn holds(&self, log: &Log, vault: &TenantVault) -> Result<Vec<HoldView>, Refusal> {
        let rows = self.store.holds::<HoldDoc>(log.column()).await;
        let rows = rows.map_err(|error| errors::store(Stage::Admin, &error))?;
        let view = |row: HoldRow<HoldDoc>| {
            let HoldDoc { by, operator, reason } = open(vault, &row)?;
            Ok(HoldView { id: row.id, since_ms: row.created_ms, by, operator, reason })
        };
        rows.into_iter().map(view).collect()
    }

    /// Refuses to erase while a legal hold is in force.
    pub(crate) async fn not_held(&self, tenant: &TenantId, what: &str) -> Result<(), Refusal> {
        let log = Log::Tenant(tenant.clone());
        let refused = |since: String| {
            Refusal::new(
                Class::Conflict,
                Stage::Admin,
                "hold.placed",
                format!("a legal hold keeps all of {log}{since}, so {what}"),
                "when the hold may end, whoever placed it lifts it: opsiq audit hold lift ID; then repeat the command",
            )
        };
        let Some(state) = self.tenants.get(tenant) else {
            let is_held = self.store.is_held(tenant).await.map_err(|error| errors::store(Stage::Admin, &error))?;
            return if is_held { Err(refused(String::new())) } else { Ok(()) };
        };
        match self.holds(&log, &state.vault).await?.first() {
            None => Ok(()),
            Some(hold) => {
                Err(refused(format!(" since {}, placed by {}: {}", day(hold.since_ms), hold.by, hold.reason)))
            }
        }
    }
}

fn open(vault: &TenantVault, row: &HoldRow<HoldDoc>) -> Result<HoldDoc, Refusal> {
    let sealed: &Sealed<HoldDoc> = &row.doc;
    let doc = vault.open(&HoldDoc::place(&[&row.id], row.created_ms), sealed);
    doc.map_err(|error| errors::vault(Stage::Admin, &error))
}

/// The moment so many months before another, and a margin more.
pub(crate) fn term(now_ms: i64, months: u32) -> Option<i64> {
    let now = Timestamp::from_millisecond(now_ms.checked_sub(MARGIN_MS)?).ok()?;
    let then =
        now.to_zoned_datetime(jiff::tz::TimeZone::UTC).checked_sub(jiff::Span::new().months(i64::from(months))).ok()?;
    Some(then.timestamp().as_millisecond())
}

/// Ends an op that finds that it may not go on.
pub(crate) fn stopped() -> OpError {
    OpError::refused(Refusal::new(
        Class::Conflict,
        Stage::Admin,
        "retention.changed",
        "what is kept was changed meanwhile",
        "nothing: it is looked at again within the hour",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_whole_months_and_a_week() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(term(at("2026-12-08T10:00:00Z"), 12), Some(at("2025-12-01T10:00:00Z")));
        assert_eq!(term(at("2028-03-07T00:00:00Z"), 12), Some(at("2027-02-28T00:00:00Z")), "of a leap day");
        assert_eq!(term(at("2026-12-08T10:00:00Z"), 36), Some(at("2023-12-01T10:00:00Z")));
    }
}
