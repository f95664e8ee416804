//! Devices from which somebody signed in before.

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::hash;
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "device";

/// One known device.
#[derive(Debug, Clone)]
pub struct DeviceRow<D> {
    /// Whose tenant.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// Blind index of its token.
    pub token_index: [u8; 32],
    /// Whose.
    pub user: String,
    /// When it was first signed in from.
    pub created_ms: i64,
    /// What it says it is. Place: table `known_device`, row `[id]`, column `doc`, version `created_ms`.
    pub doc: Sealed<D>,
}

type Columns = (String, Vec<u8>, String, i64, Vec<u8>);

impl<D> DeviceRow<D> {
    fn of(tenant: &TenantId, (id, index, user, created_ms, doc): Columns) -> Result<Self, StoreError> {
        let (token_index, doc) = (hash(WHAT, &index)?, Sealed::from_stored(doc));
        Ok(Self { tenant: tenant.clone(), id, token_index, user, created_ms, doc })
    }
}

impl Store {
    /// The device with this blind index of its token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn device_by_token<D>(
        &self,
        tenant: &TenantId,
        index: &[u8; 32],
    ) -> Result<Option<DeviceRow<D>>, StoreError> {
        query_as(
            "SELECT id, token_index, user_id, created_ms, doc FROM known_device WHERE tenant = $1 AND token_index = $2",
        )
        .bind(tenant.as_ref())
        .bind(index.as_slice())
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(|columns| DeviceRow::of(tenant, columns))
        .transpose()
    }

    /// The devices of a user, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn devices_of<D>(&self, tenant: &TenantId, user: &str) -> Result<Vec<DeviceRow<D>>, StoreError> {
        query_as(
            "SELECT id, token_index, user_id, created_ms, doc FROM known_device WHERE tenant = $1 AND user_id = $2 \
             ORDER BY created_ms, id",
        )
        .bind(tenant.as_ref())
        .bind(user)
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(|columns| DeviceRow::of(tenant, columns))
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a device, and removes the user's oldest beyond `most`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is no such user; [`StoreError::Unavailable`].
    pub async fn device_insert<D>(&mut self, row: &DeviceRow<D>, most: u32) -> Result<(), StoreError> {
        let insert = query(
            "INSERT INTO known_device (tenant, id, token_index, user_id, created_ms, doc) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.token_index.as_slice())
        .bind(&row.user)
        .bind(row.created_ms)
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, insert).await?;
        let query = query(
            "DELETE FROM known_device WHERE tenant = $1 AND user_id = $2 AND id NOT IN \
             (SELECT id FROM known_device WHERE tenant = $1 AND user_id = $2 ORDER BY created_ms DESC, id DESC LIMIT $3)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.user)
        .bind(i64::from(most));
        self.run(WHAT, query).await.map(drop)
    }

    /// Forgets the devices of this user: all, or the one by that id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn devices_forget(&mut self, tenant: &TenantId, user: &str, id: Option<&str>) -> Result<u64, StoreError> {
        let query = query("DELETE FROM known_device WHERE tenant = $1 AND user_id = $2 AND (id = $3 OR $3 = '')")
            .bind(tenant.to_string())
            .bind(user.to_owned())
            .bind(id.unwrap_or_default().to_owned());
        self.run(WHAT, query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed, with_user};

    async fn the_newest_devices_are_known() {
        let (_dir, store) = with_user().await;
        let row = |number: u8| DeviceRow::<Doc> {
            tenant: id("acme"),
            id: fixture::uuid(number),
            token_index: [number; 32],
            user: "1".to_owned(),
            created_ms: i64::from(number),
            doc: sealed(b"doc"),
        };
        let mut tx = store.begin().await.unwrap();
        for number in 1..6 {
            tx.device_insert(&row(number), 3).await.unwrap();
        }
        assert_eq!(tx.devices_forget(&id("acme"), "2", None).await.unwrap(), 0);
        assert_eq!(tx.devices_forget(&id("acme"), "1", Some(&fixture::uuid(4))).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let known = store.devices_of::<Doc>(&id("acme"), "1").await.unwrap();
        assert_eq!(known.iter().map(|row| row.created_ms).collect::<Vec<_>>(), [3, 5]);
        assert!(store.device_by_token::<Doc>(&id("acme"), &[1; 32]).await.unwrap().is_none());
        assert!(store.device_by_token::<Doc>(&id("beta"), &[5; 32]).await.unwrap().is_none());
        assert!(store.device_by_token::<Doc>(&id("acme"), &[5; 32]).await.unwrap().is_some());
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.devices_forget(&id("acme"), "1", None).await.unwrap(), 2);
        tx.commit().await.unwrap();
    }

    crate::fixture::on_both_engines! {
        the_newest_devices_are_known
    }
}
