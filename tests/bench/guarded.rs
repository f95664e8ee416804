//! The same guest through our rooms: `sandbox::run` alone, and the whole gate with its durable audit log.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use opsiq_audit::{AuditError, CheckpointKey, Journal, Log, Vaults};
use opsiq_contract::{
    AuthorityRequest, Authorized, Caller, CanonicalJson, Ceiling, Contract, Grant, InstallState, Installation,
    InvocationId, Principal, Role, Standing, component, decide,
};
use opsiq_egress::{Egress, EgressConfig};
use opsiq_gate::{Actor, Answer, Call, Compiler, Host, HostOptions, InstallRequest, NewTenant};
use opsiq_sandbox::{Capabilities, KeySet, Kv, KvEntry, KvError, Live, Plugin, Run, Sandbox, SandboxConfig};
use opsiq_store::Store;
use opsiq_vault::{LeakGuard, LeakWatch, RootKey, Secret, TenantVault, Vault};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A guest, its action, and parameters for it.
#[derive(Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) action: &'a str,
    pub(crate) params: &'a str,
}

struct OneVault(TenantVault);

impl Vaults for OneVault {
    fn vault<'a>(&'a self, _log: &'a Log) -> BoxFuture<'a, Result<TenantVault, AuditError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// No bench call stores anything.
struct NoStorage;

#[async_trait::async_trait]
impl Kv for NoStorage {
    async fn get(&self, _: &str) -> Result<Option<KvEntry>, KvError> {
        Err(KvError::Unavailable)
    }
    async fn set(&self, _: &str, _: Vec<u8>, _: Option<u64>, _: u64) -> Result<u64, KvError> {
        Err(KvError::Unavailable)
    }
    async fn delete(&self, _: &str, _: Option<u64>) -> Result<(), KvError> {
        Err(KvError::Unavailable)
    }
    async fn keys(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, KvError> {
        Err(KvError::Unavailable)
    }
}

/// The sandbox with what one call of the guest needs.
pub(crate) struct Alone {
    sandbox: Sandbox,
    plugin: Arc<Plugin>,
    contract: Arc<Contract>,
    standing: Arc<Standing>,
    caller: Arc<Caller>,
    invocation: InvocationId,
    params: CanonicalJson,
    keys: Arc<KeySet>,
    kv: Arc<dyn Kv>,
    egress: Arc<Egress>,
    guard: Arc<LeakGuard>,
    journal: Journal,
}

impl Alone {
    /// Opens what it needs in `dir`, an empty directory.
    pub(crate) async fn new(guest: Guest<'_>, dir: &Path) -> Self {
        Self::compiled_by(guest, dir, Compiler::InProcess).await
    }

    /// The same, and says where it is compiled, which may take as long as it wants.
    pub(crate) async fn compiled_by(guest: Guest<'_>, dir: &Path, compiler: Compiler) -> Self {
        let size = guest.bytes.len();
        let admitted = component::admit_within(guest.bytes, size as u64).expect("a component with a contract");
        let (digest, contract) = (admitted.digest, Arc::new(admitted.contract));
        let compile_time = Duration::from_mins(5);
        let config = SandboxConfig { compiler, compile_time, component_bytes: size, ..SandboxConfig::default() };
        let sandbox = Sandbox::new(config).expect("an engine");
        let bytes = guest.bytes.to_vec();
        let plugin = sandbox.load(&digest, &contract, || Ok::<_, std::io::Error>(bytes)).await.expect("it compiles");
        let installation = Installation {
            tenant: "bench".parse().expect("a slug"),
            id: "018f0000-0000-7000-8000-000000000001".parse().expect("a uuid"),
            name: "bench".into(),
            plugin: contract.plugin_ref(),
            digest,
            state: InstallState::Enabled,
            revision: 1,
            grant: Grant::all(&contract, digest, &json!({})).expect("all of it"),
            config: json!({}),
        };
        let (vault, _) = Vault::create(&RootKey::generate());
        Store::init(dir).await.expect("an empty directory");
        let store = Arc::new(Store::open(dir).await.expect("what was just made"));
        let key = CheckpointKey::derive(&vault).expect("a key");
        let journal = Journal::start(store, Arc::new(OneVault(vault.host())), key).await.expect("a log");
        let action = contract.action(guest.action).expect("an action of the contract");
        let params = action.params.check(guest.params.as_bytes(), 64).expect("parameters of the contract");
        let caller = Caller { principal: Principal::User { name: "ada".into() }, role: Role::Owner, scopes: None, custom: None };
        let standing = Standing::new(Arc::new(installation), contract.clone(), Arc::new(Ceiling::default()));
        Self {
            params,
            plugin,
            standing: Arc::new(standing),
            caller: Arc::new(caller),
            invocation: "018f0000-0000-7000-8000-000000000002".parse().expect("a uuid"),
            keys: Arc::new(KeySet::new()),
            guard: Arc::default(),
            kv: Arc::new(NoStorage),
            egress: Arc::new(Egress::new(EgressConfig::system().expect("a resolver")).expect("roots")),
            sandbox,
            journal,
            contract,
        }
    }

    fn authorize(&self, action: &str) -> Authorized {
        let invocation = self.invocation.clone();
        let request = AuthorityRequest { standing: &self.standing, caller: &self.caller, action, invocation };
        decide(&request).expect("an owner may")
    }

    /// The decision alone.
    pub(crate) fn decision(&self, action: &str) -> bool {
        self.authorize(action).needs_intent()
    }

    /// The decision and a place for it, alone.
    pub(crate) async fn place(&self, action: &str) -> bool {
        let authorized = self.authorize(action);
        self.sandbox.enter(&self.plugin, &authorized, &Live::new()).await.is_ok()
    }

    /// One call under a decision and a permit made for it, as the gate makes them.
    pub(crate) async fn run(&self, action: &str) -> usize {
        let authorized = self.authorize(action);
        let (permit, open) = self.journal.read_permit(&authorized).expect("a read");
        // This row has no log: an `Open` that is dropped would write to it.
        std::mem::forget(open);
        let leaks = Arc::new(LeakWatch::new(self.guard.clone(), authorized.installation().clone()));
        let capabilities =
            Capabilities { keys: self.keys.clone(), kv: self.kv.clone(), egress: self.egress.clone(), leaks };
        let params = self.params.clone();
        let live = Live::new();
        let place = self.sandbox.enter(&self.plugin, &authorized, &live).await.expect("room");
        let run = Run { authorized, place, permit, params, idempotency_key: None, capabilities, live };
        self.sandbox.run(&self.plugin, run).await.outcome.expect("an answer").len()
    }

    /// The parameters parsed, checked and made canonical.
    pub(crate) fn schema(&self, guest: Guest<'_>) -> usize {
        let action = self.contract.action(guest.action).expect("an action");
        action.params.check(guest.params.as_bytes(), 64).expect("parameters of the contract").as_str().len()
    }
}

/// A host with one tenant and the guest installed, audited on disk.
pub(crate) struct Whole {
    host: Host,
    actor: Actor,
}

impl Whole {
    /// Makes one in `dir`, which must not exist.
    pub(crate) async fn new(bytes: &[u8], config: Value, dir: &Path) -> Self {
        let options = HostOptions { compiler: Compiler::InProcess, ..HostOptions::new(dir) };
        Host::init(options.clone()).await.expect("a new data directory");
        let host = Host::open(options).await.expect("what was just made");
        let (operator, tenant) = (Actor::operator(), "bench".parse().expect("a slug"));
        let new = NewTenant { id: tenant, title: "Bench".into(), owner: "ada".into() };
        let tenant = host.tenants().create(&operator, new).await.expect("a tenant").id;
        let registered = host.catalogue().register(&operator, bytes.to_vec()).await.expect("a plugin");
        let actor = Actor::user(tenant, "ada");
        let request = InstallRequest {
            name: "bench".into(),
            plugin: registered.digest.to_string(),
            without: vec![],
            confirm: vec![],
            config,
        };
        host.installations().install(&actor, &request).await.expect("an installation");
        for key in &registered.contract.keys {
            let secret = Secret::from(vec![7; 32]);
            host.keys().set(&actor, "bench", &key.name, secret).await.expect("a key");
        }
        Self { host, actor }
    }

    /// `callers` tasks call one after the other until `time` is over; how many calls were answered.
    pub(crate) fn drive(&self, runtime: &Runtime, guest: Guest<'_>, callers: usize, time: Duration) -> u64 {
        let until = Instant::now() + time;
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..callers {
                let (host, actor) = (self.host.clone(), self.actor.clone());
                let (action, params) = (guest.action.to_owned(), guest.params.as_bytes().to_vec());
                tasks.spawn(async move {
                    let mut done = 0_u64;
                    while Instant::now() < until {
                        let call = Call {
                            installation: "bench".into(),
                            action: action.clone(),
                            params: params.clone(),
                            idempotency_key: None,
                        };
                        match host.invoke(&actor, call).await {
                            Ok(Answer::Done(_)) => done += 1,
                            other => panic!("no answer: {other:?}"),
                        }
                    }
                    done
                });
            }
            let mut done = 0;
            while let Some(task) = tasks.join_next().await {
                done += task.expect("a caller");
            }
            done
        })
    }

    /// Ends it in order.
    pub(crate) async fn close(self) {
        self.host.close().await.expect("a durable end");
    }
}
