//! What every act reaches: store, vault, journal, the operator's ceiling, and what is remembered of each tenant.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use opsiq_audit::{AuditError, Journal, Log, Vaults};
use opsiq_contract::{Ceiling, Contract, Digest, Installation, InstallationId, InvocationId, TenantId, component};
use opsiq_egress::Egress;
use opsiq_sandbox::Compiler;
use opsiq_signing::{Reading, Watch};
use opsiq_store::{Store, StoreError};
use opsiq_vault::{KeyId, Secret, SubjectKey, TenantVault, Vault};
use tokio::sync::{Mutex, OnceCell};

use crate::backup::BackupsHere;
use crate::config::Settings;
use crate::control::{LiveCalls, Meters, Quarantines};
use crate::door::Window;
use crate::drain::Running;
use crate::ending::Erased;
use crate::engine::{Engine, EngineBegun, EnginePlan};
use crate::errors;
use crate::floods::Floods;
use crate::host::Interrupted;
use crate::identity::Identity;
use crate::refusal::{Class, Refusal, Stage};
use crate::rollback::Faults;
use crate::root::{NextRoot, Roots};
use crate::shield::{Guards, Lists};
use crate::state::TenantState;

/// The tenants of this host, each with its open vault.
pub(crate) struct TenantMap {
    host: TenantVault,
    store: Arc<Store>,
    map: RwLock<HashMap<TenantId, Arc<TenantState>>>,
    erased: RwLock<BTreeMap<TenantId, Erased>>,
}

impl TenantMap {
    pub(crate) fn new(host: TenantVault, store: Arc<Store>) -> Self {
        Self { host, store, map: RwLock::default(), erased: RwLock::default() }
    }

    /// Lets go of a tenant whose erasure has begun; its vault is wiped with its last user.
    pub(crate) fn bury(&self, id: &TenantId, erased: Erased) {
        self.erased.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), erased);
        let buried = self.map.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(state) = buried {
            state.changed();
        }
    }

    /// What is left of a tenant whose erasure has begun.
    pub(crate) fn erased(&self, id: &TenantId) -> Option<Erased> {
        self.erased.read().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// All of those, by name.
    pub(crate) fn all_erased(&self) -> Vec<(TenantId, Erased)> {
        let erased = self.erased.read().unwrap_or_else(PoisonError::into_inner);
        erased.iter().map(|(id, erased)| (id.clone(), *erased)).collect()
    }

    /// The vault of what belongs to no tenant.
    pub(crate) fn host(&self) -> &TenantVault {
        &self.host
    }

    pub(crate) fn get(&self, id: &TenantId) -> Option<Arc<TenantState>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn add(&self, id: &TenantId, vault: TenantVault) -> Arc<TenantState> {
        let state = Arc::new(TenantState::new(id.clone(), vault));
        self.map.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), state.clone());
        state
    }

    pub(crate) fn all(&self) -> Vec<Arc<TenantState>> {
        let mut all: Vec<_> = self.map.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
}

impl Vaults for TenantMap {
    fn vault<'a>(&'a self, log: &'a Log) -> BoxFuture<'a, Result<TenantVault, AuditError>> {
        let vault = match log {
            Log::Host => Some(self.host.clone()),
            Log::Tenant(id) => self.get(id).map(|state| state.vault.clone()),
        };
        let vault = vault.ok_or_else(|| AuditError::Unavailable("the tenant's key is not there".into()));
        std::future::ready(vault).boxed()
    }

    fn subject<'a>(&'a self, log: &'a Log, key: KeyId) -> BoxFuture<'a, Result<Option<SubjectKey>, AuditError>> {
        async move {
            let missing = |why: &str| AuditError::Unavailable(why.into());
            let Log::Tenant(id) = log else { return Err(missing("the host's log has no subjects")) };
            let tenant = self.get(id).ok_or_else(|| missing("the tenant's key is not there"))?;
            tenant.subject_by_id(&self.store, key).await.map_err(|refusal| match refusal.class {
                Class::Tampered => AuditError::Subject(key),
                _ => missing(&refusal.message),
            })
        }
        .boxed()
    }
}

/// One opened data directory.
pub(crate) struct Core {
    pub(crate) data: PathBuf,
    /// How root keys are read and kept.
    pub(crate) roots: Roots,
    /// The root key's file, when it came from one.
    pub(crate) root_file: Option<PathBuf>,
    /// The root key to rotate to, when the operator gave one.
    pub(crate) next_root: Option<NextRoot>,
    /// The file that keeps signed checkpoints.
    pub(crate) checkpoints: PathBuf,
    pub(crate) store: Arc<Store>,
    pub(crate) vault: Vault,
    pub(crate) journal: Journal,
    pub(crate) ceiling: Arc<Ceiling>,
    pub(crate) settings: Settings,
    /// Where plugins are compiled.
    pub(crate) compiler: Compiler,
    pub(crate) tenants: Arc<TenantMap>,
    /// Contracts by digest, parsed and compiled once.
    contracts: RwLock<HashMap<Digest, Arc<Contract>>>,
    engine: OnceCell<Engine>,
    /// Being made already, when who opened the host said that it runs plugins.
    engine_begun: Mutex<Option<EngineBegun>>,
    /// What runs now.
    pub(crate) live: Arc<LiveCalls>,
    /// What may not.
    pub(crate) quarantines: Quarantines,
    /// What calls used so far.
    pub(crate) meters: Meters,
    /// Makes the idempotency keys that plugins pass upstream.
    replay: Secret,
    pub(crate) recovered: Vec<Interrupted>,
    /// Tenants whose keys do not open, and why: nothing of theirs is served.
    pub(crate) locked_out: Vec<(TenantId, String)>,
    /// Logs whose owner's rows, or which themselves, are not what was last signed. Tenants among them are not served.
    pub(crate) rolled_back: Faults,
    pub(crate) running: Running,
    /// Refusals that are counted and not yet on record.
    pub(crate) floods: Floods,
    /// Signed requests that were taken.
    pub(crate) window: Arc<Window>,
    /// What signatures' times are held against.
    pub(crate) clock: Watch,
    /// Stands in for the secret of a client that is not there.
    pub(crate) nobodys: Secret,
    /// How people prove who they are.
    pub(crate) identity: Identity,
    /// Held while audit entries past their term are seen to.
    pub(crate) expiring: Mutex<()>,
    /// Backups that this process makes.
    pub(crate) backups: BackupsHere,
    /// What stands before the door.
    pub(crate) guards: Guards,
    /// Held by a rotation of keys from its beginning to its end.
    pub(crate) rotating: Mutex<()>,
    /// Held for the moment in which a key is wrapped and stored, or destroyed.
    pub(crate) wrapping: Mutex<()>,
}

/// The parts of a [`Core`] that opening makes.
pub(crate) struct Parts {
    pub(crate) data: PathBuf,
    pub(crate) roots: Roots,
    pub(crate) root_file: Option<PathBuf>,
    /// The root key to rotate to, when the operator gave one.
    pub(crate) next_root: Option<NextRoot>,
    /// The file that keeps signed checkpoints.
    pub(crate) checkpoints: PathBuf,
    pub(crate) store: Arc<Store>,
    pub(crate) vault: Vault,
    pub(crate) journal: Journal,
    pub(crate) ceiling: Arc<Ceiling>,
    pub(crate) settings: Settings,
    pub(crate) compiler: Compiler,
    pub(crate) engine_begun: Option<EngineBegun>,
    pub(crate) tenants: Arc<TenantMap>,
    pub(crate) quarantines: Quarantines,
    /// Which addresses may come.
    pub(crate) lists: Lists,
    pub(crate) recovered: Vec<Interrupted>,
    /// Tenants whose keys do not open, and why: nothing of theirs is served.
    pub(crate) locked_out: Vec<(TenantId, String)>,
    /// Logs whose owner's rows, or which themselves, are not what was last signed. Tenants among them are not served.
    pub(crate) rolled_back: Faults,
    /// Signed requests that were taken.
    pub(crate) window: Arc<Window>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            data,
            roots,
            root_file,
            next_root,
            checkpoints,
            store,
            vault,
            journal,
            ceiling,
            settings,
            compiler,
            engine_begun,
            tenants,
            quarantines,
            lists,
            recovered,
            locked_out,
            rolled_back,
            window,
        } = parts;
        let nobodys = vault.derive("nobody's secret");
        let replay = vault.derive("upstream idempotency keys");
        Self {
            data,
            roots,
            root_file,
            next_root,
            checkpoints,
            store,
            vault,
            journal,
            ceiling,
            settings,
            compiler,
            tenants,
            contracts: RwLock::default(),
            engine: OnceCell::new(),
            engine_begun: Mutex::new(engine_begun),
            live: Arc::default(),
            quarantines,
            meters: Meters::default(),
            replay,
            recovered,
            locked_out,
            rolled_back,
            running: Running::default(),
            floods: Floods::default(),
            window,
            clock: Watch::new(Reading::now()),
            nobodys,
            identity: Identity::default(),
            expiring: Mutex::default(),
            backups: BackupsHere::default(),
            guards: Guards::new(lists),
            rotating: Mutex::default(),
            wrapping: Mutex::default(),
        }
    }

    /// The sandbox and the way out.
    pub(crate) async fn engine(&self) -> Result<&Engine, Refusal> {
        self.engine
            .get_or_try_init(|| async {
                let begun = self.engine_begun.lock().await.take();
                match begun {
                    Some(begun) => begun.ended().await,
                    None => self.engine_plan()?.make(),
                }
            })
            .await
    }

    fn engine_plan(&self) -> Result<EnginePlan, Refusal> {
        EnginePlan::new(&self.store, &self.vault, &self.settings, &self.ceiling, &self.compiler)
    }

    /// Closes the connections that are kept for installations that `covered` says yes to.
    pub(crate) fn close_kept(&self, covered: impl Fn(&Installation) -> bool + Copy) {
        for tenant in self.tenants.all() {
            tenant.close_kept(covered);
        }
    }

    /// The way out, if anything of it was needed yet.
    pub(crate) fn egress(&self) -> Option<&Egress> {
        self.engine.get().map(|engine| engine.egress.as_ref())
    }

    /// The contract of a registered plugin: read from the component itself, whose digest a grant is bound to, never from
    /// the catalogue's copy, which is there for lists.
    pub(crate) async fn contract(&self, digest: &Digest) -> Result<Arc<Contract>, Refusal> {
        if let Some(contract) = self.contracts.read().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(contract.clone());
        }
        let bytes = self.blob(digest).await?;
        // It was judged when it was registered, and these are the same bytes. What it may import is asked again when it
        // is linked, how large it may be before it is compiled.
        let contract = component::contract_of(&bytes).map_err(|_| {
            Refusal::new(
                Class::Tampered,
                Stage::Resolve,
                "store.damaged",
                format!("the stored file of {digest} holds no contract that is valid"),
                "restore from a backup; see opsiq doctor",
            )
        })?;
        let contract = Arc::new(contract);
        let mut contracts = self.contracts.write().unwrap_or_else(PoisonError::into_inner);
        Ok(contracts.entry(*digest).or_insert(contract).clone())
    }

    /// The bytes of a registered component, held against its digest.
    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Refusal> {
        self.store.blob_fetch(digest).await.map_err(|error| errors::store(Stage::Resolve, &error))?;
        let (store, wanted) = (self.store.clone(), *digest);
        let read = tokio::task::spawn_blocking(move || store.blobs().get(&wanted)).await;
        let read = read.map_err(|_| errors::internal(Stage::Resolve, "reading a plugin file ended abnormally"))?;
        read.map_err(|error| match error {
            StoreError::NotFound { .. } => Refusal::new(
                Class::NotFound,
                Stage::Resolve,
                "plugin.unknown",
                format!("no plugin {digest} is registered"),
                "the operator registers it: opsiq plugin register FILE",
            ),
            error => errors::store(Stage::Resolve, &error),
        })
    }

    /// The key a plugin passes upstream: the same whenever the same call runs again, after a crash too, and unlike that
    /// of any other call, installation or tenant.
    pub(crate) fn upstream_key(&self, tenant: &TenantId, installation: &InstallationId, call: &str) -> String {
        let mut message = Vec::new();
        for part in [tenant.as_str(), installation.as_str(), call] {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part.as_bytes());
        }
        hex::encode(&self.replay.hmac_sha256(&message)[..16])
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A new invocation's id.
pub(crate) fn new_invocation() -> Result<InvocationId, Refusal> {
    let (millis, mut random) = (u64::try_from(now_ms()).unwrap_or(0), [0; 10]);
    opsiq_vault::fresh(&mut random);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    let id = id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).parse();
    id.map_err(|_| errors::internal(Stage::Resolve, "an invocation id could not be made"))
}
