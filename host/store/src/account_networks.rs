//! From which networks people signed in, by blind index.

use opsiq_contract::TenantId;

use crate::column::{hash, number};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "network of an account";

/// One network of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountNetworkRow {
    /// The blind index of which.
    pub network_index: [u8; 32],
    /// When they first signed in from there.
    pub first_ms: i64,
    /// When they last did.
    pub last_ms: i64,
}

impl Store {
    /// The networks of a user, the latest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn account_networks(&self, tenant: &TenantId, user: &str) -> Result<Vec<AccountNetworkRow>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, i64)> = query_as(
            "SELECT network_index, first_ms, last_ms FROM account_network WHERE tenant = $1 AND user_id = $2 \
             ORDER BY last_ms DESC, network_index",
        )
        .bind(tenant.as_ref())
        .bind(user)
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?;
        let row = |(index, first_ms, last_ms): (Vec<u8>, i64, i64)| {
            Ok(AccountNetworkRow { network_index: hash(WHAT, &index)?, first_ms, last_ms })
        };
        rows.into_iter().map(row).collect()
    }
}

impl WriteTx<'_> {
    /// Notes that a user signed in from a network at `now_ms`, and forgets their networks beyond the latest `most`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such user; [`StoreError::Unavailable`].
    pub async fn account_network_seen(
        &mut self,
        tenant: &TenantId,
        user: &str,
        network_index: &[u8; 32],
        now_ms: i64,
        most: u32,
    ) -> Result<(), StoreError> {
        let seen = query(
            "INSERT INTO account_network (tenant, user_id, network_index, first_ms, last_ms) \
             VALUES ($1, $2, $3, $4, $4) \
             ON CONFLICT (tenant, user_id, network_index) DO UPDATE SET last_ms = excluded.last_ms",
        )
        .bind(tenant.as_ref())
        .bind(user)
        .bind(network_index.as_slice())
        .bind(now_ms);
        self.run_one(WHAT, seen).await?;
        let forget = query(
            "DELETE FROM account_network WHERE tenant = $1 AND user_id = $2 AND network_index NOT IN \
             (SELECT network_index FROM account_network WHERE tenant = $1 AND user_id = $2 \
             ORDER BY last_ms DESC, network_index LIMIT $3)",
        )
        .bind(tenant.as_ref())
        .bind(user)
        .bind(number(u64::from(most)));
        self.run(WHAT, forget).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{id, with_user};

    async fn the_latest_networks_are_known() {
        let (_dir, store) = with_user().await;
        let acme = id("acme");
        let mut tx = store.begin().await.unwrap();
        for (network, at) in [(1, 1), (2, 2), (3, 3), (1, 4), (4, 5)] {
            tx.account_network_seen(&acme, "1", &[network; 32], at, 3).await.unwrap();
        }
        assert!(tx.account_network_seen(&acme, "2", &[1; 32], 1, 3).await.is_err(), "there is no such user");
        tx.commit().await.unwrap();
        let known = store.account_networks(&acme, "1").await.unwrap();
        let shown: Vec<_> = known.iter().map(|row| (row.network_index[0], row.first_ms, row.last_ms)).collect();
        assert_eq!(shown, [(4, 5, 5), (1, 1, 4), (3, 3, 3)]);
        assert!(store.account_networks(&id("beta"), "1").await.unwrap().is_empty());
    }

    crate::fixture::on_both_engines! {
        the_latest_networks_are_known
    }
}
