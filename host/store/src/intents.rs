//! Intents without an outcome: what was running when the host stopped.

use opsiq_contract::InvocationId;

use crate::column::{id, number, unsigned};
use crate::db::{Kind, query, query_as};
use crate::many::{LazyMany, Many};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "open intent";

/// An intent whose outcome is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntentRow {
    /// The log it is in: a tenant, or the empty text for the host's own.
    pub log: String,
    /// The run.
    pub invocation: InvocationId,
    /// The number of the intent's entry.
    pub seq: u64,
}

pub(crate) type Columns = (String, String, i64);

pub(crate) fn of((log, invocation, seq): Columns) -> Result<OpenIntentRow, StoreError> {
    Ok(OpenIntentRow { log, invocation: id(WHAT, &invocation)?, seq: unsigned(WHAT, seq)? })
}

impl Store {
    /// All open intents, by log and number.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_intents(&self) -> Result<Vec<OpenIntentRow>, StoreError> {
        let query = query_as("SELECT tenant, invocation, seq FROM open_intent ORDER BY tenant, seq");
        let rows = query.fetch_all(self.reader()).await.map_err(|error| StoreError::of(WHAT, &error))?;
        rows.into_iter().map(of).collect()
    }

    /// Those of them that a process with this data directory left behind, where nodes share the databases; else all. Not those
    /// written since this node registered last.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn own_open_intents(&self) -> Result<Vec<OpenIntentRow>, StoreError> {
        if !self.is_shared() {
            return self.open_intents().await;
        }
        let query = query_as(
            "SELECT tenant, invocation, seq FROM open_intent WHERE node = $1 \
             AND (epoch IS NULL OR epoch < $2) ORDER BY tenant, seq",
        );
        let rows = query
            .bind(self.node())
            .bind(self.node_epoch())
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?;
        rows.into_iter().map(of).collect()
    }

    /// Whether an intent is noted as open.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_open_intent(&self, log: &str, invocation: &InvocationId) -> Result<bool, StoreError> {
        let query = query_as::<(i64,)>("SELECT seq FROM open_intent WHERE tenant = $1 AND invocation = $2");
        let found = query.bind(log).bind(invocation.as_ref()).fetch_optional(self.reader()).await;
        found.map(|row| row.is_some()).map_err(|error| StoreError::of(WHAT, &error))
    }
}

impl WriteTx<'_> {
    /// Notes intents as open.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one is noted already; [`StoreError::Unavailable`].
    pub async fn open_intents_insert(&mut self, rows: &[OpenIntentRow]) -> Result<(), StoreError> {
        static INSERT: LazyMany = LazyMany::new(|| {
            let insert = "INSERT INTO open_intent (tenant, invocation, seq) SELECT * FROM (";
            Many::new(insert, &[Kind::Text, Kind::Text, Kind::Number], ") AS intents WHERE column3 IS NOT NULL")
        });
        self.run_many(WHAT, &INSERT, rows.iter(), |row, values| {
            values.add(&row.log)?;
            values.add(row.invocation.as_ref())?;
            values.add(number(row.seq))
        })
        .await
        .map(drop)
    }

    /// Forgets open intents, when their outcomes are written in the same transaction: pairs of log and run. How many of them
    /// were noted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_intents_remove(&mut self, list: &[(&str, &InvocationId)]) -> Result<u64, StoreError> {
        static REMOVE: LazyMany = LazyMany::new(|| {
            let remove = "DELETE FROM open_intent WHERE (tenant, invocation) IN (";
            Many::new(remove, &[Kind::Text, Kind::Text], ")")
        });
        self.run_many(WHAT, &REMOVE, list.iter(), |(log, invocation), values| {
            values.add(*log)?;
            values.add(invocation.as_ref())
        })
        .await
    }

    /// Forgets an open intent, when its outcome is written in the same transaction; `false` when it was not noted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_intent_remove(&mut self, log: &str, invocation: &InvocationId) -> Result<bool, StoreError> {
        let query =
            query("DELETE FROM open_intent WHERE tenant = $1 AND invocation = $2").bind(log).bind(invocation.as_ref());
        Ok(self.run(WHAT, query).await? == 1)
    }
}
