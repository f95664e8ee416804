//! A host with two tenants and nothing above the log.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{self, BoxFuture, FutureExt as _};
use opsiq_audit::export::Range;
use opsiq_audit::verify::{self, Report};
use opsiq_audit::{AuditError, CheckpointKey, Draft, Filter, Format, Journal, Kind, Log, Op, Vaults, View, field};
use opsiq_contract::{
    AuthorityRequest, Authorized, Caller, Ceiling, Contract, Digest, Grant, InstallState, Installation, InvocationId,
    Principal, Role, Standing, authority,
};
use opsiq_store::{CheckpointRow, Store, StoreError};
use opsiq_vault::{KeyId, RootKey, SubjectKey, TenantVault, Vault};
use serde_json::json;

use crate::engines::databases;

const CONTRACT: &str = r#"contract = 1
plugin = { id = "sum", version = "0.1.0", kind = "action", title = "Sum", summary = "Adds.", publisher = "acme" }
[[action]]
name = "add"
title = "Add"
effect = "read"
scope = "sums:read"
roles = ["support"]
result = { type = "number" }
[[action]]
name = "keep"
title = "Keep"
effect = "write"
scope = "sums:create"
roles = ["support"]
result = { type = "number" }
"#;

const TENANTS: [&str; 2] = ["acme", "other"];

pub(crate) struct Keys {
    vaults: BTreeMap<Log, TenantVault>,
    /// Keys of data subjects by id; `None` for erased ones.
    pub(crate) subjects: Mutex<HashMap<KeyId, Option<SubjectKey>>>,
}

impl Keys {
    /// A new subject's key, known from now on.
    pub(crate) fn subject(&self, log: &Log, whom: u8) -> SubjectKey {
        let (key, _) = self.vaults[log].new_subject_key(&[whom; 32]);
        self.subjects.lock().unwrap().insert(key.id(), Some(key.clone()));
        key
    }
}

impl Vaults for Keys {
    fn vault<'a>(&'a self, log: &'a Log) -> BoxFuture<'a, Result<TenantVault, AuditError>> {
        future::ready(self.vaults.get(log).cloned().ok_or_else(|| AuditError::Range)).boxed()
    }

    fn subject<'a>(&'a self, _: &'a Log, key: KeyId) -> BoxFuture<'a, Result<Option<SubjectKey>, AuditError>> {
        let found = self.subjects.lock().unwrap().get(&key).cloned();
        future::ready(found.ok_or(AuditError::Subject(key))).boxed()
    }
}

/// What stays when a process ends: the keys and the directory.
pub(crate) struct Host {
    pub(crate) keys: Arc<Keys>,
    pub(crate) key: CheckpointKey,
    pub(crate) root: String,
}

pub(crate) fn acme() -> Log {
    Log::Tenant("acme".parse().unwrap())
}

impl Host {
    pub(crate) async fn new(path: &Path) -> Self {
        Store::init_with(path, &databases()).await.unwrap();
        let root = RootKey::generate();
        let (vault, check) = Vault::create(&root);
        let store = reopen(path).await;
        store.root_check_insert(&check, 0).await.unwrap();
        for tenant in TENANTS {
            let tenant = tenant.parse().unwrap();
            store.tenant_key_insert(&tenant, &vault.new_tenant_key(&tenant), 0).await.unwrap();
        }
        store.close().await;
        Self::again(path, &root.to_text()).await
    }

    /// The same host on another node, with a data directory of its own.
    pub(crate) async fn join(&self, path: &Path) -> Self {
        assert!(Store::init_with(path, &databases()).await.unwrap(), "the databases are in use");
        Self::again(path, &self.root).await
    }

    /// The same host in another process, which is given the root key.
    pub(crate) async fn again(path: &Path, root: &str) -> Self {
        let store = reopen(path).await;
        let check = store.root_check().await.unwrap().unwrap();
        let vault = Vault::open(&RootKey::parse(root).unwrap(), &check).unwrap();
        let mut keys = BTreeMap::from([(Log::Host, vault.host())]);
        for tenant in TENANTS {
            let tenant = tenant.parse().unwrap();
            let wrapped = store.tenant_keys(&tenant).await.unwrap();
            keys.insert(Log::Tenant(tenant.clone()), vault.tenant(&tenant, &wrapped).unwrap());
        }
        store.close().await;
        let key = CheckpointKey::derive(&vault).unwrap();
        Self { keys: Arc::new(Keys { vaults: keys, subjects: Mutex::default() }), key, root: root.to_owned() }
    }

    pub(crate) async fn open(&self, path: &Path) -> (Arc<Store>, Journal) {
        let store = Arc::new(reopen(path).await);
        let journal = Journal::start(Arc::clone(&store), self.keys.clone(), self.key.clone()).await.unwrap();
        (store, journal)
    }
}

/// Opens the store as soon as its lock is free. Another test that starts a process shares the lock of this one with it for
/// a moment, between fork and exec.
pub(crate) async fn reopen(path: &Path) -> Store {
    for _ in 0..250 {
        match Store::open_with(path, &databases()).await {
            Err(StoreError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the lock was never given back");
}

pub(crate) fn invocation(number: u64) -> InvocationId {
    format!("01890a5d-ac96-774b-bcce-{number:012x}").parse().unwrap()
}

pub(crate) fn fresh() -> InvocationId {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    invocation(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An authorised call of tenant acme.
pub(crate) fn authorized(action: &str, invocation: InvocationId) -> Authorized {
    let contract = Contract::parse_toml(CONTRACT).unwrap_or_else(|errors| panic!("{errors}"));
    let digest = Digest::of(b"sum");
    let installation = Installation {
        tenant: "acme".parse().unwrap(),
        id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        name: "sums".to_owned(),
        plugin: contract.plugin_ref(),
        digest,
        state: InstallState::Enabled,
        revision: 1,
        grant: Grant::all(&contract, digest, &json!({})).unwrap(),
        config: json!({}),
    };
    let caller = Caller {
        principal: Principal::User { name: "alice".to_owned() },
        role: Role::Support,
        scopes: None,
        custom: None,
    };
    let standing = Standing::new(Arc::new(installation), Arc::new(contract), Arc::new(Ceiling::default()));
    let request = AuthorityRequest { standing: &Arc::new(standing), caller: &Arc::new(caller), action, invocation };
    authority(&request).outcome.unwrap()
}

pub(crate) fn read() -> Authorized {
    authorized("add", fresh())
}

pub(crate) fn write() -> Authorized {
    authorized("keep", fresh())
}

pub(crate) fn outcome() -> Draft {
    Draft::new(Kind::Outcome).field(field::OUTCOME, "ok")
}

pub(crate) fn admin(detail: impl std::fmt::Display) -> Draft {
    Draft::new(Kind::Admin).field(field::ACTOR, "user:owner").field(field::DETAIL, detail.to_string())
}

/// A change that can be found again: a marker of that name.
pub(crate) fn mark(name: &str) -> Op<&'static str> {
    let row = CheckpointRow { log: format!("marker {name}"), size: 1, created_ms: 0, note: String::new() };
    Op::new(move |tx| {
        async move {
            tx.checkpoint_put(&row).await?;
            Ok("marked")
        }
        .boxed()
    })
}

pub(crate) async fn is_marked(store: &Store, name: &str) -> bool {
    store.checkpoint_last(&format!("marker {name}")).await.unwrap().is_some()
}

/// All entries, oldest first; asserts that numbers have no gap and times do not go back.
pub(crate) async fn entries(journal: &Journal, log: &Log) -> Vec<View> {
    let mut entries = Vec::new();
    let mut filter = Filter { limit: 100, ..Filter::default() };
    loop {
        let page = journal.list(log, &filter).await.unwrap();
        entries.extend(page.entries);
        filter.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    entries.reverse();
    assert!(entries.iter().map(|entry| entry.seq).eq(0..entries.len() as u64));
    assert!(entries.is_sorted_by_key(|entry| entry.time_ms));
    entries
}

pub(crate) async fn kinds(journal: &Journal) -> Vec<Kind> {
    entries(journal, &acme()).await.iter().map(|entry| entry.kind).collect()
}

pub(crate) fn text(entry: &View, name: &str) -> String {
    entry.fields.get(name).unwrap_or_else(|| panic!("no {name}")).to_string()
}

pub(crate) async fn export(journal: &Journal, log: &Log, format: Format, range: &Range) -> Vec<u8> {
    let mut bytes = Vec::new();
    journal.export(log, format, range).await.unwrap().write(&mut bytes).await.unwrap();
    bytes
}

/// Exports everything in both formats and verifies it; how many entries there are.
pub(crate) async fn verified(journal: &Journal, log: &Log) -> u64 {
    let mut entries = 0;
    for format in [Format::Jsonl, Format::Csv] {
        let bytes = export(journal, log, format, &Range::ALL).await;
        let report = verify::check(&bytes[..], format, &journal.public_key(log), None).unwrap();
        assert_eq!(report.first_bad, None);
        assert_eq!(report.withheld, 0);
        entries = report.entries;
    }
    entries
}

pub(crate) fn report(bytes: &[u8], format: Format, journal: &Journal, log: &Log) -> Report {
    verify::check(bytes, format, &journal.public_key(log), None).unwrap()
}

/// Waits until something becomes true, for at most five seconds.
pub(crate) async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    for _ in 0..250 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never became true");
}
