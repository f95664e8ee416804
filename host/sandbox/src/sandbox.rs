//! The engine, its linkers and the plugins loaded into it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use opsiq_contract::{Contract, Digest};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::admission::Admission;
use crate::bindings::opsiq::plugin as wit;
use crate::class::Class;
use crate::compiled::{Found, engine_hash};
use crate::config::{CompiledCache, SandboxConfig};
use crate::engine;
use crate::plugin::{LoadError, Plugin, limits_wanted};
use crate::state::State;
use crate::ticker::Ticker;
use crate::wasi;

/// Compilations at once: each may take hundreds of megabytes.
const COMPILERS: usize = 1;
/// Notes kept.
const NOTED: usize = 64;

/// One engine with all that is linked to it: one for each class of plugins, whose pools differ, and others where fuel is
/// counted, because that changes every instruction's code.
pub(crate) struct Lane {
    pub(crate) engine: Engine,
    /// What a plugin of kind `action` may import.
    pub(crate) action: Linker<State>,
    /// What a connector may import.
    pub(crate) connector: Linker<State>,
    /// The same, for calls that run straight through.
    pub(crate) straight: Linker<State>,
    /// What a component made elsewhere may import; made for the first of them.
    foreign: OnceLock<Linker<State>>,
    pub(crate) ticker: Ticker,
    pub(crate) class: Class,
    pub(crate) fuel: bool,
}

/// An engine that runs nothing and has no pool, which reserves no memory: to know what code is bound to, and of which
/// class it is.
pub(crate) struct Gauge {
    pub(crate) engine: Engine,
    pub(crate) hash: [u8; 32],
}

impl Gauge {
    fn new(fuel: bool) -> Result<Self, SandboxError> {
        let engine = Engine::new(&engine::code_settings(fuel)).map_err(|e| SandboxError::Engine(format!("{e:#}")))?;
        Ok(Self { hash: engine_hash(&engine), engine })
    }
}

impl Lane {
    fn new(config: &SandboxConfig, class: Class, fuel: bool) -> Result<Self, SandboxError> {
        let engine =
            Engine::new(&engine::settings(config, class, fuel)).map_err(|e| SandboxError::Engine(format!("{e:#}")))?;
        let [action, connector, straight] = linkers(&engine).map_err(|e| SandboxError::Engine(format!("{e:#}")))?;
        let ticker = Ticker::start(engine.weak()).map_err(SandboxError::Thread)?;
        Ok(Self { engine, action, connector, straight, foreign: OnceLock::new(), ticker, class, fuel })
    }

    /// The compatibility linker.
    pub(crate) fn foreign(&self) -> wasmtime::Result<&Linker<State>> {
        if let Some(linker) = self.foreign.get() {
            return Ok(linker);
        }
        let linker = wasi::linker(&self.engine)?;
        Ok(self.foreign.get_or_init(|| linker))
    }
}

/// The linkers of the two worlds, and of the larger as it is run straight through. What a world lacks cannot be linked,
/// whatever a contract says.
fn linkers(engine: &Engine) -> wasmtime::Result<[Linker<State>; 3]> {
    let mut action = Linker::new(engine);
    wit::types::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::context::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::keys::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::audit::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::log::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::clock::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::random::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    let (mut connector, mut straight) = (action.clone(), action.clone());
    wit::http::add_to_linker::<State, HasSelf<State>>(&mut connector, |state| state)?;
    wit::kv::add_to_linker::<State, HasSelf<State>>(&mut connector, |state| state)?;
    crate::straight::link(&mut straight)?;
    Ok([action, connector, straight])
}

/// Runs plugins. One for the whole host.
pub struct Sandbox {
    pub(crate) config: SandboxConfig,
    /// Of small plugins without fuel, which most are.
    plain: Arc<Lane>,
    /// Each made for the first plugin that needs it.
    others: Mutex<HashMap<(Class, bool), Arc<Lane>>>,
    gauges: [OnceLock<Gauge>; 2],
    plugins: RwLock<HashMap<Digest, Arc<Plugin>>>,
    loading: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) compilers: tokio::sync::Semaphore,
    /// Where compiled code is kept.
    pub(crate) compiled: Option<Arc<CompiledCache>>,
    /// What went wrong while plugins were loaded, without refusing them.
    noted: Mutex<Vec<String>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) ends: Ends,
}

/// How many calls ended, and how. On a line of the cache of its own, since every call writes to it: beside what every call
/// reads, it would be fetched from the other processor each time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Ends {
    pub(crate) finished: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

impl Sandbox {
    /// Builds the engine: its pool, its linkers and its ticking thread.
    ///
    /// # Errors
    /// When the machine does not allow the pool (address space), or a thread cannot be started.
    pub fn new(mut config: SandboxConfig) -> Result<Self, SandboxError> {
        let plain = Arc::new(Lane::new(&config, Class::Small, false)?);
        Ok(Self {
            plain,
            others: Mutex::default(),
            gauges: Default::default(),
            plugins: RwLock::default(),
            loading: Mutex::default(),
            compilers: tokio::sync::Semaphore::new(COMPILERS),
            compiled: config.compiled.take().map(Arc::new),
            noted: Mutex::default(),
            admission: Arc::new(Admission::new(&config.fairness, Class::ALL.map(|class| config.pool(class).slots))),
            ends: Ends::default(),
            config,
        })
    }

    /// What an operator should know about this machine, the pool and the compiled code found so far, a sentence each;
    /// for `opsiq doctor`.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = engine::notes(&self.config);
        notes.extend(lock(&self.noted).iter().cloned());
        notes
    }

    /// Why compiled code on disk of a component is not to be run, if some lies there; the next load makes it anew.
    /// Reads all of it.
    ///
    /// # Errors
    /// When no engine can be made.
    pub fn refused_code(&self, digest: &Digest) -> Result<Option<String>, SandboxError> {
        let Some(cache) = &self.compiled else { return Ok(None) };
        for fuel in [false, true] {
            if let Found::Refused(why) = cache.load(&self.gauge(fuel)?.hash, digest, fuel) {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    pub(crate) fn note(&self, sentence: String) {
        let mut noted = lock(&self.noted);
        if noted.len() < NOTED {
            noted.push(sentence);
        }
    }

    /// The settings of the engine of small plugins, for measuring it bare.
    pub fn engine_config(config: &SandboxConfig) -> wasmtime::Config {
        engine::settings(config, Class::Small, false)
    }

    /// The plugin of `digest`: from memory, else from the compiled code on disk, else compiled from `bytes`, which is
    /// asked for only then and runs on a thread that may block.
    ///
    /// # Errors
    /// Why it cannot be loaded; nothing of it has run.
    pub async fn load<F, E>(&self, digest: &Digest, contract: &Contract, bytes: F) -> Result<Arc<Plugin>, LoadError>
    where
        F: FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
        E: std::fmt::Display,
    {
        if let Some(plugin) = self.loaded(digest) {
            return Ok(plugin);
        }
        let turn = Arc::clone(lock(&self.loading).entry(*digest).or_default());
        let result = {
            let _turn = turn.lock().await;
            match self.loaded(digest) {
                Some(plugin) => Ok(plugin),
                None => self.load_cold(digest, contract, bytes).await,
            }
        };
        let mut loading = lock(&self.loading);
        // Two holders: the map and this call. Others still wait for their turn otherwise.
        if Arc::strong_count(&turn) <= 2 {
            loading.remove(digest);
        }
        result
    }

    async fn load_cold<F, E>(&self, digest: &Digest, contract: &Contract, bytes: F) -> Result<Arc<Plugin>, LoadError>
    where
        F: FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
        E: std::fmt::Display,
    {
        let fuel = limits_wanted(contract).fuel.is_some() || self.config.always_fuel;
        let plugin = Arc::new(self.make(fuel, digest, contract, bytes).await?);
        let mut plugins = self.plugins.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(plugins.entry(*digest).or_insert(plugin)))
    }

    /// The plugin of `digest`, if it is in memory.
    pub fn loaded(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        self.plugins.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// Drops a plugin from memory. Calls that run keep it until they end.
    pub fn forget(&self, digest: &Digest) {
        self.plugins.write().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    /// Calls so far and now.
    pub fn stats(&self) -> Stats {
        let others: usize = lock(&self.others).values().map(|lane| lane.ticker.count()).sum();
        let running = (self.plain.ticker.count() + others) as u64;
        let [finished, cancelled] =
            [&self.ends.finished, &self.ends.cancelled].map(|ended| ended.load(Ordering::Relaxed));
        Stats { running, started: running + finished + cancelled, finished, cancelled }
    }

    /// The engine for plugins of a class, with or without fuel counted.
    pub(crate) fn lane(&self, class: Class, fuel: bool) -> Result<Arc<Lane>, SandboxError> {
        if (class, fuel) == (Class::Small, false) {
            return Ok(Arc::clone(&self.plain));
        }
        let mut others = lock(&self.others);
        if let Some(lane) = others.get(&(class, fuel)) {
            return Ok(Arc::clone(lane));
        }
        let lane = Arc::new(Lane::new(&self.config, class, fuel)?);
        others.insert((class, fuel), Arc::clone(&lane));
        Ok(lane)
    }

    /// What tells of code, with or without fuel counted.
    pub(crate) fn gauge(&self, fuel: bool) -> Result<&Gauge, SandboxError> {
        let gauge = &self.gauges[usize::from(fuel)];
        if let Some(gauge) = gauge.get() {
            return Ok(gauge);
        }
        let new = Gauge::new(fuel)?;
        Ok(gauge.get_or_init(|| new))
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("config", &self.config).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Nothing that could panic runs under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls of a [`Sandbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Running now.
    pub running: u64,
    /// Begun so far.
    pub started: u64,
    /// Ended with a report.
    pub finished: u64,
    /// Dropped by their callers before they ended.
    pub cancelled: u64,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine or its pool could not be made.
    #[error("the engine could not be made: {0}")]
    Engine(String),
    /// The ticking thread could not be started.
    #[error("the epoch thread could not be started: {0}")]
    Thread(std::io::Error),
}
