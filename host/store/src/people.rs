//! Whose turn it is to decide about the people and roles of a tenant, so that of two nodes that decide on the same state one does.

use opsiq_contract::TenantId;

use crate::column::{number, unsigned};
use crate::db::{query, query_scalar};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "people of the tenant";

impl Store {
    /// How often somebody decided about the people of `tenant`. To be read before anything on which a decision rests.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn people_turn(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let found: Option<i64> = query_scalar("SELECT turn FROM people_turn WHERE tenant = $1")
            .bind(tenant.as_ref())
            .fetch_optional(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?;
        unsigned(WHAT, found.unwrap_or(0))
    }
}

impl WriteTx<'_> {
    /// Takes the turn after `seen`, in the transaction of what is decided.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody has taken it: what was read may not be so any more. [`StoreError::Unavailable`].
    pub async fn people_decide(&mut self, tenant: &TenantId, seen: u64) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO people_turn (tenant, turn) SELECT $1, $2 WHERE $3 = 0 \
             OR EXISTS (SELECT 1 FROM people_turn WHERE tenant = $1) \
             ON CONFLICT (tenant) DO UPDATE SET turn = excluded.turn WHERE people_turn.turn = $3",
        )
        .bind(tenant.to_string())
        .bind(number(seen + 1))
        .bind(number(seen));
        self.run_one(WHAT, query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, id};

    async fn of_two_who_read_the_same_one_decides() {
        let (_dir, store, _) = fixture::shop().await;
        let acme = id("acme");
        assert_eq!(store.people_turn(&acme).await.unwrap(), 0);
        let mut tx = store.begin().await.unwrap();
        assert!(tx.people_decide(&acme, 3).await.is_err(), "a turn that never was");
        tx.people_decide(&acme, 0).await.unwrap();
        assert!(matches!(tx.people_decide(&acme, 0).await, Err(StoreError::Conflict { .. })));
        tx.people_decide(&acme, 1).await.unwrap();
        tx.people_decide(&id("beta"), 0).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.people_turn(&acme).await.unwrap(), 2);
    }

    crate::fixture::on_both_engines! {
        of_two_who_read_the_same_one_decides
    }
}
