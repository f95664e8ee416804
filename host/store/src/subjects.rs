//! Keys of data subjects, and which of them are destroyed.
//!
//! The keys are with the other wrapped keys, apart from the data; that one was destroyed is with the data, among the
//! guarded rows, so that a key put back from a copy is known for what it is.

use opsiq_contract::TenantId;
use opsiq_vault::{KeyId, Sealed, Secret, TenantVault};

use crate::column::{hash, id};
use crate::db::{Target, query, query_as};
use crate::sealed_columns::{SUBJECT_KEYS, SealedColumn};
use crate::{Cursor, Rewrapped, Store, StoreError, WriteTx};

const KEY: &str = "subject key";
const ERASED: &str = "erased subject";

/// The key of a subject, as stored.
#[derive(Debug, Clone)]
pub struct SubjectKeyRow {
    /// Its id.
    pub id: KeyId,
    /// The blind index of whose it is.
    pub subject: [u8; 32],
    /// When it was made.
    pub created_ms: i64,
    /// The key, sealed by the tenant's vault; `None` once it is destroyed.
    pub wrapped: Option<Sealed<Secret>>,
}

/// A subject's key that is destroyed, or about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedSubjectRow {
    /// Whose tenant's.
    pub tenant: TenantId,
    /// The key's id.
    pub key: KeyId,
    /// The blind index of whose it was.
    pub subject: [u8; 32],
    /// When erasing began.
    pub begun_ms: i64,
    /// When the key was gone; `None` while it may still exist.
    pub done_ms: Option<i64>,
}

type KeyColumns = (Vec<u8>, Vec<u8>, i64, Option<Vec<u8>>);
type ErasedColumns = (String, Vec<u8>, Vec<u8>, i64, Option<i64>);

fn key_of((key, subject, created_ms, wrapped): KeyColumns) -> Result<SubjectKeyRow, StoreError> {
    let wrapped = wrapped.map(Sealed::from_stored);
    Ok(SubjectKeyRow { id: key_id(KEY, key)?, subject: hash(KEY, &subject)?, created_ms, wrapped })
}

fn erased_of((tenant, key, subject, begun_ms, done_ms): ErasedColumns) -> Result<ErasedSubjectRow, StoreError> {
    let (tenant, key) = (id(ERASED, &tenant)?, key_id(ERASED, key)?);
    Ok(ErasedSubjectRow { tenant, key, subject: hash(ERASED, &subject)?, begun_ms, done_ms })
}

fn key_id(what: &'static str, bytes: Vec<u8>) -> Result<KeyId, StoreError> {
    bytes.try_into().map(KeyId::from_bytes).map_err(|_| StoreError::damaged(what))
}

impl Store {
    /// The live key of the subject with this blind index.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn subject_key_of(
        &self,
        tenant: &TenantId,
        subject: &[u8; 32],
    ) -> Result<Option<SubjectKeyRow>, StoreError> {
        let query = query_as(
            "SELECT id, subject, created_ms, wrapped FROM subject_key \
             WHERE tenant = $1 AND subject = $2 AND wrapped IS NOT NULL",
        );
        let found = query.bind(tenant.as_ref()).bind(subject.as_slice()).fetch_optional(self.key_db()).await;
        found.map_err(|error| StoreError::of(KEY, &error))?.map(key_of).transpose()
    }

    /// The subject's key called `id`, live or destroyed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn subject_key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<SubjectKeyRow>, StoreError> {
        let query = query_as("SELECT id, subject, created_ms, wrapped FROM subject_key WHERE tenant = $1 AND id = $2");
        let found = query.bind(tenant.as_ref()).bind(id.as_bytes().as_slice()).fetch_optional(self.key_db()).await;
        found.map_err(|error| StoreError::of(KEY, &error))?.map(key_of).transpose()
    }

    /// Keeps a new key, durable when this returns. It is kept before anything is sealed under it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the subject has a live key; [`StoreError::Unavailable`].
    pub async fn subject_key_insert(&self, tenant: &TenantId, row: &SubjectKeyRow) -> Result<(), StoreError> {
        query("INSERT INTO subject_key (tenant, id, subject, created_ms, wrapped) VALUES ($1, $2, $3, $4, $5)")
            .bind(tenant.as_ref())
            .bind(row.id.as_bytes().as_slice())
            .bind(row.subject.as_slice())
            .bind(row.created_ms)
            .bind(row.wrapped.as_ref().map(Sealed::as_bytes))
            .execute(self.key_db())
            .await
            .map(drop)
            .map_err(|error| StoreError::of(KEY, &error))
    }

    /// Destroys a subject's key: nothing sealed under it opens again. The write-ahead log is emptied as well. `false`
    /// when there was none, or none any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the key may then still exist, and it is to be repeated.
    pub async fn subject_key_destroy(&self, tenant: &TenantId, id: KeyId) -> Result<bool, StoreError> {
        let gone = query("UPDATE subject_key SET wrapped = NULL WHERE tenant = $1 AND id = $2 AND wrapped IS NOT NULL")
            .bind(tenant.as_ref())
            .bind(id.as_bytes().as_slice())
            .execute(self.key_db())
            .await
            .map_err(|error| StoreError::of(KEY, &error))?;
        self.empty_key_log().await?;
        Ok(gone > 0)
    }

    /// One step of putting the subjects' keys of a tenant under the newest key of its vault.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn rewrap_subject_keys(
        &self,
        tenant: &TenantId,
        after: Option<&Cursor>,
        vault: &TenantVault,
    ) -> Result<Rewrapped, StoreError> {
        let of = |error: sqlx::Error| StoreError::of(KEY, &error);
        let column: &SealedColumn = &SUBJECT_KEYS;
        let mut tx = self.key_db().begin().await.map_err(of)?;
        let values = column.step(&mut tx, tenant.as_ref(), after).await?;
        let mut done = Rewrapped { next: SealedColumn::next(&values), ..Rewrapped::default() };
        for value in values {
            match vault.rewrap(&Sealed::<()>::from_stored(value.stored)) {
                Ok(None) => {}
                Ok(Some(moved)) => {
                    let update = column.update(tenant.as_ref(), &value.row, moved.as_bytes());
                    update.execute(&mut tx).await.map_err(of)?;
                    done.moved += 1;
                }
                Err(_) => done.stuck.push(value.row),
            }
        }
        tx.commit().await.map_err(of)?;
        Ok(done)
    }

    /// Whether, and when, the subject's key called `key` was erased.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn erased_subject(&self, tenant: &TenantId, key: KeyId) -> Result<Option<ErasedSubjectRow>, StoreError> {
        let query = query_as(
            "SELECT tenant, key_id, subject, begun_ms, done_ms FROM erased_subject WHERE tenant = $1 AND key_id = $2",
        );
        let found = query.bind(tenant.as_ref()).bind(key.as_bytes().as_slice()).fetch_optional(self.reader()).await;
        found.map_err(|error| StoreError::of(ERASED, &error))?.map(erased_of).transpose()
    }

    /// Every key that the subject with this blind index had and that was erased, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn erasures_of(
        &self,
        tenant: &TenantId,
        subject: &[u8; 32],
    ) -> Result<Vec<ErasedSubjectRow>, StoreError> {
        let query = query_as(
            "SELECT tenant, key_id, subject, begun_ms, done_ms FROM erased_subject \
             WHERE tenant = $1 AND subject = $2 ORDER BY begun_ms, key_id",
        );
        let rows = query.bind(tenant.as_ref()).bind(subject.as_slice());
        erasures(rows.fetch_all(self.reader()).await)
    }

    /// Every erasure of every tenant.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn all_erasures(&self) -> Result<Vec<ErasedSubjectRow>, StoreError> {
        let query = query_as("SELECT tenant, key_id, subject, begun_ms, done_ms FROM erased_subject ORDER BY tenant");
        erasures(query.fetch_all(self.reader()).await)
    }
}

fn erasures(rows: Result<Vec<ErasedColumns>, sqlx::Error>) -> Result<Vec<ErasedSubjectRow>, StoreError> {
    rows.map_err(|error| StoreError::of(ERASED, &error))?.into_iter().map(erased_of).collect()
}

/// Forgets every key of a tenant's subjects.
pub(crate) async fn forget_keys(tenant: &TenantId, keys: impl Into<Target<'_>>) -> Result<u64, sqlx::Error> {
    let gone = query("DELETE FROM subject_key WHERE tenant = $1").bind(tenant.as_ref()).execute(keys).await?;
    Ok(gone)
}

impl WriteTx<'_> {
    /// Notes that erasing a subject begins.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it has begun already; [`StoreError::Unavailable`].
    pub async fn erasure_begin(&mut self, row: &ErasedSubjectRow) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO erased_subject (tenant, key_id, subject, begun_ms, done_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(row.tenant.as_ref())
        .bind(row.key.as_bytes().as_slice())
        .bind(row.subject.as_slice())
        .bind(row.begun_ms)
        .bind(row.done_ms);
        self.run_one(ERASED, query).await
    }

    /// Notes that the key is gone.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when that is noted already; [`StoreError::Unavailable`].
    pub async fn erasure_done(&mut self, tenant: &TenantId, key: KeyId, done_ms: i64) -> Result<(), StoreError> {
        let query =
            query("UPDATE erased_subject SET done_ms = $1 WHERE tenant = $2 AND key_id = $3 AND done_ms IS NULL")
                .bind(done_ms)
                .bind(tenant.as_ref())
                .bind(key.as_bytes().as_slice());
        self.run_one(ERASED, query).await
    }
}

#[cfg(test)]
mod tests;
