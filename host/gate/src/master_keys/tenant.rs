//! Rotating one tenant's key.
//!
//! The order is what makes it safe to stop anywhere:
//!
//! 1. the new key is on disk beside the old one, so a restart opens what either sealed;
//! 2. the vault that every call holds seals by the new one from here on;
//! 3. what was sealed by the old one and is still in memory is written or dropped: it is counted, and waited for;
//! 4. everything stored is walked once and put under the new one; nothing can come in behind the walk, because of 3;
//! 5. a second look finds nothing under another key; the data is written anew if it is small, since bytes of moved rows lie
//!    between those in use, and its write-ahead log, where old pages lie, is emptied;
//! 6. the old key is destroyed. Until then the tenant has two keys on disk, which is how an unfinished rotation is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsiq_audit::{Draft, Kind, Log, Op, field};
use opsiq_contract::TenantId;
use opsiq_store::{Cursor, Rewrapped, SEALED_COLUMNS, SealedColumn, StoreError};
use opsiq_vault::{KeyId, WrappedKey};
use serde::Serialize;

use super::{Walked, Watch};
use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;

/// How long values sealed by the old key are waited for: longer than any call may run.
const WRITTEN_WITHIN: Duration = Duration::from_secs(90);
/// How long a read that began before the walk may take to open what it read: after that the old key leaves memory.
const OPENED_WITHIN: Duration = Duration::from_secs(30);
/// How often something that is busy is tried, and how long apart.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);
/// Rows named in one refusal.
const NAMED: usize = 10;

/// Values of one column that a rotation put under the new key.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// How many.
    pub values: u64,
}

/// A rotation of a tenant's key that ended.
#[derive(Debug, Clone, Serialize)]
pub struct TenantRotated {
    /// Whose.
    pub tenant: TenantId,
    /// The ids of the keys destroyed.
    pub destroyed: Vec<String>,
    /// The id of the key in use.
    pub key: String,
    /// Its generation.
    pub generation: u32,
    /// What was put under it.
    pub moved: Vec<Moved>,
    /// Whether an earlier run had begun it.
    pub resumed: bool,
}

impl TenantRotated {
    /// All values put under the new key.
    pub fn values(&self) -> u64 {
        self.moved.iter().map(|moved| moved.values).sum()
    }
}

impl Core {
    pub(crate) async fn rotate_tenant(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        watch: Watch<'_>,
    ) -> Result<TenantRotated, Refusal> {
        let _turn = self.rotating.lock().await;
        let state = self.tenants.get(tenant).ok_or_else(|| unknown(tenant))?;
        let (keys, resumed) = self.two_keys(actor, &state).await?;
        let Some((newest, old)) = keys.split_last() else { return Err(unknown(tenant)) };
        let old: Vec<KeyId> = old.iter().map(WrappedKey::id).collect();
        written(&state, &old).await?;
        let moved = self.rewrap(&state, watch).await?;
        let left = self.store.sealed_under_others(tenant.as_ref(), newest.id()).await.map_err(failed)?;
        if left > 0 {
            let message = format!("{left} values of {tenant} came in under another key; its old key stays");
            return Err(Refusal::new(Class::Conflict, Stage::Admin, "keys.left", message, again(tenant)));
        }
        busy(|| self.store.leave_no_trace()).await.map_err(failed)?;

        let ids = old.iter().map(ToString::to_string).collect::<Vec<_>>();
        let done = TenantRotated {
            tenant: tenant.clone(),
            destroyed: ids,
            key: newest.id().to_string(),
            generation: newest.generation(),
            moved,
            resumed,
        };
        // Before it is done: the record of a key destroyed must not depend on what comes after.
        let keys = done.destroyed.join(", ");
        self.tell(actor, &state, &format!("{} values under key {}; destroying key {keys}", done.values(), done.key))
            .await?;
        {
            let _turn = self.wrapping.lock().await;
            self.store.tenant_keys_retire(tenant, newest.generation()).await.map_err(failed)?;
        }
        let vault = state.vault.clone();
        tokio::spawn(async move {
            tokio::time::sleep(OPENED_WITHIN).await;
            for id in old {
                vault.retire(id);
            }
        });
        let finished = format!("finished: key {keys} is destroyed, key {} is generation {}", done.key, done.generation);
        self.tell(actor, &state, &finished).await?;
        Ok(done)
    }

    /// The keys of a tenant, oldest first, of which the newest seals from now on; and whether there were two already.
    async fn two_keys(&self, actor: &Actor, state: &Arc<TenantState>) -> Result<(Vec<WrappedKey>, bool), Refusal> {
        let _turn = self.wrapping.lock().await;
        let tenant = &state.id;
        let mut keys = self.store.tenant_keys(tenant).await.map_err(failed)?;
        let vault = |error| errors::vault(Stage::Admin, &error);
        let resumed = keys.len() > 1;
        let Some(newest) = keys.last() else { return Err(unknown(tenant)) };
        if resumed {
            let said = format!("going on: {} keys, key {} seals", keys.len(), newest.id());
            self.tell(actor, state, &said).await?;
        } else {
            let next = self.vault.successor(tenant, newest).map_err(vault)?;
            let said = format!(
                "began: from key {} (generation {}) to key {} (generation {})",
                newest.id(),
                newest.generation(),
                next.id(),
                next.generation()
            );
            self.tell(actor, state, &said).await?;
            self.store.tenant_key_insert(tenant, &next, now_ms()).await.map_err(failed)?;
            keys.push(next);
        }
        self.vault.renew(tenant, &state.vault, &keys).map_err(vault)?;
        Ok((keys, resumed))
    }

    /// Walks everything stored of a tenant, in transactions of the one writer that others share.
    async fn rewrap(&self, state: &Arc<TenantState>, watch: Watch<'_>) -> Result<Vec<Moved>, Refusal> {
        let (mut all, mut stuck) = (Vec::new(), Vec::new());
        for column in SEALED_COLUMNS {
            let SealedColumn { table, column: name, .. } = column;
            let mut moved = Moved { table, column: name, values: 0 };
            let mut after = None;
            loop {
                let step = self.rewrap_step(state, column, after).await?;
                moved.values += step.moved;
                watch(Walked { tenant: state.id.as_str(), table, column: name, values: moved.values });
                stuck.extend(step.stuck.iter().map(|row| format!("{table}.{name} {row}")));
                match step.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            all.push(moved);
        }
        if stuck.is_empty() {
            return Ok(all);
        }
        let named = stuck.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        Err(Refusal::new(
            Class::Tampered,
            Stage::Admin,
            "keys.stuck",
            format!("{} values of {} do not open, so its old key stays: {named}", stuck.len(), state.id),
            format!("opsiq keys verify names all; restore them from a backup, then {}", again(&state.id)),
        ))
    }

    async fn rewrap_step(
        &self,
        state: &Arc<TenantState>,
        column: &'static SealedColumn,
        after: Option<Cursor>,
    ) -> Result<Rewrapped, Refusal> {
        let mut tries = 0;
        loop {
            let (whose, after) = (state.clone(), after.clone());
            let done = if column.in_key_store {
                self.store.rewrap_subject_keys(&whose.id, after.as_ref(), &whose.vault).await.map_err(failed)
            } else {
                let op = Op::new(move |tx| {
                    Box::pin(async move {
                        Ok(tx.rewrap_step(column, whose.id.as_str(), after.as_ref(), &whose.vault).await?)
                    })
                });
                let done = self.journal.commit(&Log::Tenant(state.id.clone()), Vec::new(), op).await;
                done.map_err(|error| errors::audit(Stage::Admin, &error))
            };
            match done {
                Err(refusal) if refusal.class == Class::Unavailable && tries < TRIES => tries += 1,
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Records a step of a rotation in the host's log and the tenant's.
    async fn tell(&self, actor: &Actor, state: &TenantState, said: &str) -> Result<(), Refusal> {
        let draft = |detail: String| -> Draft {
            operator_draft(actor, Kind::Admin, "keys rotate").field(field::OUTCOME, "ok").field(field::DETAIL, detail)
        };
        self.record(Log::Host, vec![draft(format!("tenant {}: {said}", state.id))]).await?;
        self.record(Log::Tenant(state.id.clone()), vec![draft(said.to_owned())]).await
    }
}

/// Waits until nothing that an old key sealed can still be written.
async fn written(state: &TenantState, old: &[KeyId]) -> Result<(), Refusal> {
    let until = Instant::now() + WRITTEN_WITHIN;
    while old.iter().any(|id| state.vault.in_use(*id)) {
        if Instant::now() >= until {
            let message = format!("a call of {} has not written what its old key sealed, so that key stays", state.id);
            return Err(Refusal::new(Class::Unavailable, Stage::Admin, "keys.in-use", message, again(&state.id)));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Tries something that others may keep busy for a moment.
async fn busy<F: Future<Output = Result<(), StoreError>>>(act: impl Fn() -> F) -> Result<(), StoreError> {
    for _ in 1..TRIES {
        match act().await {
            Err(error) if error.is_unavailable() => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
    act().await
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn failed(error: StoreError) -> Refusal {
    errors::store(Stage::Admin, &error)
}

fn again(tenant: &TenantId) -> String {
    format!("opsiq keys rotate --tenant {tenant}")
}

fn unknown(tenant: &TenantId) -> Refusal {
    let message = format!("there is no tenant {tenant} whose keys open");
    Refusal::new(Class::NotFound, Stage::Admin, "tenant.unknown", message, "see opsiq keys status")
}
