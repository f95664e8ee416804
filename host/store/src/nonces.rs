//! Signed requests that were taken, so that no node and no later process takes them again.

use opsiq_contract::TenantId;

use crate::column::id;
use crate::db::{Kind, query, query_as, query_scalar};
use crate::many::{LazyMany, Many};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "request nonce";
const FLOOR: &str = "request floor";

// Nodes' clocks differ, and one that is wrong must neither forget what another could still accept, nor keep the others from
// accepting anything. So on a server its own clock decides with them: nothing is forgotten until a minute after its window,
// and nothing is taken from ten seconds before that on, whatever else is in flight.
const KEEP: &str = "INSERT INTO request_floor (tenant, floor_ms) VALUES ('', $1) \
    ON CONFLICT (tenant) DO UPDATE SET floor_ms = excluded.floor_ms \
    WHERE request_floor.floor_ms < excluded.floor_ms";
const KEEP_SHARED: &str = "INSERT INTO request_floor (tenant, floor_ms) \
    VALUES ('', LEAST($1, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT - 60000)) \
    ON CONFLICT (tenant) DO UPDATE SET floor_ms = excluded.floor_ms \
    WHERE request_floor.floor_ms < excluded.floor_ms";
const DROP: &str = "DELETE FROM request_nonce WHERE (tenant, client, nonce) IN \
    (SELECT tenant, client, nonce FROM request_nonce WHERE expires_ms <= $1 \
     AND expires_ms <= (SELECT floor_ms FROM request_floor WHERE tenant = '') ORDER BY expires_ms LIMIT $2)";
const CLAIM: &str = "INSERT INTO request_nonce (tenant, client, nonce, expires_ms) SELECT $1, $2, $3, $4 \
    WHERE NOT EXISTS (SELECT 1 FROM request_floor WHERE tenant = '' AND floor_ms >= $4) ON CONFLICT DO NOTHING";
const CLAIM_SHARED: &str = "INSERT INTO request_nonce (tenant, client, nonce, expires_ms) SELECT $1, $2, $3, $4 \
    WHERE NOT EXISTS (SELECT 1 FROM request_floor WHERE tenant = '' AND floor_ms >= $4) \
    AND $4 > (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT - 50000 ON CONFLICT DO NOTHING";

/// A request that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonceRow {
    /// Whose client.
    pub tenant: TenantId,
    /// The client's name.
    pub client: String,
    /// The first half of the SHA-256 of the nonce.
    pub nonce: [u8; 16],
    /// When the request cannot be accepted any more, in milliseconds since 1970.
    pub expires_ms: i64,
}

impl Store {
    /// The moment up to which requests are forgotten, and all rows of later ones.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn nonces(&self) -> Result<(i64, Vec<NonceRow>), StoreError> {
        let floor: Option<i64> = query_scalar("SELECT floor_ms FROM request_floor WHERE tenant = ''")
            .fetch_optional(self.reader())
            .await
            .map_err(|error| StoreError::of(FLOOR, &error))?;
        let floor = floor.unwrap_or(0);
        let rows: Vec<(String, String, Vec<u8>, i64)> =
            query_as("SELECT tenant, client, nonce, expires_ms FROM request_nonce WHERE expires_ms > $1")
                .bind(floor)
                .fetch_all(self.reader())
                .await
                .map_err(|error| StoreError::of(WHAT, &error))?;
        let row = |(tenant, client, nonce, expires_ms): (String, String, Vec<u8>, i64)| {
            let nonce = nonce.try_into().map_err(|_| StoreError::damaged(WHAT))?;
            Ok(NonceRow { tenant: id(WHAT, &tenant)?, client, nonce, expires_ms })
        };
        Ok((floor, rows.into_iter().map(row).collect::<Result<_, StoreError>>()?))
    }
}

impl WriteTx<'_> {
    /// Adds rows, where they are not there already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn nonces_insert(&mut self, rows: &[NonceRow]) -> Result<(), StoreError> {
        static INSERT: LazyMany = LazyMany::new(|| {
            let insert = "INSERT INTO request_nonce (tenant, client, nonce, expires_ms) SELECT * FROM (";
            let kinds = &[Kind::Text, Kind::Text, Kind::Bytes, Kind::Number];
            Many::new(insert, kinds, ") AS taken WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING")
        });
        self.run_many(WHAT, &INSERT, rows.iter(), |row, values| {
            values.add(row.tenant.to_string())?;
            values.add(row.client.clone())?;
            values.add(row.nonce.to_vec())?;
            values.add(row.expires_ms)
        })
        .await
        .map(drop)
    }

    /// Takes a request for this node: adds its row, which no node did before.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one did, or may have; [`StoreError::Unavailable`].
    pub async fn nonce_claim(&mut self, row: &NonceRow) -> Result<(), StoreError> {
        let claim = query(self.dialect().pick(CLAIM, CLAIM_SHARED))
            .bind(row.tenant.as_str())
            .bind(row.client.as_str())
            .bind(row.nonce.as_slice())
            .bind(row.expires_ms);
        self.run_one(WHAT, claim).await
    }

    /// Takes no request any more that could be accepted until `until_ms` at the latest, whatever any clock says: for who does
    /// not know what was taken.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn nonces_bar(&mut self, until_ms: i64) -> Result<(), StoreError> {
        self.run(FLOOR, query(KEEP).bind(until_ms)).await.map(drop)
    }

    /// Writes the moment up to which requests are forgotten, which only grows, and drops at most `most` of their rows;
    /// answers how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn nonces_drop(&mut self, floor_ms: i64, most: u32) -> Result<u64, StoreError> {
        let floor = query(self.dialect().pick(KEEP, KEEP_SHARED));
        self.run(FLOOR, floor.bind(floor_ms)).await?;
        self.run(WHAT, query(DROP).bind(floor_ms).bind(i64::from(most))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn row(nonce: u8, expires_ms: i64) -> NonceRow {
        NonceRow { tenant: fixture::id("acme"), client: "till".to_owned(), nonce: [nonce; 16], expires_ms }
    }

    async fn rows_stay_until_the_floor_passes_them() {
        let (_dir, store) = fixture::store().await;
        assert_eq!(store.nonces().await.unwrap(), (0, Vec::new()));
        let rows: Vec<_> = (0..100).map(|at| row(at, i64::from(at))).collect();
        let mut tx = store.begin().await.unwrap();
        tx.nonces_insert(&rows).await.unwrap();
        // Written again after a commit whose end was not known.
        tx.nonces_insert(&rows[..3]).await.unwrap();
        tx.commit().await.unwrap();
        let (floor, found) = store.nonces().await.unwrap();
        assert_eq!((floor, found.len()), (0, 99));
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.nonces_drop(49, 20).await.unwrap(), 20);
        assert_eq!(tx.nonces_drop(40, 1000).await.unwrap(), 21);
        tx.commit().await.unwrap();
        let (floor, found) = store.nonces().await.unwrap();
        assert_eq!((floor, found.len()), (49, 50), "the floor does not go back, and what is below it is not told");
        assert!(found.iter().all(|row| row.expires_ms >= 50));
    }

    async fn a_row_is_claimed_once_and_never_below_the_floor() {
        let (_dir, store) = fixture::store().await;
        let future = i64::MAX / 2;
        let claim = async |row: NonceRow| {
            let mut tx = store.begin().await.unwrap();
            let claimed = tx.nonce_claim(&row).await;
            tx.commit().await.unwrap();
            claimed.map_err(|error| assert!(matches!(error, StoreError::Conflict { .. }), "{error}"))
        };
        assert_eq!(claim(row(1, future)).await, Ok(()));
        assert_eq!(claim(row(1, future)).await, Err(()));
        assert_eq!(claim(row(2, future)).await, Ok(()));
        let mut tx = store.begin().await.unwrap();
        tx.nonces_drop(49, 20).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(claim(row(3, 49)).await, Err(()));
    }

    async fn what_is_barred_is_taken_by_nobody() {
        let (_dir, store) = fixture::store().await;
        let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.nonces_bar(now_ms + 300_000).await.unwrap();
        assert!(matches!(tx.nonce_claim(&row(1, now_ms + 300_000)).await, Err(StoreError::Conflict { .. })));
        tx.nonce_claim(&row(1, now_ms + 300_001)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.nonces().await.unwrap().0, now_ms + 300_000);
    }

    /// A node whose clock is an hour ahead forgets nothing that others could still accept.
    async fn on_a_server_its_clock_decides_with_the_nodes() {
        let (_dir, store) = fixture::store().await;
        let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let mut tx = store.begin().await.unwrap();
        if tx.dialect() == crate::db::Dialect::Sqlite {
            return;
        }
        tx.nonce_claim(&row(1, now_ms)).await.unwrap();
        assert_eq!(tx.nonces_drop(now_ms + 3_600_000, 20).await.unwrap(), 0);
        tx.nonce_claim(&row(2, now_ms)).await.unwrap();
        assert!(matches!(tx.nonce_claim(&row(3, now_ms - 55_000)).await, Err(StoreError::Conflict { .. })));
        tx.commit().await.unwrap();
    }

    async fn a_transaction_that_does_not_commit_leaves_none() {
        let (_dir, store) = fixture::store().await;
        let mut tx = store.begin().await.unwrap();
        tx.nonces_insert(&[row(1, 5)]).await.unwrap();
        tx.rollback().await;
        assert!(store.nonces().await.unwrap().1.is_empty());
    }

    crate::fixture::on_both_engines! {
        rows_stay_until_the_floor_passes_them, a_row_is_claimed_once_and_never_below_the_floor,
        what_is_barred_is_taken_by_nobody, on_a_server_its_clock_decides_with_the_nodes, a_transaction_that_does_not_commit_leaves_none
    }
}
