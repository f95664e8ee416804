//! Making, opening and closing a data directory. Opening fails closed (a wrong root key, a file others can read, a
//! configuration with a mistake) and recovers what a crash left behind before the first act is accepted.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opsiq_audit::{CheckpointKey, Draft, Journal, Kind, Log, field};
use opsiq_sandbox::Compiler;
use opsiq_store::{Store, StoreError};
use opsiq_vault::{Secret, Vault};

use crate::actor::Actor;
use crate::approve::Confirmations;
use crate::audit_log::AuditLog;
use crate::backup::Backups;
use crate::catalogue::Catalogue;
use crate::clients::ApiClients;
use crate::config::{self, Settings};
use crate::control::{Control, Quarantines};
use crate::core::{Core, Parts, TenantMap, now_ms};
use crate::databases::{Databases, open_store, store_options};
use crate::docs::TenantDoc;
use crate::door::{Door, Window};
use crate::engine::EnginePlan;
use crate::errors;
use crate::installations::Installations;
use crate::keys::Keys;
use crate::kms::Token;
use crate::master_keys::MasterKeys;
use crate::refusal::{Refusal, Stage};
use crate::retention::Retention;
use crate::roles::Roles;
use crate::rollback::{self, Examined, Rollback};
use crate::root::Roots;
use crate::shield::{Firewall, Lists, Shield};
use crate::sso::Sso;
use crate::subjects::{self, Subjects};
use crate::tenants::Tenants;
use crate::unseal::{Unsealed, unseal};
use crate::users::Users;
use crate::{ending, lease, nodes, recovery, retention};

/// How long closing waits for calls in progress.
const DRAIN: Duration = Duration::from_secs(30);
/// How long closing waits for others to let go of the directory.
const LET_GO: Duration = Duration::from_secs(2);

/// Where the install root key comes from.
#[derive(Clone)]
pub enum RootSource {
    /// A file of mode 0600 holding the key's text. [`Host::init`] writes it when it does not exist.
    File(PathBuf),
    /// The key's text itself, from the environment or a secret manager.
    Text(Arc<Secret>),
}

impl std::fmt::Debug for RootSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text([sealed])"),
        }
    }
}

/// Which data directory, and its root key.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The data directory.
    pub data: PathBuf,
    /// The root key.
    pub root: RootSource,
    /// The databases of a server, when the data directory does not hold them; `None` for what its `opsiq.toml` says.
    pub store: Option<Databases>,
    /// The password of those databases.
    pub store_password: Option<Arc<Secret>>,
    /// The token that opens the root key's file; `None` for what the data directory's `opsiq.toml` says.
    pub token: Option<Token>,
    /// The token's PIN.
    pub token_pin: Option<Arc<Secret>>,
    /// The root key to rotate to, where a new one in the root key's file is not the host's to make: when that is given as
    /// text, or mounted. Given for as long as that rotation is unfinished.
    pub next_root: Option<RootSource>,
    /// What to do about rows or logs that are not those last signed.
    pub rollback: Rollback,
    /// Where plugins are compiled.
    pub compiler: Compiler,
    /// Whether plugins will be run: what runs them is then made while the rest is opened.
    pub runs: bool,
}

impl HostOptions {
    /// `data`, with its root key in `data/root.key`. Plugins are compiled in a child of this process's own binary, which
    /// must hand over to [`compile_child`](crate::compile_child) when it is started as one.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            root: RootSource::File(data.join("root.key")),
            store: None,
            store_password: None,
            token: None,
            token_pin: None,
            next_root: None,
            data,
            rollback: Rollback::Refuse,
            compiler: Compiler::default(),
            runs: false,
        }
    }
}

/// What [`Host::init`] made.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Initialised {
    /// The data directory.
    pub data: PathBuf,
    /// The root key's file when one was written; a copy belongs somewhere else than the data's backups.
    pub root_file: Option<PathBuf>,
    /// The root key's id, which a later wrong key is compared with.
    pub root_id: String,
    /// The operator's commented configuration.
    pub config: PathBuf,
    /// The file that keeps signed checkpoints, outside the database.
    pub checkpoints: PathBuf,
}

/// A call that began and whose end is unknown, because the host stopped while it ran.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Interrupted {
    /// The tenant.
    pub tenant: String,
    /// The invocation, as in its audit log.
    pub invocation: String,
    /// Who called.
    pub actor: String,
    /// Which installation.
    pub installation: String,
    /// Which action.
    pub action: String,
    /// When it began, in milliseconds since 1970; `None` when its entry cannot be read.
    pub time_ms: Option<i64>,
}

/// One opened data directory. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    core: Arc<Core>,
    accepted: Arc<[String]>,
}

impl Host {
    /// Makes a data directory: databases, root key (unless given), key check, commented configuration, host log. A run
    /// that was cut short can be repeated. Where the databases are a server's and in use, the directory is one more node's, and
    /// needs their root key.
    ///
    /// # Errors
    /// When the directory is initialised already, holds other files, or the disk does not serve.
    pub async fn init(options: HostOptions) -> Result<Initialised, Refusal> {
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let section = sections(&options)?;
        let roots = Roots::of(&options)?;
        let joined = Store::init_with(&options.data, &store_options(&options)?).await.map_err(failed)?;
        // A node that joins others has their root key, and makes none.
        let (root, root_file) =
            if joined { (roots.load(&options.root)?.0, None) } else { roots.load_or_make(&options.root)? };
        let store = open_store(&options).await?;
        config::write_default(store.dir(), &section)?;
        let checkpoints = checkpoint_file(&options, &config::load(store.dir())?.1);
        rollback::make_file(&checkpoints)?;
        if !joined {
            let (_, check) = Vault::create(&root);
            store.root_check_insert(&check, now_ms()).await.map_err(failed)?;
        }
        store.close().await;
        let host = Self::open(options.clone()).await?;
        let draft = Draft::new(Kind::Admin)
            .field(field::ACTOR, Actor::operator().principal().to_string())
            .field(field::ACTION, if joined { "node join" } else { "init" })
            .field(field::OUTCOME, "ok")
            .field(field::DETAIL, format!("root key {}", root.id()));
        host.core.record(Log::Host, vec![draft]).await?;
        host.close().await?;
        Ok(Initialised {
            config: options.data.join(config::FILE),
            data: options.data,
            root_file,
            root_id: root.id().to_string(),
            checkpoints,
        })
    }

    /// Opens a data directory, which is then locked, and recovers what a crash left behind: every intent without an
    /// outcome becomes `interrupted`, with the confirmations and idempotency keys that hang on it.
    ///
    /// # Errors
    /// A wrong or missing root key (naming the key id expected and the one found), a directory or key file others may
    /// read, another process in it, a configuration with mistakes (by line), or a disk that does not serve.
    pub async fn open(options: HostOptions) -> Result<Self, Refusal> {
        let store = open_store(&options).await?;
        let Unsealed { vault, root_file, next: next_root, unfinished } = match unseal(&store, &options).await {
            Ok(unsealed) => unsealed,
            Err(refusal) => {
                store.close().await;
                return Err(refusal);
            }
        };
        let store = Arc::new(store);
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let (ceiling, settings) = config::load(store.dir())?;
        let plan = || EnginePlan::new(&store, &vault, &settings, &ceiling, &options.compiler);
        // What hinders it is told when it is needed.
        let engine_begun = if options.runs { plan().ok().map(EnginePlan::begin) } else { None };
        let key = CheckpointKey::derive(&vault);
        let key = key.map_err(|_| errors::internal(Stage::Admin, "the checkpoint key could not be derived"))?;
        let checkpoints = checkpoint_file(&options, &settings);
        let Examined { outside, faults: rolled_back, accepted } =
            rollback::examine(&checkpoints, &options.rollback, &store, &key, &vault.host()).await?;
        let tenants = Arc::new(TenantMap::new(vault.host(), store.clone()));
        let mut locked_out = Vec::new();
        for row in store.tenants::<TenantDoc>().await.map_err(failed)? {
            if ending::goes_on(&store, &vault, &tenants, &row).await? {
                continue;
            }
            if rolled_back.contains_key(&Log::Tenant(row.id.clone())) {
                continue;
            }
            let keys = store.tenant_keys(&row.id).await;
            if keys.as_ref().is_ok_and(|keys| keys.len() > 1) {
                tracing::warn!(tenant = %row.id, "a rotation of its key is unfinished: opsiq keys rotate --tenant {}", row.id);
            }
            let opened = keys
                .map_err(|error| error.to_string())
                .and_then(|keys| vault.tenant(&row.id, &keys).map_err(|error| error.to_string()))
                .and_then(|vault| ending::standing(&vault, &row).map(|until_ms| (vault, until_ms)));
            match opened {
                Ok((opened, until_ms)) => tenants.add(&row.id, opened).set_cancelled(until_ms),
                Err(why) => {
                    tracing::error!(tenant = %row.id, why, "a tenant's keys do not open; nothing of it is served");
                    locked_out.push((row.id, why));
                }
            }
        }
        let closing = Arc::new(recovery::Closing);
        let window = Arc::new(Window::load(&store).await.map_err(failed)?);
        let journal = Journal::start_with(store.clone(), tenants.clone(), key, closing, window.clone(), outside).await;
        let journal = journal.map_err(|error| errors::audit(Stage::Admin, &error))?;
        let recovered = recovery::recover(&journal).await?;
        ending::finish(&journal, &vault, &tenants).await;
        subjects::go_on(&store, &journal, &tenants).await?;
        let quarantines = Quarantines::load(&store, &vault, &tenants).await?;
        let lists = Lists::load(&store).await?;
        let (data, ceiling) = (options.data.clone(), Arc::new(ceiling));
        let parts = Parts {
            data,
            roots: Roots::of(&options)?,
            root_file,
            next_root,
            checkpoints,
            store,
            vault,
            journal,
            ceiling,
            settings,
            compiler: options.compiler.clone(),
            engine_begun,
            tenants,
            quarantines,
            lists,
            recovered,
            locked_out,
            rolled_back,
            window,
        };
        let core = Arc::new(Core::new(parts));
        if let Err(refusal) = core.tend_epochs().await {
            tracing::error!(code = %refusal.code, why = refusal.message, "keys of backups are not destroyed when they should be");
        }
        nodes::watch(&core);
        lease::keep(&core);
        retention::watch(&core);
        if let Rollback::Accept { reason, .. } = &options.rollback {
            core.accept_rollback(&accepted, reason).await?;
        }
        if let Some(next) = unfinished
            && let Err(refusal) = core.finish_root(&next).await
        {
            tracing::warn!(why = %refusal.message, "the rotation of the root key is still unfinished; both keys are needed");
        }
        let accepted =
            accepted.into_iter().flat_map(|(log, told)| told.into_iter().map(move |why| format!("{log}: {why}")));
        Ok(Self { core, accepted: accepted.collect() })
    }

    /// Calls found without an end when this host was opened; their logs now say `interrupted`.
    pub fn recovered(&self) -> &[Interrupted] {
        &self.core.recovered
    }

    /// What was not as last signed and was taken so by [`Rollback::Accept`].
    pub fn accepted(&self) -> &[String] {
        &self.accepted
    }

    /// Waits for calls in progress (30 s at most), signs a checkpoint of every log that grew, and lets go of the
    /// directory.
    ///
    /// # Errors
    /// When the checkpoints could not be written. Nothing recorded is lost by that.
    pub async fn close(self) -> Result<(), Refusal> {
        if !self.core.running.drained(DRAIN).await {
            tracing::warn!("calls are still running; they will be reported as interrupted");
        }
        if let Some(egress) = self.core.egress() {
            egress.close();
        }
        self.core.record_counts().await;
        if self.core.window.nonces().is_waiting()
            && let Err(refusal) = self.core.write_nonces().await
        {
            tracing::warn!(why = %refusal.message, "what nobody was answered yet may be asked again");
        }
        let closed = self.core.journal.close().await.map_err(|error| errors::audit(Stage::Admin, &error));
        let mut store = self.core.store.clone();
        drop(self);
        // The directory is free once nobody else holds the store: the journal's task, and other clones of this host.
        let until = Instant::now() + LET_GO;
        loop {
            match Arc::try_unwrap(store) {
                Ok(last) => {
                    last.close().await;
                    break;
                }
                Err(_) if Instant::now() >= until => break,
                Err(held) => store = held,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        closed
    }

    /// The plugins registered for all tenants.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue { core: self.core.clone() }
    }

    /// Tenants, as the operator sees them.
    pub fn tenants(&self) -> Tenants {
        Tenants { core: self.core.clone() }
    }

    /// The people of the acting user's tenant.
    pub fn users(&self) -> Users {
        Users { core: self.core.clone(), expected: None }
    }

    /// The programs of the acting user's tenant, which sign what they ask for.
    pub fn clients(&self) -> ApiClients {
        ApiClients { core: self.core.clone() }
    }

    /// Where the acting user's tenant lets people sign in beside this host.
    pub fn sso(&self) -> Sso {
        Sso { core: self.core.clone() }
    }

    /// The custom roles of the acting user's tenant.
    pub fn roles(&self) -> Roles {
        Roles { core: self.core.clone() }
    }

    /// The front door: who knocks becomes an [`Actor`], or is refused.
    pub fn door(&self) -> Door {
        Door { core: self.core.clone() }
    }

    /// The installations of the acting user's tenant.
    pub fn installations(&self) -> Installations {
        Installations { core: self.core.clone(), expected: None }
    }

    /// The keys of those installations.
    pub fn keys(&self) -> Keys {
        Keys { core: self.core.clone() }
    }

    /// How long audit logs are kept, and legal holds.
    pub fn retention(&self) -> Retention {
        Retention { core: self.core.clone() }
    }

    /// Backups of everything.
    pub fn backups(&self) -> Backups {
        Backups { core: self.core.clone() }
    }

    /// The root key and the keys of tenants, which the operator rotates.
    pub fn master_keys(&self) -> MasterKeys {
        MasterKeys { core: self.core.clone() }
    }

    /// Whom the calls of the acting user's tenant are about.
    pub fn subjects(&self) -> Subjects {
        Subjects { core: self.core.clone() }
    }

    /// Risky writes that wait for a person.
    pub fn confirmations(&self) -> Confirmations {
        Confirmations { core: self.core.clone() }
    }

    /// Seeing what runs, and stopping it.
    pub fn control(&self) -> Control {
        Control { core: self.core.clone() }
    }

    /// What the front door asks before it opens.
    pub fn shield(&self) -> Shield {
        Shield { core: self.core.clone() }
    }

    /// Lists of addresses that may come, or may not.
    pub fn firewall(&self) -> Firewall {
        Firewall { core: self.core.clone() }
    }

    /// The data directory itself, for a front door that puts a socket into it.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.core.store.dir().as_fd()
    }

    /// The audit log of the acting user's tenant, or the host's own for the operator.
    pub fn audit(&self) -> AuditLog {
        AuditLog { core: self.core.clone() }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

/// Names the directory.
impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("data", &self.core.data).finish_non_exhaustive()
    }
}

/// What the caller says of databases and token, for the operator's file.
pub(crate) fn sections(options: &HostOptions) -> Result<String, Refusal> {
    let store = options.store.as_ref().map(Databases::section).transpose()?;
    let token = options.token.as_ref().map(Token::section);
    Ok([store, token].into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

/// Where this host keeps its checkpoints.
fn checkpoint_file(options: &HostOptions, settings: &Settings) -> PathBuf {
    settings.checkpoints.clone().unwrap_or_else(|| rollback::default_file(&options.data))
}
