//! Idempotency keys: claimed in the transaction that writes the intent, so that of many calls with one key one runs.

use opsiq_contract::{InvocationId, TenantId};
use opsiq_vault::Sealed;

use crate::column::{id, text_enum};
use crate::db::{query, query_as};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "idempotency key";

text_enum! {
    /// How far the call of a key came.
    State, "idempotency key" {
        /// It runs.
        Running = "running",
        /// Its answer is kept.
        Answered = "answered",
        /// The host stopped while it ran; whether it took effect is unknown.
        Interrupted = "interrupted",
    }
}

/// A key as one client of one tenant gave it.
#[derive(Debug, Clone, Copy)]
pub struct IdempotencyKey<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Blind index of the principal, so that two clients never share a key.
    pub client_index: &'a [u8; 32],
    /// Blind index of the key itself.
    pub key_index: &'a [u8; 32],
}

/// What a claim finds.
#[derive(Debug, Clone)]
pub enum Claim<A> {
    /// The key is new, or expired, and now belongs to this call.
    New,
    /// A call with the same parameters was answered with this. Place: table `idempotency`, row `[invocation]`, column
    /// `answer`, version 0.
    Answered {
        /// The call that was answered.
        invocation: InvocationId,
        /// Its answer.
        answer: Sealed<A>,
    },
    /// A call with the same parameters still runs.
    InFlight(InvocationId),
    /// A call with the same parameters was interrupted: its effect is unknown and it is not run again.
    Interrupted(InvocationId),
    /// The key was used with other parameters.
    OtherParams,
}

type Columns = (Vec<u8>, String, String, Option<Vec<u8>>);

fn claim<A>(params_hash: &[u8; 32], columns: Columns) -> Result<Claim<A>, StoreError> {
    let (stored_hash, state, invocation, answer) = columns;
    let invocation = id(WHAT, &invocation)?;
    if stored_hash != params_hash {
        return Ok(Claim::OtherParams);
    }
    Ok(match (State::from_column(&state)?, answer) {
        (State::Running, _) => Claim::InFlight(invocation),
        (State::Interrupted, _) => Claim::Interrupted(invocation),
        (State::Answered, Some(answer)) => Claim::Answered { invocation, answer: Sealed::from_stored(answer) },
        (State::Answered, None) => return Err(StoreError::damaged(WHAT)),
    })
}

const FIND: &str = "SELECT params_hash, state, invocation, answer FROM idempotency \
                    WHERE tenant = $1 AND client_index = $2 AND key_index = $3 AND expires_ms > $4";

impl Store {
    /// What a claim would find now, without claiming: lets a repeated call be answered before anything else is done.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn idempotency_find<A>(
        &self,
        key: IdempotencyKey<'_>,
        params_hash: &[u8; 32],
        now_ms: i64,
    ) -> Result<Claim<A>, StoreError> {
        query_as(FIND)
            .bind(key.tenant.as_ref())
            .bind(key.client_index.as_slice())
            .bind(key.key_index.as_slice())
            .bind(now_ms)
            .fetch_optional(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))?
            .map_or(Ok(Claim::New), |columns| claim(params_hash, columns))
    }
}

impl WriteTx<'_> {
    /// Claims a key for `invocation` until `expires_ms`, or says who has it. `params_hash` is a keyed hash of the whole
    /// call: installation, action and canonical parameters.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn idempotency_claim<A>(
        &mut self,
        key: IdempotencyKey<'_>,
        params_hash: &[u8; 32],
        invocation: &InvocationId,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<Claim<A>, StoreError> {
        let insert = query(
            "INSERT INTO idempotency \
             (tenant, client_index, key_index, params_hash, state, invocation, created_ms, expires_ms) \
             VALUES ($1, $2, $3, $4, 'running', $5, $6, $7) \
             ON CONFLICT (tenant, client_index, key_index) DO UPDATE SET params_hash = excluded.params_hash, \
             state = 'running', invocation = excluded.invocation, created_ms = excluded.created_ms, \
             expires_ms = excluded.expires_ms, answer = NULL WHERE idempotency.expires_ms <= excluded.created_ms",
        )
        .bind(key.tenant.as_ref())
        .bind(key.client_index.as_slice())
        .bind(key.key_index.as_slice())
        .bind(params_hash.as_slice())
        .bind(invocation.as_ref())
        .bind(now_ms)
        .bind(expires_ms);
        if self.run(WHAT, insert).await? == 1 {
            return Ok(Claim::New);
        }
        let found: Result<Columns, _> = query_as(FIND)
            .bind(key.tenant.as_ref())
            .bind(key.client_index.as_slice())
            .bind(key.key_index.as_slice())
            .bind(now_ms)
            .fetch_one(self.connection().await?)
            .await
            .map_err(|error| StoreError::of(WHAT, &error));
        claim(params_hash, self.noting(found)?)
    }

    /// Keeps the answer of the call that holds a key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when `invocation` does not hold it any more; [`StoreError::Unavailable`].
    pub async fn idempotency_finish<A>(
        &mut self,
        key: IdempotencyKey<'_>,
        invocation: &InvocationId,
        answer: &Sealed<A>,
    ) -> Result<(), StoreError> {
        let query = query(
            "UPDATE idempotency SET state = 'answered', answer = $1 \
             WHERE tenant = $2 AND client_index = $3 AND key_index = $4 AND invocation = $5 AND state = 'running'",
        )
        .bind(answer.as_bytes())
        .bind(key.tenant.as_ref())
        .bind(key.client_index.as_slice())
        .bind(key.key_index.as_slice())
        .bind(invocation.as_ref());
        self.run_one(WHAT, query).await
    }

    /// Gives a key back when the call that claimed it did nothing, so that it may be tried again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn idempotency_release(
        &mut self,
        tenant: &TenantId,
        invocation: &InvocationId,
    ) -> Result<(), StoreError> {
        let query = query("DELETE FROM idempotency WHERE tenant = $1 AND invocation = $2 AND state = 'running'")
            .bind(tenant.as_ref())
            .bind(invocation.as_ref());
        self.run(WHAT, query).await.map(drop)
    }

    /// Marks the key that `invocation` holds, if any, as interrupted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn idempotency_interrupt(
        &mut self,
        tenant: &TenantId,
        invocation: &InvocationId,
    ) -> Result<(), StoreError> {
        let query = query(
            "UPDATE idempotency SET state = 'interrupted' WHERE tenant = $1 AND invocation = $2 AND state = 'running'",
        )
        .bind(tenant.as_ref())
        .bind(invocation.as_ref());
        self.run(WHAT, query).await.map(drop)
    }

    /// Removes keys that expired at `now_ms` or before, at most `most` of them; answers how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn idempotency_purge(&mut self, now_ms: i64, most: u32) -> Result<u64, StoreError> {
        let purge = query(
            "DELETE FROM idempotency WHERE (tenant, client_index, key_index) IN \
             (SELECT tenant, client_index, key_index FROM idempotency WHERE expires_ms <= $1 LIMIT $2)",
        );
        self.run(WHAT, purge.bind(now_ms).bind(i64::from(most))).await
    }
}

#[cfg(test)]
mod tests;
