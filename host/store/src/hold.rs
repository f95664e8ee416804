//! Holding logs: what keeps nodes that share databases from doing at once what must come one after the other.
//!
//! A transaction that adds to logs holds them from before it looks where they end until it has committed, so two nodes never
//! decide on the same end. What a tenant's own acts change is recorded in its log, so they too come one after the other; acts
//! of the operator may touch any tenant, and hold everything. Were a hold to fail, the primary key of the entries would still
//! give a place to one of two.
//!
//! The same statement that asks where the logs end holds the row of this node, if it is still what it registered as: so whoever
//! gives a node up (see [`crate::nodes`]) waits for what it writes at that moment, and after that it writes nothing.

use crate::column::unsigned;
use crate::db::{Dialect, query_as};
use crate::{StoreError, WriteTx};

const WHAT: &str = "audit log";

/// Locks are the database's; what is hashed with a name keeps hosts apart that have schemas of one database.
const BEGIN_HOLDING_ALL: &str = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 1))";
/// Any number may hold some, while nobody holds all.
const BEGIN_HOLDING_SOME: &str = "BEGIN; SELECT pg_advisory_xact_lock_shared(hashtextextended(current_schema(), 1))";
/// In one order for all, so that no two wait for each other. Logs of one hash only wait for each other.
const HOLD: &str = "SELECT COUNT(pg_advisory_xact_lock(h)) FROM (SELECT DISTINCT \
                    hashtextextended(l.log, hashtextextended(current_schema(), 2)) AS h \
                    FROM UNNEST($1::text[]) AS l (log) ORDER BY h) AS logs";

/// Where a log that is held ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// The tenant, or the empty text for the host's own log.
    pub log: String,
    /// How many entries it has.
    pub size: u64,
    /// How many commits changed a row of its owner.
    pub changes: u64,
}

impl WriteTx<'_> {
    /// Holds these logs, or `everything`, until this transaction ends. To be called before anything is read on which the
    /// transaction decides. Answers where the logs end now; `None` when this process is the only one that writes, so that what it
    /// remembers is so.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when another node holds one of them for too long; [`StoreError::Fenced`]. Nothing was
    /// done: it may be tried again with a new transaction.
    pub async fn hold_logs(&mut self, logs: &[&str], everything: bool) -> Result<Option<Vec<LogEnd>>, StoreError> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(None);
        }
        self.begin_with(if everything { BEGIN_HOLDING_ALL } else { BEGIN_HOLDING_SOME }).await?;
        let names: Vec<String> = logs.iter().map(|log| (*log).to_owned()).collect();
        if !everything {
            let held = query_as::<(i64,)>(HOLD).bind(names.clone()).fetch_one(self.connection().await?).await;
            self.noting(held.map_err(|error| StoreError::of(WHAT, &error)))?;
        }
        // A statement of its own: it sees what was committed while the first one waited. What is held of this node's row lets it
        // renew its lease meanwhile, and nobody give it up.
        let ends = query_as::<(Option<String>, Option<i64>, Option<i64>)>(
            "WITH mine AS (SELECT set_config('opsiq.epoch', n.epoch::text, true) FROM node n \
             WHERE n.tenant = '' AND n.name = current_setting('opsiq.node') AND n.epoch = $2 FOR KEY SHARE) \
             SELECT l.log, COALESCE((SELECT e.seq + 1 FROM audit_entry e WHERE e.tenant = l.log \
             ORDER BY e.seq DESC LIMIT 1), 0), COALESCE((SELECT h.changes FROM row_head h WHERE h.tenant = l.log), 0) \
             FROM mine LEFT JOIN UNNEST($1::text[]) AS l (log) ON TRUE",
        )
        .bind(names)
        .bind(self.node_epoch().current())
        .fetch_all(self.connection().await?)
        .await;
        let ends = self.noting(ends.map_err(|error| StoreError::of(WHAT, &error)))?;
        if ends.is_empty() {
            self.node_epoch().fence();
            return self.noting(Err(StoreError::Fenced));
        }
        let of = |(log, size, changes): (Option<String>, Option<i64>, Option<i64>)| {
            let (Some(log), Some(size), Some(changes)) = (log, size, changes) else { return None };
            Some(unsigned(WHAT, size).and_then(|size| Ok(LogEnd { log, size, changes: unsigned(WHAT, changes)? })))
        };
        ends.into_iter().filter_map(of).collect::<Result<_, _>>().map(Some)
    }
}
