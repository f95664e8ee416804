//! A host around the sandbox: one plugin installed for one tenant, everything it asks for granted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use opsiq_audit::{AuditError, CheckpointKey, Journal, Log, Permit, Vaults};
use opsiq_contract::{
    AuthorityRequest, Authorized, Caller, CanonicalJson, Ceiling, Contract, Digest, Fairness, Grant, InstallState,
    Installation, InstallationId, Principal, Role, Standing, authority,
};
use opsiq_egress::{Egress, EgressConfig};
use opsiq_sandbox::{
    Capabilities, Compiler, FaultCode, KeySet, Kv, KvEntry, KvError, Live, LoadError, Plugin, Run, RunError, RunReport,
    Sandbox, SandboxConfig,
};
use opsiq_store::Store;
use opsiq_vault::{KeyName, LeakGuard, LeakWatch, RootKey, Secret, TenantVault, Vault};
use tempfile::TempDir;

use crate::guest::Guest;

/// A connector that declares everything. `LIMITS` is replaced.
const CONTRACT: &str = r#"
contract = 1
[plugin]
id = "guest"
version = "0.1.0"
kind = "connector"
title = "Guest"
summary = "Tries things."
publisher = "tests"

[[key]]
name = "signing"
purpose = "Signs."
use = ["sign", "verify"]

[[key]]
name = "chain"
purpose = "Derives."
use = ["sign", "derive"]
derive = { depth = 2, prefix = "AWS4" }

[[key]]
name = "injected"
purpose = "Goes into a header."
use = ["inject"]

[[http]]
name = "orders"
methods = ["GET"]
url = "https://orders.example/v1/{id}"
inject = { header = "authorization", value = "Bearer {injected}" }

[[action]]
name = "act"
title = "Act"
effect = "read"
scope = "guest:act"
roles = ["owner", "admin"]
http = ["orders"]
keys = ["signing", "chain"]
[action.params]
type = "object"
[action.result]
type = "object"

[[audit]]
event = "guest.acted"

[kv]
max = "1KiB"

LIMITS
"#;

/// The contract with `limits` as its `[limits]`.
pub(crate) fn contract(limits: &str) -> Contract {
    let limits = if limits.is_empty() { String::new() } else { format!("[limits]\n{limits}") };
    Contract::parse_toml(&CONTRACT.replace("LIMITS", &limits)).unwrap()
}

/// The value of the key that is injected, which no plugin may store or send.
pub(crate) const NEVER_SEEN: &str = "never seen";

/// A sandbox of few slots.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(config()).unwrap()
}

pub(crate) fn config() -> SandboxConfig {
    let fairness = Fairness::parse_toml("[fairness.host]\nqueue-wait = \"200ms\"\n").unwrap();
    SandboxConfig { slots: 8, fairness, compiler: Compiler::InProcess, ..Default::default() }
}

/// One plugin, installed.
pub(crate) struct Installed {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) contract: Contract,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) ceiling: Ceiling,
    leave: Leave,
}

impl Installed {
    /// `guest` under a contract with `limits`, which the operator's ceiling allows whatever they are.
    pub(crate) async fn new(guest: &Guest, limits: &str) -> Self {
        Self::load(Arc::new(sandbox()), guest, limits).await.unwrap()
    }

    pub(crate) async fn load(sandbox: Arc<Sandbox>, guest: &Guest, limits: &str) -> Result<Self, LoadError> {
        let contract = contract(limits);
        let bytes = guest.build();
        let digest = Digest::of(&bytes);
        let plugin = sandbox.load(&digest, &contract, move || Ok::<_, String>(bytes)).await?;
        let ceiling = Ceiling { limits: contract.limits.clone(), ..Ceiling::default() };
        Ok(Self { sandbox, contract, plugin, kv: Arc::new(Memory::default()), ceiling, leave: Leave::new().await })
    }

    pub(crate) fn with_kv(mut self, kv: impl Kv + 'static) -> Self {
        self.kv = Arc::new(kv);
        self
    }

    /// The authority for one call of `act`.
    pub(crate) fn authorized(&self, invocation: &str) -> Authorized {
        let digest = *self.plugin.digest();
        let config = serde_json::json!({});
        let installation = Installation {
            tenant: "acme".parse().unwrap(),
            id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            name: "guest".to_owned(),
            plugin: self.contract.plugin_ref(),
            digest,
            state: InstallState::Enabled,
            revision: 1,
            grant: Grant::all(&self.contract, digest, &config).unwrap(),
            config,
        };
        let caller =
            Caller { principal: Principal::User { name: "alice".to_owned() }, role: Role::Owner, scopes: None, custom: None };
        let standing =
            Standing::new(Arc::new(installation), Arc::new(self.contract.clone()), Arc::new(self.ceiling.clone()));
        let request = AuthorityRequest {
            standing: &Arc::new(standing),
            caller: &Arc::new(caller),
            action: "act",
            invocation: invocation.parse().unwrap(),
        };
        authority(&request).outcome.unwrap()
    }

    /// Leave to run, as the audit log gives it.
    pub(crate) fn permit(&self, authorized: &Authorized) -> Permit {
        let (permit, open) = self.leave.journal.read_permit(authorized).unwrap();
        // The duty to record the end is the gate's, which is not here.
        std::mem::forget(open);
        permit
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        let keys = KeySet::new()
            .with("signing", vec![Secret::from(b"new".to_vec()), Secret::from(b"old".to_vec())])
            .with("chain", vec![Secret::from(b"root".to_vec())])
            .with("injected", vec![Secret::from(NEVER_SEEN.as_bytes().to_vec())]);
        let installation: InstallationId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let key = KeyName { installation: installation.clone(), key: "injected".to_owned() };
        let guard = LeakGuard::new([(key, &Secret::from(NEVER_SEEN.as_bytes().to_vec()))]);
        let leaks = Arc::new(LeakWatch::new(Arc::new(guard), installation));
        Capabilities { keys: Arc::new(keys), kv: Arc::clone(&self.kv), egress: egress(), leaks }
    }

    /// Runs `act` once.
    pub(crate) async fn run(&self) -> RunReport {
        self.run_with("{}").await
    }

    pub(crate) async fn run_with(&self, params: &str) -> RunReport {
        self.run_seen(params, Live::new()).await
    }

    /// Runs `act` where others see and stop it.
    pub(crate) async fn run_seen(&self, params: &str, live: Arc<Live>) -> RunReport {
        let authorized = self.authorized(INVOCATION);
        let permit = self.permit(&authorized);
        let params = CanonicalJson::parse(params.as_bytes(), 8).unwrap();
        let place = self.sandbox.enter(&self.plugin, &authorized, &live).await.unwrap();
        let capabilities = self.capabilities();
        let run = Run { authorized, place, permit, params, idempotency_key: None, capabilities, live };
        self.sandbox.run(&self.plugin, run).await
    }

    /// Runs `act` and expects it to be ended.
    pub(crate) async fn fault(&self) -> FaultCode {
        fault(&self.run().await)
    }
}

pub(crate) const INVOCATION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// The fault a report ends in.
pub(crate) fn fault(report: &RunReport) -> FaultCode {
    match &report.outcome {
        Err(RunError::Fault(fault)) => fault.code,
        other => panic!("expected a fault, got {other:?}"),
    }
}

/// Storage in memory.
#[derive(Default)]
pub(crate) struct Memory {
    entries: Mutex<HashMap<String, KvEntry>>,
}

#[async_trait]
impl Kv for Memory {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        Ok(self.entries.lock().unwrap().get(key).cloned())
    }

    async fn set(&self, key: &str, value: Vec<u8>, expected: Option<u64>, max_total: u64) -> Result<u64, KvError> {
        let mut entries = self.entries.lock().unwrap();
        let version = entries.get(key).map_or(0, |entry| entry.version);
        if expected.is_some_and(|expected| expected != version) {
            return Err(KvError::Conflict(version));
        }
        if (key.len() + value.len()) as u64 > max_total {
            return Err(KvError::Full(format!("[kv] max is {max_total} bytes")));
        }
        entries.insert(key.to_owned(), KvEntry { value, version: version + 1 });
        Ok(version + 1)
    }

    async fn delete(&self, key: &str, _: Option<u64>) -> Result<(), KvError> {
        self.entries.lock().unwrap().remove(key);
        Ok(())
    }

    async fn keys(&self, prefix: &str, _: Option<&str>, limit: usize) -> Result<Vec<String>, KvError> {
        let entries = self.entries.lock().unwrap();
        Ok(entries.keys().filter(|key| key.starts_with(prefix)).take(limit).cloned().collect())
    }
}

fn egress() -> Arc<Egress> {
    Arc::new(Egress::new(EgressConfig::system().unwrap()).unwrap())
}

/// The host's own vault and no other: no entry is written here.
struct HostVault(TenantVault);

impl Vaults for HostVault {
    fn vault<'a>(&'a self, log: &'a Log) -> BoxFuture<'a, Result<TenantVault, AuditError>> {
        let vault = match log {
            Log::Host => Ok(self.0.clone()),
            Log::Tenant(_) => Err(AuditError::Unavailable("no tenants here".into())),
        };
        std::future::ready(vault).boxed()
    }
}

/// The log that gives leave to run, in a folder of its own.
struct Leave {
    journal: Journal,
    _folder: TempDir,
}

impl Leave {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Store::init(&data).await.unwrap();
        let store = Arc::new(Store::open(&data).await.unwrap());
        let vault = Arc::new(HostVault(Vault::create(&RootKey::generate()).0.host()));
        let journal = Journal::start(store, vault, CheckpointKey::from_seed(&[7; 32])).await.unwrap();
        Self { journal, _folder: folder }
    }
}
