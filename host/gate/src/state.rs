//! What the gate remembers of a tenant between calls, so that a call reads no row. The host is the only writer of its
//! data directory, so every change passes through here and forgets what it changed; nothing else may be remembered.
//!
//! A reader that loaded a row before a change must not put it back after it: rows are kept only when no change was
//! told between the reading and the keeping.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opsiq_contract::{Contract, CustomRole, Installation, Role, Standing, TenantId};
use opsiq_egress::{Kept, Share};
use opsiq_identity::Lifetime;
use opsiq_sandbox::Plugin;
use opsiq_vault::{LeakGuard, TenantVault};
use tokio::sync::{Mutex, OnceCell};

use crate::clients::Clients;
use crate::control::Totals;
use crate::docs::{Held, InstallationDoc, SessionDoc, TenantDoc};
use crate::ending::day;
use crate::refusal::{Class, Refusal, Stage};
use crate::secrets::{InstallationKeys, TenantSecrets};
use crate::sso::SsoProviders;
use crate::subjects::KnownSubjects;

/// A user as last read.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// What narrows the role, and the id it is stored under.
    pub(crate) custom: Option<(String, Arc<CustomRole>)>,
    pub(crate) enabled: bool,
    /// Whether a provider's word made the account, and says its role.
    pub(crate) by_provider: bool,
    pub(crate) created_ms: i64,
    pub(crate) version: u64,
}

impl User {
    /// The role as it is shown: `refunds (admin)` for a custom one.
    pub(crate) fn role_shown(&self) -> String {
        match &self.custom {
            Some((_, custom)) => format!("{} ({})", custom.name, self.role),
            None => self.role.to_string(),
        }
    }

    /// Whether they are an owner in full, who may act.
    pub(crate) fn owns(&self) -> bool {
        self.role == Role::Owner && self.custom.is_none() && self.enabled
    }
}

/// A session as last read.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// The id of whose it is.
    pub(crate) user: String,
    pub(crate) doc: SessionDoc,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) stepped_up_ms: i64,
    /// When it was last used.
    pub(crate) seen_ms: AtomicI64,
    /// As far as that is written.
    pub(crate) written_ms: AtomicI64,
}

impl Session {
    pub(crate) fn lifetime(&self) -> Lifetime {
        let seen_ms = self.seen_ms.load(Ordering::Relaxed);
        Lifetime { expires_ms: self.expires_ms, seen_ms, stepped_up_ms: self.stepped_up_ms }
    }
}

/// The tenant's own row as last read.
#[derive(Debug)]
pub(crate) struct TenantRecord {
    pub(crate) doc: TenantDoc,
    pub(crate) created_ms: i64,
    pub(crate) version: u64,
}

/// An installation as last read, with what its calls need.
pub(crate) struct Installed {
    pub(crate) installation: Arc<Installation>,
    pub(crate) contract: Arc<Contract>,
    /// The two under the ceiling, for the decision on each call.
    pub(crate) standing: Arc<Standing>,
    pub(crate) created_ms: i64,
    /// Changes of its row that its revision does not count.
    pub(crate) notes: u64,
    /// A version that waits to be accepted.
    pub(crate) held: Option<Held>,
    /// Its keys that have a live version.
    pub(crate) keys: InstallationKeys,
    /// Finds every secret of the tenant in what its calls pass on.
    pub(crate) guard: Arc<LeakGuard>,
    /// What its calls used so far.
    pub(crate) totals: Arc<Totals>,
    /// Connections that its calls leave for the next one, while it stands like this.
    pub(crate) kept: Arc<Kept>,
    /// Compiled at the first call.
    pub(crate) plugin: OnceCell<Arc<Plugin>>,
}

impl Installed {
    /// Granted keys that have no value yet, in the contract's order.
    pub(crate) fn needs_keys(&self) -> Vec<String> {
        let granted = |name: &&String| self.installation.grant.keys.contains(*name);
        let names = self.contract.keys.iter().map(|key| &key.name);
        names.filter(granted).filter(|name| !self.keys.names.contains(name)).cloned().collect()
    }

    /// The revision of its row, which counts every change.
    pub(crate) fn row_revision(&self) -> u64 {
        self.installation.revision + self.notes
    }

    /// What is stored of it, to be changed and stored anew.
    pub(crate) fn doc(&self) -> InstallationDoc {
        let Installation { name, plugin, digest, grant, config, state, .. } = self.installation.as_ref().clone();
        InstallationDoc { name, plugin, digest, grant, config, state, notes: self.notes, held: self.held.clone() }
    }
}

#[derive(Default)]
struct Known {
    /// Grows with every change told.
    changes: u64,
    record: Option<Arc<TenantRecord>>,
    secrets: Option<Arc<TenantSecrets>>,
    users: HashMap<String, Arc<User>>,
    /// All at once, so that whether there is one of a name takes the same time to tell.
    clients: Option<Arc<Clients>>,
    /// All at once: there are few.
    sso_providers: Option<SsoProviders>,
    /// By the blind index of the token.
    sessions: HashMap<[u8; 32], Arc<Session>>,
    /// By name and by id.
    installations: HashMap<String, Arc<Installed>>,
}

/// One tenant, open for business: its vault, and what was last read of it.
pub(crate) struct TenantState {
    pub(crate) id: TenantId,
    pub(crate) vault: TenantVault,
    /// Held by an administrative act from its first look to its commit, so that two of them never decide on the same
    /// state, such as both of two owners disabling each other.
    pub(crate) acts: Mutex<()>,
    /// Whom its calls are about.
    pub(crate) subjects: KnownSubjects,
    /// How many connections its installations may keep.
    pub(crate) share: Share,
    known: RwLock<Known>,
    /// Until when its owners may take out what is theirs, in milliseconds since 1970; 0 while it lives on.
    cancelled: AtomicI64,
}

/// A point in the sequence of changes, taken before reading a row that is to be kept.
#[derive(Clone, Copy)]
pub(crate) struct Mark(u64);

impl TenantState {
    pub(crate) fn new(id: TenantId, vault: TenantVault) -> Self {
        let (acts, subjects, known) = (Mutex::default(), KnownSubjects::default(), RwLock::default());
        Self { id, vault, acts, subjects, share: Share::default(), known, cancelled: AtomicI64::new(0) }
    }

    /// Whether it is cancelled, from now on: until when its owners may take out what is theirs.
    pub(crate) fn set_cancelled(&self, until_ms: Option<i64>) {
        self.cancelled.store(until_ms.unwrap_or(0), Ordering::Release);
    }

    /// Until when its owners may take out what is theirs, if it is cancelled.
    pub(crate) fn cancelled(&self) -> Option<i64> {
        Some(self.cancelled.load(Ordering::Acquire)).filter(|until_ms| *until_ms != 0)
    }

    /// Refuses what runs or changes anything, when the tenant is cancelled.
    pub(crate) fn lives(&self) -> Result<(), Refusal> {
        let Some(until_ms) = self.cancelled() else { return Ok(()) };
        Err(Refusal::new(
            Class::Denied,
            Stage::Resolve,
            "tenant.cancelled",
            format!(
                "the tenant is cancelled: until {} its owners read and export, and nothing else happens",
                day(until_ms)
            ),
            "opsiq audit export, by an owner; opsiq tenant restore, by the operator, takes it back",
        ))
    }

    /// The point to keep later readings by.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.read().changes)
    }

    /// Something of the tenant changed: everything read before is forgotten, and no connection outlives it.
    pub(crate) fn changed(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let changes = known.changes + 1;
        let forgotten = std::mem::replace(&mut *known, Known { changes, ..Known::default() });
        drop(known);
        for installed in forgotten.installations.values() {
            installed.kept.end();
        }
    }

    /// Closes the connections that are kept for installations that `covered` says yes to.
    pub(crate) fn close_kept(&self, covered: impl Fn(&Installation) -> bool) {
        for installed in self.read().installations.values().filter(|installed| covered(&installed.installation)) {
            installed.kept.close();
        }
    }

    pub(crate) fn record(&self) -> Option<Arc<TenantRecord>> {
        self.read().record.clone()
    }

    pub(crate) fn secrets(&self) -> Option<Arc<TenantSecrets>> {
        self.read().secrets.clone()
    }

    pub(crate) fn user(&self, name: &str) -> Option<Arc<User>> {
        self.read().users.get(name).cloned()
    }

    pub(crate) fn clients(&self) -> Option<Arc<Clients>> {
        self.read().clients.clone()
    }

    pub(crate) fn keep_clients(&self, mark: Mark, clients: &Arc<Clients>) {
        self.keep(mark, |known| known.clients = Some(clients.clone()));
    }

    pub(crate) fn sso_providers(&self) -> Option<SsoProviders> {
        self.read().sso_providers.clone()
    }

    pub(crate) fn keep_sso_providers(&self, mark: Mark, providers: &SsoProviders) {
        self.keep(mark, |known| known.sso_providers = Some(providers.clone()));
    }

    /// Forgets one session, to read it again.
    pub(crate) fn forget_session(&self, index: &[u8; 32]) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).sessions.remove(index);
    }

    pub(crate) fn session(&self, index: &[u8; 32]) -> Option<Arc<Session>> {
        self.read().sessions.get(index).cloned()
    }

    pub(crate) fn installed(&self, name_or_id: &str) -> Option<Arc<Installed>> {
        self.read().installations.get(name_or_id).cloned()
    }

    pub(crate) fn keep_record(&self, mark: Mark, record: &Arc<TenantRecord>) {
        self.keep(mark, |known| known.record = Some(record.clone()));
    }

    pub(crate) fn keep_secrets(&self, mark: Mark, secrets: &Arc<TenantSecrets>) {
        self.keep(mark, |known| known.secrets = Some(secrets.clone()));
    }

    pub(crate) fn keep_user(&self, mark: Mark, user: &Arc<User>) {
        self.keep(mark, |known| {
            known.users.insert(user.name.clone(), user.clone());
        });
    }

    pub(crate) fn keep_session(&self, mark: Mark, index: [u8; 32], session: &Arc<Session>) {
        self.keep(mark, |known| {
            known.sessions.insert(index, session.clone());
        });
    }

    pub(crate) fn keep_installed(&self, mark: Mark, installed: &Arc<Installed>) {
        self.keep(mark, |known| {
            let installation = &installed.installation;
            known.installations.insert(installation.name.clone(), installed.clone());
            known.installations.insert(installation.id.to_string(), installed.clone());
        });
    }

    fn keep(&self, mark: Mark, keep: impl FnOnce(&mut Known)) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.changes == mark.0 {
            keep(&mut known);
        }
    }

    /// What is remembered stays whole when a thread panics: each change of it is one insertion.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use opsiq_vault::{RootKey, Vault};

    use super::*;

    fn tenant() -> TenantState {
        let (vault, _) = Vault::create(&RootKey::generate());
        let id: TenantId = "acme".parse().unwrap();
        let key = vault.new_tenant_key(&id);
        let vault = vault.tenant(&id, &[key]).unwrap();
        TenantState::new(id, vault)
    }

    fn user() -> Arc<User> {
        let (id, name) = ("1".to_owned(), "alice".to_owned());
        let (role, custom, by_provider) = (Role::Owner, None, false);
        Arc::new(User { id, name, role, custom, enabled: true, by_provider, created_ms: 0, version: 1 })
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let tenant = tenant();
        let before = tenant.mark();
        tenant.changed();
        tenant.keep_user(before, &user());
        assert!(tenant.user("alice").is_none());
        tenant.keep_user(tenant.mark(), &user());
        assert!(tenant.user("alice").is_some());
        tenant.changed();
        assert!(tenant.user("alice").is_none());
    }
}
