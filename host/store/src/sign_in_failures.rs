//! Failed attempts to sign in, where several nodes count them together. What a count means is decided above; here it is kept.

use crate::column::{hash, unsigned};
use crate::db::{Target, query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "sign-in failure";
/// Rows that are dropped at a time.
const DROPPED: i64 = 500;

/// The failures of one, by a keyed hash of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureRow {
    /// Whose.
    pub whose: [u8; 32],
    /// How many.
    pub failures: u32,
    /// When the last one was.
    pub last_ms: i64,
}

async fn found(on: impl Into<Target<'_>>, whose: &[u8; 32]) -> Result<Option<FailureRow>, StoreError> {
    let select = query_as("SELECT whose, failures, last_ms FROM sign_in_failure WHERE tenant = '' AND whose = $1");
    let row: Option<(Vec<u8>, i64, i64)> =
        select.bind(whose.as_slice()).fetch_optional(on).await.map_err(|error| StoreError::of(WHAT, &error))?;
    row.map(|(whose, failures, last_ms)| {
        let failures = u32::try_from(unsigned(WHAT, failures)?).unwrap_or(u32::MAX);
        Ok(FailureRow { whose: hash(WHAT, &whose)?, failures, last_ms })
    })
    .transpose()
}

impl Store {
    /// The failures of one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sign_in_failures(&self, whose: &[u8; 32]) -> Result<Option<FailureRow>, StoreError> {
        found(self.reader(), whose).await
    }
}

impl WriteTx<'_> {
    /// The failures of one, whose row no other node changes until this transaction ends. Of several, whoever holds them goes by
    /// one order, so that no two wait for each other.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sign_in_failures(&mut self, whose: &[u8; 32]) -> Result<FailureRow, StoreError> {
        let hold = query(
            "INSERT INTO sign_in_failure (tenant, whose, failures, last_ms) VALUES ('', $1, 0, 0) \
             ON CONFLICT (tenant, whose) DO UPDATE SET failures = sign_in_failure.failures",
        );
        self.run_one(WHAT, hold.bind(whose.to_vec())).await?;
        // A statement of its own: it sees what was committed while the first one waited.
        let found = found(self.connection().await?, whose).await;
        self.noting(found)?.ok_or(StoreError::damaged(WHAT))
    }

    /// Writes the failures of one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sign_in_failure_put(&mut self, row: &FailureRow) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO sign_in_failure (tenant, whose, failures, last_ms) VALUES ('', $1, $2, $3) \
             ON CONFLICT (tenant, whose) DO UPDATE SET failures = excluded.failures, last_ms = excluded.last_ms",
        )
        .bind(row.whose.as_slice())
        .bind(i64::from(row.failures))
        .bind(row.last_ms);
        self.run_one(WHAT, query).await
    }

    /// Forgets the failures of one, or takes the last one back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sign_in_failure_end(&mut self, whose: &[u8; 32], all: bool) -> Result<(), StoreError> {
        let text = if all {
            "DELETE FROM sign_in_failure WHERE tenant = '' AND whose = $1"
        } else {
            "UPDATE sign_in_failure SET failures = failures - 1 WHERE tenant = '' AND whose = $1 AND failures > 0"
        };
        self.run(WHAT, query(text).bind(whose.to_vec())).await.map(drop)
    }

    /// Drops some of what is older than `before_ms`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sign_in_failures_drop(&mut self, before_ms: i64) -> Result<(), StoreError> {
        let query = query(
            "DELETE FROM sign_in_failure WHERE (tenant, whose) IN \
             (SELECT tenant, whose FROM sign_in_failure WHERE last_ms <= $1 ORDER BY last_ms LIMIT $2)",
        );
        self.run(WHAT, query.bind(before_ms).bind(DROPPED)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    async fn failures_are_counted_taken_back_and_dropped() {
        let (_dir, store) = fixture::store().await;
        let row = |whose: u8, failures, last_ms| FailureRow { whose: [whose; 32], failures, last_ms };
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.sign_in_failures(&[1; 32]).await.unwrap(), row(1, 0, 0));
        tx.sign_in_failure_put(&row(1, 1, 5)).await.unwrap();
        tx.sign_in_failure_put(&row(1, 2, 6)).await.unwrap();
        tx.sign_in_failure_put(&row(2, 1, 7)).await.unwrap();
        assert_eq!(tx.sign_in_failures(&[1; 32]).await.unwrap(), row(1, 2, 6));
        tx.sign_in_failure_end(&[1; 32], false).await.unwrap();
        tx.sign_in_failure_end(&[2; 32], true).await.unwrap();
        tx.sign_in_failure_end(&[3; 32], false).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.sign_in_failures(&[1; 32]).await.unwrap(), Some(row(1, 1, 6)));
        assert_eq!(store.sign_in_failures(&[2; 32]).await.unwrap(), None);
        let mut tx = store.begin().await.unwrap();
        tx.sign_in_failures_drop(6).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.sign_in_failures(&[1; 32]).await.unwrap(), None);
    }

    fixture::on_both_engines! {
        failures_are_counted_taken_back_and_dropped
    }
}
