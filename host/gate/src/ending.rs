//! The end of a tenant. Cancelling stops everything but reading and opens a window in which its owners take out what is
//! theirs; erasing destroys its keys, which ends every copy of its data, wherever it lies.
//!
//! Erasing goes in three steps, each durable before the next: a tombstone, sealed by the host, takes the place of the
//! tenant's row, with an entry in the host log; the keys are destroyed, and with them what the key store's log still held;
//! the tombstone says so, with another entry. From the first step on the tenant is erased for everybody, and opening the
//! host goes on where a crash stopped. A tombstone also destroys keys that somebody put back.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use opsiq_audit::{AuditError, Draft, Journal, Kind, Log, Op, field};
use opsiq_contract::{Principal, TenantId, nearest};
use opsiq_store::{Store, StoreError, TenantRow};
use opsiq_vault::{Sealed, TenantVault, Vault};

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::control::Selector;
use crate::core::{Core, TenantMap, now_ms};
use crate::docs::{Cancelled, TenantDoc, Tombstone};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;
use crate::tenants::{Standing, TenantView, Tenants, view};

/// How long owners may take out what is theirs: thirty days.
const WINDOW_MS: i64 = 30 * 24 * 3600 * 1000;
/// How long erasing waits for calls that it stopped.
const STOPPED: Duration = Duration::from_secs(10);

/// Which tenant to erase.
#[derive(Debug, Clone)]
pub struct EraseTenant {
    /// Its name.
    pub id: TenantId,
    /// Its name once more, so that no slip of the pen erases one.
    pub confirm: String,
    /// Whether not to wait for the end of its window, or for it to be cancelled at all.
    pub now: bool,
}

/// What is left of a tenant whose erasure has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Erased {
    pub(crate) created_ms: i64,
    pub(crate) version: u64,
    pub(crate) tombstone: Tombstone,
}

impl Erased {
    pub(crate) fn refusal(&self, id: &TenantId, stage: Stage) -> Refusal {
        let message = format!("the tenant {id} was erased on {}: nothing of it can be read", day(self.at_ms()));
        Refusal::new(Class::NotFound, stage, "tenant.erased", message, "nothing brings it back")
    }

    pub(crate) fn view(&self, id: &TenantId) -> TenantView {
        TenantView {
            id: id.clone(),
            title: String::new(),
            second_person: false,
            created_ms: self.created_ms,
            standing: Standing::Erased,
            until_ms: None,
            erased_ms: Some(self.at_ms()),
        }
    }

    fn at_ms(&self) -> i64 {
        self.tombstone.erased_ms.unwrap_or(self.tombstone.begun_ms)
    }

    /// The row with `tombstone` in place of this one.
    fn row(&self, vault: &Vault, id: &TenantId, tombstone: Tombstone) -> Result<TenantRow<Tombstone>, Refusal> {
        let version = self.version + 1;
        let sealed = vault.host().seal(&Tombstone::place(&[id.as_str()], version), &tombstone);
        let doc = sealed.map_err(|error| errors::vault(Stage::Admin, &error))?;
        Ok(TenantRow { id: id.clone(), created_ms: self.created_ms, version, doc })
    }
}

/// The day of a moment, in UTC.
pub(crate) fn day(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.strftime("%Y-%m-%d %H:%MZ").to_string())
}

/// Until when a tenant is cancelled, by its row; or why the row does not open.
pub(crate) fn standing(vault: &TenantVault, row: &TenantRow<TenantDoc>) -> Result<Option<i64>, String> {
    let doc = vault.open(&TenantDoc::place(row.version), &row.doc).map_err(|error| error.to_string())?;
    Ok(doc.cancelled.map(|cancelled| cancelled.until_ms))
}

/// At start: whether this is the row of a tenant whose erasure has begun, whose keys are then destroyed for good.
pub(crate) async fn goes_on(
    store: &Store,
    vault: &Vault,
    tenants: &TenantMap,
    row: &TenantRow<TenantDoc>,
) -> Result<bool, Refusal> {
    let sealed = Sealed::<Tombstone>::from_stored(row.doc.as_bytes().to_vec());
    let Ok(tombstone) = vault.host().open(&Tombstone::place(&[row.id.as_str()], row.version), &sealed) else {
        return Ok(false);
    };
    let failed = |error: StoreError| errors::store(Stage::Admin, &error);
    if tombstone.erased_ms.is_none() || !store.tenant_keys(&row.id).await.map_err(failed)?.is_empty() {
        store.tenant_keys_destroy(&row.id).await.map_err(failed)?;
    }
    // What no vault can end any more would keep the host from starting.
    let open = store.open_intents().await.map_err(failed)?;
    let open: Vec<_> = open.iter().filter(|intent| intent.log == row.id.as_str()).collect();
    if !open.is_empty() {
        let list: Vec<_> = open.iter().map(|intent| (intent.log.as_str(), &intent.invocation)).collect();
        let mut tx = store.begin().await.map_err(failed)?;
        tx.open_intents_remove(&list).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
    }
    tenants.bury(&row.id, Erased { created_ms: row.created_ms, version: row.version, tombstone });
    Ok(true)
}

/// Puts a tombstone into the place of a tenant that was erased and came back from a backup, and destroys its keys; whether it
/// was there.
pub(crate) async fn bury_again(store: &Store, vault: &Vault, id: &TenantId, at_ms: i64) -> Result<bool, Refusal> {
    let failed = |error: StoreError| errors::store(Stage::Admin, &error);
    let Some(row) = store.tenant::<TenantDoc>(id).await.map_err(failed)? else { return Ok(false) };
    let sealed = Sealed::<Tombstone>::from_stored(row.doc.as_bytes().to_vec());
    let there = vault.host().open(&Tombstone::place(&[id.as_str()], row.version), &sealed).is_err();
    if there {
        let tombstone = Tombstone { begun_ms: at_ms, erased_ms: Some(at_ms) };
        let row = Erased { created_ms: row.created_ms, version: row.version, tombstone }.row(vault, id, tombstone)?;
        let mut tx = store.begin().await.map_err(failed)?;
        tx.tenant_update(&row, row.version - 1).await.map_err(failed)?;
        tx.mark_rows(&vault.host()).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
    }
    store.tenant_keys_destroy(id).await.map_err(failed)?;
    Ok(there)
}

/// At start, once entries can be written: records what [`goes_on`] brought to its end. What cannot be recorded now is at the
/// next start; the keys are gone either way.
pub(crate) async fn finish(journal: &Journal, vault: &Vault, tenants: &TenantMap) {
    for (id, erased) in tenants.all_erased() {
        if erased.tombstone.erased_ms.is_none() {
            let draft = Draft::new(Kind::Admin).field(field::ACTOR, Principal::Operator.to_string());
            let draft = draft.field(field::ACTION, "tenant erase");
            if let Err(refusal) = done(journal, vault, tenants, &id, erased, draft).await {
                tracing::warn!(tenant = %id, why = refusal.message, "the end of an erasure is not recorded yet");
            }
        }
    }
}

/// The last step: the tombstone says that the keys are gone.
async fn done(
    journal: &Journal,
    vault: &Vault,
    tenants: &TenantMap,
    id: &TenantId,
    erased: Erased,
    draft: Draft,
) -> Result<TenantView, Refusal> {
    let tombstone = Tombstone { erased_ms: Some(now_ms()), ..erased.tombstone };
    let row = erased.row(vault, id, tombstone)?;
    let version = row.version;
    let draft = draft
        .field(field::OUTCOME, "ok")
        .field(field::DETAIL, format!("tenant {id}: its keys are destroyed, so nothing of it can be read, in no copy"));
    let op = Op::new(move |tx| Box::pin(async move { Ok(tx.tenant_update(&row, row.version - 1).await?) }));
    journal.commit(&Log::Host, vec![draft], op).await.map_err(|error| errors::audit(Stage::Admin, &error))?;
    let erased = Erased { version, tombstone, ..erased };
    tenants.bury(id, erased);
    Ok(erased.view(id))
}

impl Tenants {
    /// Cancels a tenant: nothing of it runs or changes any more, and for 30 days its owners read and export. For the
    /// operator.
    ///
    /// # Errors
    /// Not the operator; no such tenant, or one that is cancelled or erased.
    pub async fn cancel(&self, actor: &Actor, id: &TenantId) -> Result<TenantView, Refusal> {
        let act = "tenant cancel";
        let about = format!("tenant {id}");
        self.core
            .operate(actor, act, &about, async {
                let tenant = self.core.served(id)?;
                let _turn = tenant.acts.lock().await;
                if let Some(until_ms) = tenant.cancelled() {
                    return Err(Refusal::new(
                        Class::Conflict,
                        Stage::Admin,
                        "tenant.cancelled",
                        format!("the tenant {id} is cancelled already, with a window until {}", day(until_ms)),
                        format!("opsiq tenant restore {id}, or opsiq tenant erase {id} --confirm {id}"),
                    ));
                }
                let at_ms = now_ms();
                let until_ms = at_ms + WINDOW_MS;
                let detail = format!("tenant {id}, export window until {}", day(until_ms));
                let view = self.stand(actor, &tenant, Some(Cancelled { at_ms, until_ms }), act, &detail).await?;
                self.core.stop_calls(&Selector::Tenant(tenant.id.clone()), "its tenant is cancelled");
                Ok(view)
            })
            .await
    }

    /// Takes a cancellation back while its window is open. For the operator.
    ///
    /// # Errors
    /// Not the operator; no such tenant; one that is not cancelled, whose window has ended, or that is erased.
    pub async fn restore(&self, actor: &Actor, id: &TenantId) -> Result<TenantView, Refusal> {
        let act = "tenant restore";
        let about = format!("tenant {id}");
        self.core
            .operate(actor, act, &about, async {
                let tenant = self.core.served(id)?;
                let _turn = tenant.acts.lock().await;
                let conflict = |code, message: String, fix: String| {
                    Err(Refusal::new(Class::Conflict, Stage::Admin, code, message, fix))
                };
                match tenant.cancelled() {
                    None => {
                        conflict("tenant.not-cancelled", format!("the tenant {id} is not cancelled"), String::new())
                    }
                    Some(until_ms) if until_ms <= now_ms() => conflict(
                        "tenant.window-ended",
                        format!("the window of {id} ended on {}", day(until_ms)),
                        format!("opsiq tenant erase {id} --confirm {id}"),
                    ),
                    Some(_) => self.stand(actor, &tenant, None, act, &about).await,
                }
            })
            .await
    }

    /// Erases a tenant: destroys its keys, so that nothing of it can be read, in no copy. Its log keeps order and proof,
    /// and its name is never used again. Repeated, it goes on where it was stopped. For the operator.
    ///
    /// # Errors
    /// Not the operator; no such tenant; one whose window has not ended, unless `now`; its name not confirmed; calls that
    /// do not end.
    pub async fn erase(&self, actor: &Actor, erase: &EraseTenant) -> Result<TenantView, Refusal> {
        let about = format!("tenant {}", erase.id);
        self.core.operate(actor, "tenant erase", &about, Box::pin(self.erase_now(actor, erase))).await
    }

    async fn erase_now(&self, actor: &Actor, erase: &EraseTenant) -> Result<TenantView, Refusal> {
        let (core, id) = (&self.core, &erase.id);
        let erased = match core.tenants.erased(id) {
            Some(erased) if erased.tombstone.erased_ms.is_some() => return Ok(erased.view(id)),
            Some(begun) => begun,
            None => self.begin_erasure(actor, erase).await?,
        };
        {
            // Neither a rotation of its key nor one of the root may put one back.
            let _rotation = core.rotating.lock().await;
            let _turn = core.wrapping.lock().await;
            core.store.tenant_keys_destroy(id).await.map_err(|error| errors::store(Stage::Admin, &error))?;
        }
        core.tend_epochs().await?;
        let draft = operator_draft(actor, Kind::Admin, "tenant erase");
        done(&core.journal, &core.vault, &core.tenants, id, erased, draft).await
    }

    /// The first step: nothing of the tenant runs any more, and a tombstone stands in its place.
    async fn begin_erasure(&self, actor: &Actor, erase: &EraseTenant) -> Result<Erased, Refusal> {
        let (core, id) = (&self.core, &erase.id);
        let row = core.store.tenant::<TenantDoc>(id).await.map_err(|error| errors::store(Stage::Admin, &error))?;
        let Some(row) = row else { return Err(core.no_tenant(id)) };
        if erase.confirm != id.as_str() {
            return Err(Refusal::new(
                Class::Denied,
                Stage::Admin,
                "tenant.not-confirmed",
                format!("erasing {id} cannot be taken back, so its name has to be spelled out once more"),
                format!("--confirm {id}"),
            ));
        }
        core.not_held(id, "the tenant is not erased").await?;
        let tenant = core.tenants.get(id);
        if !erase.now {
            may_end(id, tenant.as_ref().and_then(|tenant| tenant.cancelled()))?;
        }
        // One whose keys do not open has nothing that runs.
        if let Some(tenant) = &tenant {
            let before = tenant.cancelled();
            tenant.set_cancelled(Some(before.unwrap_or(1)));
            if let Err(refusal) = core.quiet(tenant).await {
                tenant.set_cancelled(before);
                return Err(refusal);
            }
        }
        let begun_ms = now_ms();
        let alive = Erased {
            created_ms: row.created_ms,
            version: row.version,
            tombstone: Tombstone { begun_ms, erased_ms: None },
        };
        let row = alive.row(&core.vault, id, alive.tombstone)?;
        let version = row.version;
        let draft = operator_draft(actor, Kind::Admin, "tenant erase")
            .field(field::OUTCOME, "begun")
            .field(field::DETAIL, format!("tenant {id}{}", if erase.now { ", before its window ended" } else { "" }));
        let op = Op::new(move |tx| {
            Box::pin(async move {
                tx.address_rules_clear(&row.id).await?;
                Ok(tx.tenant_update(&row, row.version - 1).await?)
            })
        });
        core.journal.commit(&Log::Host, vec![draft], op).await.map_err(|error| errors::audit(Stage::Admin, &error))?;
        let begun = Erased { version, ..alive };
        core.tenants.bury(id, begun);
        // Nobody asks about its list any more; that it is gone from memory, too, is only tidy.
        if let Err(refusal) = core.guards.lists.look(&core.store).await {
            tracing::warn!(tenant = %id, why = refusal.message, "its list of addresses is still in memory");
        }
        Ok(begun)
    }

    /// Writes whether a tenant is cancelled, with an entry in the host log, and tells its owners in theirs.
    async fn stand(
        &self,
        actor: &Actor,
        tenant: &TenantState,
        cancelled: Option<Cancelled>,
        act: &str,
        detail: &str,
    ) -> Result<TenantView, Refusal> {
        let core = &self.core;
        let failed = |error: AuditError| errors::audit(Stage::Admin, &error);
        let record = core.record_of(tenant).await?;
        let version = record.version + 1;
        let doc = TenantDoc { cancelled, ..record.doc.clone() };
        let sealed = tenant.vault.seal(&TenantDoc::place(version), &doc);
        let doc = sealed.map_err(|error| errors::vault(Stage::Admin, &error))?;
        let row = TenantRow { id: tenant.id.clone(), created_ms: record.created_ms, version, doc };
        let draft =
            operator_draft(actor, Kind::Admin, act).field(field::OUTCOME, "ok").field(field::DETAIL, detail.to_owned());
        let op = Op::new(move |tx| Box::pin(async move { Ok(tx.tenant_update(&row, row.version - 1).await?) }));
        core.journal.commit(&Log::Host, vec![draft.clone()], op).await.map_err(failed)?;
        tenant.changed();
        tenant.set_cancelled(cancelled.map(|cancelled| cancelled.until_ms));
        core.record(Log::Tenant(tenant.id.clone()), vec![draft]).await?;
        let record = core.record_of(tenant).await?;
        Ok(view(tenant, &record))
    }
}

/// Refuses to erase a tenant whose window has not ended.
fn may_end(id: &TenantId, until_ms: Option<i64>) -> Result<(), Refusal> {
    let (code, message, fix) = match until_ms {
        Some(until_ms) if until_ms <= now_ms() => return Ok(()),
        Some(until_ms) => (
            "tenant.in-window",
            format!("until {} the owners of {id} may take out what is theirs", day(until_ms)),
            "wait, or erase it all the same: --now".to_owned(),
        ),
        None => (
            "tenant.not-cancelled",
            format!("the tenant {id} is not cancelled, so its owners had no time to take out what is theirs"),
            format!("opsiq tenant cancel {id}; or erase it all the same: --now"),
        ),
    };
    Err(Refusal::new(Class::Denied, Stage::Admin, code, message, fix))
}

impl Core {
    /// A tenant that is served.
    fn served(&self, id: &TenantId) -> Result<std::sync::Arc<TenantState>, Refusal> {
        if let Some(erased) = self.tenants.erased(id) {
            return Err(erased.refusal(id, Stage::Admin));
        }
        self.tenants.get(id).ok_or_else(|| self.no_tenant(id))
    }

    pub(crate) fn no_tenant(&self, id: &TenantId) -> Refusal {
        let all = self.tenants.all();
        let fix = match nearest(id.as_str(), all.iter().map(|tenant| tenant.id.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "see opsiq tenant list".to_owned(),
        };
        Refusal::new(Class::NotFound, Stage::Admin, "tenant.unknown", format!("no tenant {id} is served"), fix)
    }

    /// Waits until no call of a tenant is without its outcome.
    async fn quiet(&self, tenant: &TenantState) -> Result<(), Refusal> {
        let until = Instant::now() + STOPPED;
        loop {
            self.stop_calls(&Selector::Tenant(tenant.id.clone()), "its tenant ends");
            // One that was admitted before may be about to write its intent.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let open = self.store.open_intents().await.map_err(|error| errors::store(Stage::Admin, &error))?;
            if !open.iter().any(|intent| intent.log == tenant.id.as_str()) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Refusal::new(
                    Class::Conflict,
                    Stage::Admin,
                    "tenant.busy",
                    format!("calls of {} do not end", tenant.id),
                    "wait for them, then repeat the command",
                ));
            }
        }
    }
}
