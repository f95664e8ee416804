//! Lists of addresses in memory, as the store has them. A look reads no row; a change on another node is taken over when the
//! store is next looked at for changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opsiq_contract::TenantId;
use opsiq_shield::{AddressList, ClientIp, Decision, Verdict, network};
use opsiq_store::Store;
use tokio::sync::Mutex;

use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// One owner's list at a revision.
#[derive(Debug, Clone, Default)]
struct Held {
    revision: u64,
    list: Arc<AddressList>,
}

/// All lists, by owner; the empty text is the operator.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    all: RwLock<HashMap<String, Held>>,
    /// How many lists there are, so that a request finds out without a lock that there is none.
    count: AtomicUsize,
    /// Held by an act that changes the operator's list, from its first look to its end.
    pub(super) acts: Mutex<()>,
}

fn owner(tenant: Option<&TenantId>) -> &str {
    tenant.map_or("", TenantId::as_str)
}

impl Lists {
    /// Those that are stored.
    pub(crate) async fn load(store: &Store) -> Result<Self, Refusal> {
        let lists = Self::default();
        lists.look(store).await?;
        Ok(lists)
    }

    /// Takes over what changed in the store.
    pub(crate) async fn look(&self, store: &Store) -> Result<(), Refusal> {
        let stored = store.address_lists().await.map_err(|error| errors::store(Stage::Admin, &error))?;
        for (owner, revision) in stored {
            if self.held(&owner).revision < revision {
                self.read(store, &owner, revision).await?;
            }
        }
        Ok(())
    }

    async fn read(&self, store: &Store, owner: &str, revision: u64) -> Result<(), Refusal> {
        let tenant = match owner {
            "" => None,
            owner => Some(owner.parse::<TenantId>().map_err(|_| damaged())?),
        };
        let rules = store.address_verdicts(tenant.as_ref()).await;
        let rules = rules.map_err(|error| errors::store(Stage::Admin, &error))?;
        let rule = |(text, verdict): (String, String)| {
            let verdict = [Verdict::Allow, Verdict::Block].into_iter().find(|known| known.as_str() == verdict);
            Ok((network(&text).map_err(|_| damaged())?, verdict.ok_or_else(damaged)?))
        };
        let list: AddressList = rules.into_iter().map(rule).collect::<Result<Vec<_>, Refusal>>()?.into_iter().collect();
        self.set(owner, revision, Arc::new(list));
        Ok(())
    }

    /// What an act of this node made of a list, whose revision is now this one. Where another node changed it in between, the
    /// store says what it is.
    pub(super) async fn moved(
        &self,
        store: &Store,
        tenant: Option<&TenantId>,
        revision: u64,
        list: AddressList,
    ) -> Result<(), Refusal> {
        let owner = owner(tenant);
        if self.held(owner).revision + 1 == revision {
            self.set(owner, revision, Arc::new(list));
            return Ok(());
        }
        self.read(store, owner, revision).await
    }

    /// A later revision stays.
    fn set(&self, owner: &str, revision: u64, list: Arc<AddressList>) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let held = all.entry(owner.to_owned()).or_default();
        if held.revision <= revision {
            *held = Held { revision, list };
        }
        self.count.store(all.len(), Ordering::SeqCst);
    }

    fn held(&self, owner: &str) -> Held {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(owner).cloned().unwrap_or_default()
    }

    /// The list of an owner, as it is.
    pub(super) fn of(&self, tenant: Option<&TenantId>) -> Arc<AddressList> {
        self.held(owner(tenant)).list
    }

    /// What the list of an owner says of an address.
    pub(crate) fn decide(&self, tenant: Option<&TenantId>, client: ClientIp) -> Decision {
        if self.count.load(Ordering::SeqCst) == 0 {
            return Decision::Permitted(None);
        }
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.get(owner(tenant)).map_or(Decision::Permitted(None), |held| held.list.decide(client))
    }

    /// How many rules there are, of all owners.
    pub(super) fn count(&self) -> usize {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().map(|held| held.list.len()).sum()
    }
}

fn damaged() -> Refusal {
    let message = "a rule about addresses is none that the host knows";
    Refusal::new(Class::Tampered, Stage::Admin, "store.damaged", message, "see opsiq doctor")
}
