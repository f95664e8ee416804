//! The engine, its linkers and the plugins loaded into it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use opsiq_contract::{Contract, Digest};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::admission::Admission;
use crate::bindings::opsiq::plugin as wit;
use crate::config::SandboxConfig;
use crate::engine;
use crate::plugin::{LoadError, Plugin, limits_wanted};
use crate::state::State;
use crate::stop::{Selector, StopBoard};
use crate::ticker::Ticker;
use crate::wasi;

/// Compilations at once: each may take hundreds of megabytes.
const COMPILERS: usize = 1;
/// Notes kept.
const NOTED: usize = 64;

/// One engine with all that is linked to it. A second one exists only where fuel is counted, because that changes
/// every instruction's code.
pub(crate) struct Lane {
    pub(crate) engine: Engine,
    /// What a plugin of kind `action` may import.
    pub(crate) action: Linker<State>,
    /// What a connector may import.
    pub(crate) connector: Linker<State>,
    /// What a component made elsewhere may import; made for the first of them.
    foreign: OnceLock<Linker<State>>,
    pub(crate) ticker: Ticker,
    pub(crate) fuel: bool,
}

impl Lane {
    fn new(config: &SandboxConfig, fuel: bool) -> Result<Self, SandboxError> {
        let engine =
            Engine::new(&engine::settings(config, fuel)).map_err(|e| SandboxError::Engine(format!("{e:#}")))?;
        let (action, connector) = linkers(&engine).map_err(|e| SandboxError::Engine(format!("{e:#}")))?;
        let ticker = Ticker::start(engine.weak()).map_err(SandboxError::Thread)?;
        Ok(Self { engine, action, connector, foreign: OnceLock::new(), ticker, fuel })
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

/// The linkers of the two worlds. What a world lacks cannot be linked, whatever a contract says.
fn linkers(engine: &Engine) -> wasmtime::Result<(Linker<State>, Linker<State>)> {
    let mut action = Linker::new(engine);
    wit::types::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::context::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::keys::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::audit::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::log::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::clock::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    wit::random::add_to_linker::<State, HasSelf<State>>(&mut action, |state| state)?;
    let mut connector = action.clone();
    wit::http::add_to_linker::<State, HasSelf<State>>(&mut connector, |state| state)?;
    wit::kv::add_to_linker::<State, HasSelf<State>>(&mut connector, |state| state)?;
    Ok((action, connector))
}

/// Runs plugins. One for the whole host.
pub struct Sandbox {
    pub(crate) config: SandboxConfig,
    plain: Arc<Lane>,
    /// Made for the first plugin that needs it.
    fuelled: Mutex<Option<Arc<Lane>>>,
    plugins: RwLock<HashMap<Digest, Arc<Plugin>>>,
    loading: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) compilers: Arc<tokio::sync::Semaphore>,
    /// What went wrong while plugins were loaded, without refusing them.
    noted: Mutex<Vec<String>>,
    pub(crate) admission: Admission,
    pub(crate) stops: StopBoard,
    pub(crate) started: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

impl Sandbox {
    /// Builds the engine: its pool, its linkers and its ticking thread.
    ///
    /// # Errors
    /// When the machine does not allow the pool (address space), or a thread cannot be started.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let plain = Arc::new(Lane::new(&config, false)?);
        Ok(Self {
            plain,
            fuelled: Mutex::default(),
            plugins: RwLock::default(),
            loading: Mutex::default(),
            compilers: Arc::new(tokio::sync::Semaphore::new(COMPILERS)),
            noted: Mutex::default(),
            admission: Admission::new(&config),
            stops: StopBoard::new(),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
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

    pub(crate) fn note(&self, sentence: String) {
        let mut noted = lock(&self.noted);
        if noted.len() < NOTED {
            noted.push(sentence);
        }
    }

    /// The settings of the engine, for measuring it bare.
    pub fn engine_config(config: &SandboxConfig) -> wasmtime::Config {
        engine::settings(config, false)
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
        let lane = self.lane(limits_wanted(contract).fuel.is_some() || self.config.always_fuel)?;
        let plugin = Arc::new(self.make(lane, digest, contract, bytes).await?);
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

    /// The kill switch: ends the running calls that `selector` selects, each with the fault `stopped`, at the latest
    /// with the next tick of the guest or at once while the host waits for it. Calls still
    /// waiting for a slot do not begin; calls made later are not touched.
    pub fn stop(&self, selector: Selector) {
        self.stops.stop(selector);
    }

    /// Calls so far and now.
    pub fn stats(&self) -> Stats {
        let fuelled = lock(&self.fuelled).as_ref().map_or(0, |lane| lane.ticker.count());
        Stats {
            running: (self.plain.ticker.count() + fuelled) as u64,
            started: self.started.load(Ordering::Relaxed),
            finished: self.finished.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
        }
    }

    fn lane(&self, fuel: bool) -> Result<Arc<Lane>, SandboxError> {
        if !fuel {
            return Ok(Arc::clone(&self.plain));
        }
        let mut fuelled = lock(&self.fuelled);
        if let Some(lane) = &*fuelled {
            return Ok(Arc::clone(lane));
        }
        let lane = Arc::new(Lane::new(&self.config, true)?);
        *fuelled = Some(Arc::clone(&lane));
        Ok(lane)
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
