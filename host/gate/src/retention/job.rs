//! Taking away what is past its term: once an hour, by one node at a time. Of idempotency keys whose day is over nothing stays,
//! nor is it told; of the log, content goes.
//!
//! First an entry of the log says which entries are about to lose their content, and the plan is written with it. Then content
//! goes, a few hundred entries a transaction, each of which holds that the job is still this node's, that no hold was placed and
//! that nobody changed the plan; with the last of them goes an entry that it is done. Stopped anywhere, whoever is next goes on
//! with the plan. It only ever takes a beginning of the log, since times in it never go back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsiq_audit::{AuditError, Draft, Kind, Log, Op, field};
use opsiq_store::{JobLease, JobState, RetentionRow, StoreError};
use serde::{Deserialize, Serialize};

use super::clock::look;
use super::{MONTHS, stopped, term};
use crate::core::{Core, now_ms};
use crate::ending::day;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// What the job is called.
pub(crate) const JOB: &str = "audit-retention";
/// Who acts, as it is recorded.
const ACTOR: &str = "host";
const ACT: &str = "audit retention";
/// How often it is time.
const EVERY: Duration = Duration::from_hours(1);
/// How often it is looked whether it is time, and what was erased on other nodes.
const LOOK: Duration = Duration::from_secs(20);
/// How long a node has the job without a sign of life.
const LEASE: Duration = Duration::from_mins(1);
/// Entries of one transaction.
const STEP: u64 = 256;
/// Idempotency keys of one transaction.
const KEYS: u32 = 1024;

/// What was taken away of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// `tenant/acme` or `host`.
    pub log: String,
    /// Entries whose content went.
    pub entries: u64,
    /// The first entry whose content is kept.
    pub content_from: u64,
    /// Whether a legal hold keeps all of it.
    pub held: bool,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRun {
    /// Whether the clock has gone its way for long enough; else nothing went.
    pub clock_trusted: bool,
    /// Since when it goes its way, in milliseconds since 1970.
    pub clock_steady_since_ms: i64,
    /// The logs of which something went, or that are held.
    pub logs: Vec<Expired>,
}

/// Runs it for as long as the host is open.
pub(crate) fn watch(core: &Arc<Core>) {
    let core = Arc::downgrade(core);
    tokio::spawn(async move {
        let mut ran: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(core) = core.upgrade() else { return };
            if let Err(refusal) = core.tend_epochs().await {
                tracing::error!(code = %refusal.code, why = refusal.message, "keys of backups are not destroyed when they should be");
            }
            if ran.is_some_and(|ran| ran.elapsed() < EVERY) {
                continue;
            }
            ran = Some(Instant::now());
            match core.expire_audit().await {
                Ok(_) => {}
                Err(refusal) if refusal.code == "job.taken" => {}
                Err(refusal) => {
                    tracing::warn!(code = %refusal.code, why = refusal.message, "audit entries past their term were not seen to");
                }
            }
        }
    });
}

impl Core {
    /// One run.
    pub(crate) async fn expire_audit(&self) -> Result<RetentionRun, Refusal> {
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let _turn = self.expiring.try_lock().map_err(|_| taken())?;
        let lease = self.store.job_claim(JOB, LEASE).await.map_err(failed)?.ok_or_else(taken)?;
        let database_ms = self.store.database_now_ms().await.map_err(failed)?;
        let looked = look(&lease.state, now_ms(), database_ms);
        let state = JobState { looked_ms: looked.now_ms, steady_ms: looked.steady_ms, ..lease.state };
        self.put_job(&lease, state, false).await?;
        let mut run =
            RetentionRun { clock_trusted: looked.trusted, clock_steady_since_ms: looked.steady_ms, logs: Vec::new() };
        if looked.trusted {
            for log in self.store.audit_logs().await.map_err(failed)? {
                let Some(log) = Log::from_column(&log) else { continue };
                // What is not served is not written to either; of what is erased nothing can be read.
                let served = match &log {
                    Log::Host => true,
                    Log::Tenant(id) => self.tenants.get(id).is_some(),
                };
                if served && !self.rolled_back.contains_key(&log) {
                    run.logs.extend(self.expire_log(&lease, &log, looked.now_ms).await?);
                }
            }
            self.forget_keys(&lease, looked.now_ms).await?;
            if run.logs.iter().any(|log| log.entries > 0)
                && let Err(error) = self.store.leave_no_trace().await
            {
                tracing::warn!(%error, "content that went still lies in the write-ahead log until it is begun anew");
            }
        }
        let ran_ms = if looked.trusted { looked.now_ms } else { state.ran_ms };
        self.put_job(&lease, JobState { ran_ms, ..state }, true).await?;
        Ok(run)
    }

    async fn put_job(&self, lease: &JobLease, state: JobState, let_go: bool) -> Result<(), Refusal> {
        let lease = lease.clone();
        let op = Op::new(move |tx| Box::pin(async move { Ok(tx.job_put(&lease, state, let_go).await?) }));
        self.journal.commit(&Log::Host, Vec::new(), op).await.map_err(|error| ended(&error))
    }

    /// Forgets idempotency keys that hold nothing any more, and their answers.
    async fn forget_keys(&self, lease: &JobLease, now_ms: i64) -> Result<(), Refusal> {
        loop {
            let lease = lease.clone();
            let op = Op::new(move |tx| {
                Box::pin(async move {
                    tx.job_hold(&lease).await?;
                    Ok(tx.idempotency_purge(now_ms, KEYS).await?)
                })
            });
            let forgot = self.journal.commit(&Log::Host, Vec::new(), op).await.map_err(|error| ended(&error))?;
            if forgot < u64::from(KEYS) {
                return Ok(());
            }
        }
    }

    /// Sees to one log; `None` when there was nothing to do.
    async fn expire_log(&self, lease: &JobLease, log: &Log, now_ms: i64) -> Result<Option<Expired>, Refusal> {
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let column = log.column();
        let none = RetentionRow { log: column.to_owned(), months: MONTHS, content_from: 0, until: 0 };
        let mut row = self.store.retention(column).await.map_err(failed)?.unwrap_or(none);
        if !self.store.holds::<()>(column).await.map_err(failed)?.is_empty() {
            return Ok(Some(Expired { log: log.to_string(), entries: 0, content_from: row.content_from, held: true }));
        }
        let first = row.content_from;
        if row.until <= row.content_from {
            let Some(before_ms) = term(now_ms, row.months) else { return Ok(None) };
            let until = match self.store.audit_first_since(column, before_ms).await.map_err(failed)? {
                Some(until) => until,
                None => self.store.audit_last::<()>(column).await.map_err(failed)?.map_or(0, |last| last.seq + 1),
            };
            if until <= row.content_from {
                return Ok(None);
            }
            let planned = RetentionRow { until, ..row.clone() };
            let detail = format!("entries {first} to {} are from before {}", until - 1, day(before_ms));
            self.step(lease, log, &row, &planned, Some(("begun", detail))).await?;
            row = planned;
        }
        while row.content_from < row.until {
            let next = RetentionRow { content_from: row.until.min(row.content_from + STEP), ..row.clone() };
            let detail = format!("the content of entries before {} is gone; their hashes stay", next.until);
            let last = (next.content_from == next.until).then_some(("ok", detail));
            self.step(lease, log, &row, &next, last).await?;
            row = next;
        }
        Ok(Some(Expired {
            log: log.to_string(),
            entries: row.content_from - first,
            content_from: row.content_from,
            held: false,
        }))
    }

    /// Goes from one row to the next, with the content that lies between them, unless anything is not as it was.
    async fn step(
        &self,
        lease: &JobLease,
        log: &Log,
        from: &RetentionRow,
        to: &RetentionRow,
        said: Option<(&str, String)>,
    ) -> Result<(), Refusal> {
        let drafts = said.map(|(outcome, detail)| {
            Draft::new(Kind::Admin)
                .field(field::ACTOR, ACTOR)
                .field(field::ACTION, ACT)
                .field(field::OUTCOME, outcome)
                .field(field::DETAIL, detail)
        });
        let (lease, from, to) = (lease.clone(), from.clone(), to.clone());
        let op = Op::new(move |tx| {
            Box::pin(async move {
                tx.job_hold(&lease).await?;
                let now = tx.retention(&from.log).await?;
                // Of a log of which nothing was ever said the row is not there yet.
                let same = now.as_ref().map_or(from.content_from == 0 && from.until == 0, |now| *now == from);
                if !same || tx.is_held(&from.log).await? {
                    return Err(stopped());
                }
                if to.content_from > from.content_from {
                    tx.audit_expire(&from.log, from.content_from, to.content_from).await?;
                }
                if to != from {
                    tx.retention_put(&to).await?;
                }
                Ok(())
            })
        });
        self.journal.commit(log, drafts.into_iter().collect(), op).await.map_err(|error| ended(&error))
    }
}

fn ended(error: &AuditError) -> Refusal {
    errors::audit(Stage::Admin, error)
}

fn taken() -> Refusal {
    let message = "another node, or another run of this one, sees to what is past its term";
    Refusal::new(Class::Conflict, Stage::Admin, "job.taken", message, "nothing: it is done there")
}
