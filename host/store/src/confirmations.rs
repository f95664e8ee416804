//! Confirmations: what waits for a human, and what became of it. States only move by compare-and-swap, so of an approval
//! and a denial at the same moment exactly one happens, and an approved invocation runs at most once.

use opsiq_contract::{InstallationId, TenantId};
use opsiq_vault::Sealed;

use crate::column::{id, number, text_enum, unsigned};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "confirmation";

text_enum! {
    /// Where a confirmation stands.
    pub ConfirmationState, "confirmation" {
        /// Waits for a human.
        Pending = "pending",
        /// A human denied it.
        Denied = "denied",
        /// Nobody decided in time.
        Expired = "expired",
        /// What it was bound to changed, so it can never run.
        Void = "void",
        /// It runs.
        Running = "running",
        /// It ran; the outcome is in the audit.
        Done = "done",
        /// The host stopped while it ran; whether it took effect is unknown.
        Interrupted = "interrupted",
    }
}

/// One confirmation.
#[derive(Debug, Clone)]
pub struct ConfirmationRow<D> {
    /// Whose.
    pub tenant: TenantId,
    /// A UUID.
    pub id: String,
    /// What would run.
    pub installation: InstallationId,
    /// Where it stands.
    pub state: ConfirmationState,
    /// When it was asked for.
    pub created_ms: i64,
    /// When it expires unless decided.
    pub expires_ms: i64,
    /// Grows by one with every change of the document; part of its place.
    pub version: u64,
    /// What is shown and bound. Place: table `confirmation`, row `[id]`, column `doc`, this version.
    pub doc: Sealed<D>,
}

type Columns = (String, String, String, String, i64, i64, i64, Vec<u8>);

impl<D> ConfirmationRow<D> {
    fn of(columns: Columns) -> Result<Self, StoreError> {
        let (tenant, name, installation, state, created_ms, expires_ms, version, doc) = columns;
        Ok(Self {
            tenant: id(WHAT, &tenant)?,
            id: name,
            installation: id(WHAT, &installation)?,
            state: ConfirmationState::from_column(&state)?,
            created_ms,
            expires_ms,
            version: unsigned(WHAT, version)?,
            doc: Sealed::from_stored(doc),
        })
    }
}

impl Store {
    /// A confirmation by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirmation<D>(&self, tenant: &TenantId, id: &str) -> Result<Option<ConfirmationRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, id, installation, state, created_ms, expires_ms, version, doc FROM confirmation \
             WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.as_ref())
        .bind(id)
        .fetch_optional(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .map(ConfirmationRow::of)
        .transpose()
    }

    /// The newest `limit` confirmations of `tenant`, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirmations<D>(&self, tenant: &TenantId, limit: u32) -> Result<Vec<ConfirmationRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, id, installation, state, created_ms, expires_ms, version, doc FROM confirmation \
             WHERE tenant = $1 ORDER BY created_ms DESC, id DESC LIMIT $2",
        )
        .bind(tenant.as_ref())
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(ConfirmationRow::of)
        .collect()
    }

    /// Confirmations of `tenant` in `state`, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirmations_in<D>(
        &self,
        tenant: &TenantId,
        state: ConfirmationState,
        limit: u32,
    ) -> Result<Vec<ConfirmationRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, id, installation, state, created_ms, expires_ms, version, doc FROM confirmation \
             WHERE tenant = $1 AND state = $2 ORDER BY created_ms DESC, id DESC LIMIT $3",
        )
        .bind(tenant.as_ref())
        .bind(state.as_str())
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(ConfirmationRow::of)
        .collect()
    }

    /// Pending confirmations of all tenants that expire at `now_ms` or before, soonest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirmations_due<D>(&self, now_ms: i64, limit: u32) -> Result<Vec<ConfirmationRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, id, installation, state, created_ms, expires_ms, version, doc FROM confirmation \
             WHERE state = 'pending' AND expires_ms <= $1 ORDER BY expires_ms LIMIT $2",
        )
        .bind(now_ms)
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(ConfirmationRow::of)
        .collect()
    }
}

impl WriteTx<'_> {
    /// Adds a confirmation.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id is taken or there is no such tenant; [`StoreError::Unavailable`].
    pub async fn confirmation_insert<D>(&mut self, row: &ConfirmationRow<D>) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO confirmation (tenant, id, installation, state, created_ms, expires_ms, version, doc) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(row.installation.as_ref())
        .bind(row.state.as_str())
        .bind(row.created_ms)
        .bind(row.expires_ms)
        .bind(number(row.version))
        .bind(row.doc.as_bytes());
        self.run_one(WHAT, query).await
    }

    /// Moves a confirmation from one state to another; `false` when it is not in the first, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirmation_transition(
        &mut self,
        tenant: &TenantId,
        id: &str,
        from: ConfirmationState,
        to: ConfirmationState,
    ) -> Result<bool, StoreError> {
        let query = query("UPDATE confirmation SET state = $1 WHERE tenant = $2 AND id = $3 AND state = $4")
            .bind(to.as_str())
            .bind(tenant.as_ref())
            .bind(id)
            .bind(from.as_str());
        Ok(self.run(WHAT, query).await? == 1)
    }

    /// Moves a confirmation from `from` at version `expected` to the state, version and document of `row`; `false` when
    /// it is not there, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirmation_update<D>(
        &mut self,
        row: &ConfirmationRow<D>,
        from: ConfirmationState,
        expected: u64,
    ) -> Result<bool, StoreError> {
        let query = query(
            "UPDATE confirmation SET state = $1, version = $2, doc = $3 \
             WHERE tenant = $4 AND id = $5 AND state = $6 AND version = $7",
        )
        .bind(row.state.as_str())
        .bind(number(row.version))
        .bind(row.doc.as_bytes())
        .bind(row.tenant.as_ref())
        .bind(&row.id)
        .bind(from.as_str())
        .bind(number(expected));
        Ok(self.run(WHAT, query).await? == 1)
    }
}

#[cfg(test)]
mod tests;
