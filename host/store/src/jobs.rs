//! Work that one node does at a time, whichever it is: a lease by the clock of the database, so that it goes on elsewhere when
//! its node is gone, and a fence, so that a node that only slept writes nothing after another took over.

use std::time::Duration;

use crate::column::unsigned;
use crate::db::{Dialect, query, query_as, query_scalar};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "job";
/// The clock of the database, in milliseconds since 1970.
const SQLITE_NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";
const POSTGRES_NOW: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint";

/// A job that this node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLease {
    /// Which.
    pub name: &'static str,
    /// How often it was taken, this time included: the fence.
    pub fence: u64,
    /// How it stood.
    pub state: JobState,
    lasts_ms: i64,
}

/// How a job stands. Times are in milliseconds since 1970, 0 for never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobState {
    /// When it last looked at the clock.
    pub looked_ms: i64,
    /// Since when the clock went its way.
    pub steady_ms: i64,
    /// When it last came to its end.
    pub ran_ms: i64,
}

impl Store {
    /// What time it is for the database, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn database_now_ms(&self) -> Result<i64, StoreError> {
        let now = query_scalar(self.reader().dialect().pick(SQLITE_NOW, POSTGRES_NOW));
        now.fetch_one(self.reader()).await.map_err(|error| StoreError::of(WHAT, &error))
    }

    /// Takes a job for so long; `None` while another node has it. What a process of this node had before it ended is taken over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn job_claim(&self, name: &'static str, lasts: Duration) -> Result<Option<JobLease>, StoreError> {
        let mut tx = self.begin().await?;
        let claimed = tx.job_claim(name, lasts, self.node()).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    /// Lets go of a job, so that another node may take it at once.
    ///
    /// # Errors
    /// As [`WriteTx::job_hold`].
    pub async fn job_let_go(&self, lease: &JobLease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.job_put(lease, lease.state, true).await?;
        tx.commit().await
    }

    /// How a job stands; `None` when it was never taken.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn job(&self, name: &str) -> Result<Option<JobState>, StoreError> {
        let found = query_as("SELECT looked_ms, steady_ms, ran_ms FROM job WHERE tenant = '' AND name = $1").bind(name);
        let found: Option<(i64, i64, i64)> =
            found.fetch_optional(self.reader()).await.map_err(|error| StoreError::of(WHAT, &error))?;
        Ok(found.map(|(looked_ms, steady_ms, ran_ms)| JobState { looked_ms, steady_ms, ran_ms }))
    }
}

impl WriteTx<'_> {
    async fn job_claim(
        &mut self,
        name: &'static str,
        lasts: Duration,
        node: &str,
    ) -> Result<Option<JobLease>, StoreError> {
        let make = query(
            "INSERT INTO job (tenant, name, holder, lease_ms, fence, looked_ms, steady_ms, ran_ms) \
             VALUES ('', $1, '', 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        );
        self.run(WHAT, make.bind(name)).await?;
        let now = self.database_now().await?;
        // A node that is taking it at this moment is not waited for.
        let free = match self.dialect() {
            Dialect::Sqlite => {
                "SELECT fence, looked_ms, steady_ms, ran_ms FROM job \
                 WHERE tenant = '' AND name = $1 AND (lease_ms <= $2 OR holder = $3)"
            }
            Dialect::Postgres => {
                "SELECT fence, looked_ms, steady_ms, ran_ms FROM job \
                 WHERE tenant = '' AND name = $1 AND (lease_ms <= $2 OR holder = $3) FOR UPDATE SKIP LOCKED"
            }
        };
        let free = query_as(free).bind(name).bind(now).bind(node);
        let free = free.fetch_optional(self.connection().await?).await;
        let free: Option<(i64, i64, i64, i64)> = self.noting(free.map_err(|error| StoreError::of(WHAT, &error)))?;
        let Some((fence, looked_ms, steady_ms, ran_ms)) = free else { return Ok(None) };
        let lasts_ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX / 2);
        let take = query(
            "UPDATE job SET holder = $1, lease_ms = $2, fence = fence + 1 WHERE tenant = '' AND name = $3 AND fence = $4",
        );
        self.run_one(WHAT, take.bind(node).bind(now.saturating_add(lasts_ms)).bind(name).bind(fence)).await?;
        let state = JobState { looked_ms, steady_ms, ran_ms };
        Ok(Some(JobLease { name, fence: unsigned(WHAT, fence)? + 1, state, lasts_ms }))
    }

    /// Makes sure that the job is still this node's, and for as long again: to be called in every transaction that does some of it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another node has it; [`StoreError::Unavailable`].
    pub async fn job_hold(&mut self, lease: &JobLease) -> Result<(), StoreError> {
        let until = self.database_now().await?.saturating_add(lease.lasts_ms);
        let hold = query("UPDATE job SET lease_ms = $1 WHERE tenant = '' AND name = $2 AND fence = $3");
        self.run_one(WHAT, hold.bind(until).bind(lease.name).bind(crate::column::number(lease.fence))).await
    }

    /// Writes how the job stands, and lets go of it if that is asked.
    ///
    /// # Errors
    /// As [`WriteTx::job_hold`].
    pub async fn job_put(&mut self, lease: &JobLease, state: JobState, let_go: bool) -> Result<(), StoreError> {
        self.job_hold(lease).await?;
        let put = query(
            "UPDATE job SET looked_ms = $1, steady_ms = $2, ran_ms = $3, lease_ms = CASE WHEN $4 = 1 THEN 0 ELSE lease_ms END \
             WHERE tenant = '' AND name = $5 AND fence = $6",
        );
        let put = put.bind(state.looked_ms).bind(state.steady_ms).bind(state.ran_ms).bind(i64::from(let_go));
        self.run_one(WHAT, put.bind(lease.name).bind(crate::column::number(lease.fence))).await
    }

    async fn database_now(&mut self) -> Result<i64, StoreError> {
        let now = query_scalar(self.dialect().pick(SQLITE_NOW, POSTGRES_NOW));
        let now = now.fetch_one(self.connection().await?).await;
        self.noting(now.map_err(|error| StoreError::of(WHAT, &error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    const NAME: &str = "sweep";
    const LONG: Duration = Duration::from_mins(10);

    async fn one_has_it_and_who_had_it_before_writes_nothing() {
        let (_dir, store) = fixture::store().await;
        assert_eq!(store.job(NAME).await.unwrap(), None);
        let mut tx = store.begin().await.unwrap();
        let first = tx.job_claim(NAME, LONG, "one").await.unwrap().unwrap();
        assert_eq!(tx.job_claim(NAME, LONG, "other").await.unwrap(), None);
        tx.job_hold(&first).await.unwrap();
        // The same node after a crash, and another once the lease is over.
        let again = tx.job_claim(NAME, Duration::ZERO, "one").await.unwrap().unwrap();
        assert_eq!((first.fence, again.fence), (1, 2));
        let other = tx.job_claim(NAME, LONG, "other").await.unwrap().unwrap();
        tx.savepoint().unwrap();
        assert!(matches!(tx.job_hold(&again).await, Err(StoreError::Conflict { .. })));
        tx.rollback_to().await.unwrap();
        let state = JobState { looked_ms: 1, steady_ms: 2, ran_ms: 3 };
        tx.job_put(&other, state, true).await.unwrap();
        assert_eq!(tx.job_claim(NAME, LONG, "one").await.unwrap().unwrap().state, state);
        tx.commit().await.unwrap();
        assert_eq!(store.job(NAME).await.unwrap(), Some(state));
        let away = store.database_now_ms().await.unwrap() - jiff::Timestamp::now().as_millisecond();
        assert!(away.abs() < 3_600_000);
    }

    crate::fixture::on_both_engines! {
        one_has_it_and_who_had_it_before_writes_nothing,
    }
}
