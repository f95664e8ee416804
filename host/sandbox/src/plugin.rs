//! From bytes to something that can run: compiled, its imports and memory held against its contract, linked once.

use std::fmt;
use std::io;
use std::sync::Arc;

use opsiq_contract::component::may_import;
use opsiq_contract::{Contract, Digest, Limits, PluginKind, PluginRef};
use wasmtime::component::Component;

use crate::bindings::ConnectorPre;
use crate::bindings::straight::ConnectorPre as StraightPre;
use crate::class::{Class, PAGE};
use crate::compile::Job;
use crate::compiled::{Code, Found};
use crate::sandbox::{Lane, Sandbox, SandboxError};
use crate::state::State;
use crate::straight::Straight;
use crate::wasi::ForeignPre;

/// A loaded plugin: compiled and linked, shared by all its calls and installations. It holds nothing of any call.
pub struct Plugin {
    pub(crate) digest: Digest,
    pub(crate) name: PluginRef,
    pub(crate) entry: Entry,
    pub(crate) lane: Arc<Lane>,
    pub(crate) slots: u32,
}

/// A linked component, by what it was made for.
pub(crate) enum Entry {
    /// This host: for calls that may wait, and for those that run straight through.
    Native(ConnectorPre<State>, Straight),
    /// WASI; run in compatibility mode.
    Foreign(ForeignPre),
}

impl Plugin {
    /// The digest of its component.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Publisher, id and version, as its contract says.
    pub fn name(&self) -> &PluginRef {
        &self.name
    }

    /// The linked component, for measuring it bare.
    pub fn component(&self) -> &Component {
        match &self.entry {
            Entry::Native(pre, _) => pre.instance_pre().component(),
            Entry::Foreign(pre) => pre.component(),
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Why a plugin was not loaded. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Its bytes could not be had.
    #[error("the component could not be read: {0}")]
    Bytes(String),
    /// Its bytes are not those that were registered.
    #[error("the component was changed: {found} where {expected} was registered")]
    Digest {
        /// What was registered.
        expected: Digest,
        /// What was found.
        found: Digest,
    },
    /// It is larger than the sandbox compiles.
    #[error("the component has {found} bytes; {most} are allowed")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// Compiling took longer than allowed.
    #[error("compiling took longer than {0} ms")]
    TooSlow(u128),
    /// Compiling took more memory than allowed, in bytes.
    #[error("compiling took more memory than {0} bytes")]
    TooMuchMemory(u64),
    /// The compiler did not survive it.
    #[error("the compiler ended with {0} while it compiled the component")]
    Crashed(String),
    /// There is no compiler: its process cannot be started, confined or believed.
    #[error("the compiler is not available: {0}")]
    Compiler(String),
    /// It is no component this engine takes.
    #[error("the component does not compile: {0}")]
    Compile(String),
    /// It imports what its kind or contract does not give, or does not export `actions`.
    #[error("the component does not fit its contract: {0}")]
    Link(String),
    /// It declares more memory or tables at the start than its limit.
    #[error("the component starts with {found} {what}; its limit is {most}")]
    Initial {
        /// Bytes of memory, or table elements.
        what: &'static str,
        /// What it declares.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// The engine it needs could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Sandbox {
    pub(crate) async fn make<F, E>(
        &self,
        fuel: bool,
        digest: &Digest,
        contract: &Contract,
        bytes: F,
    ) -> Result<Plugin, LoadError>
    where
        F: FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
        E: fmt::Display,
    {
        let (loaded, fresh) = match self.stored(fuel, digest).await? {
            Some(loaded) => (loaded, false),
            None => (self.compile(fuel, digest, bytes).await?, true),
        };
        let Loaded { lane, component, code } = loaded;
        initial_fits(&component, contract)?;
        imports_fit(&lane, &component, contract)?;
        let entry = linked(&lane, &component, contract).map_err(|error| LoadError::Link(format!("{error:#}")))?;
        let needs = component.resources_required();
        let slots = needs.map_or(1, |needs| lane.class.slots_taken(needs.num_memories, needs.num_tables));
        // What was refused until here leaves nothing behind.
        if fresh {
            self.keep(fuel, digest, code).await?;
        }
        Ok(Plugin { digest: *digest, name: contract.plugin_ref(), entry, lane, slots })
    }

    /// From the compiled code on disk, if what lies there is to be believed.
    async fn stored(&self, fuel: bool, digest: &Digest) -> Result<Option<Loaded>, LoadError> {
        let Some(cache) = self.compiled.clone() else { return Ok(None) };
        let (engine, name) = (self.gauge(fuel)?.hash, *digest);
        let found = tokio::task::spawn_blocking(move || cache.load(&engine, &name, fuel)).await;
        let why = match found.unwrap_or_else(|panicked| Found::Refused(format!("reading it failed: {panicked}"))) {
            Found::Absent => return Ok(None),
            Found::Code(code) => match self.ready(fuel, code).await {
                Ok(loaded) => return Ok(Some(loaded)),
                Err(LoadError::Sandbox(error)) => return Err(error.into()),
                Err(error) => format!("the engine does not take it: {error}"),
            },
            Found::Refused(why) => why,
        };
        tracing::warn!(%digest, why, "compiled code was ignored and is made anew");
        self.note(format!("compiled code of {digest} was ignored and made anew: {why}"));
        Ok(None)
    }

    async fn keep(&self, fuel: bool, digest: &Digest, code: Code) -> Result<(), LoadError> {
        let Some(cache) = self.compiled.clone() else { return Ok(()) };
        let (engine, name) = (self.gauge(fuel)?.hash, *digest);
        let save = tokio::task::spawn_blocking(move || cache.save(&engine, &name, fuel, &code)).await;
        if let Err(error) = save.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            tracing::warn!(%digest, %error, "compiled code could not be kept; the next start compiles anew");
            self.note(format!("compiled code of {digest} could not be kept: {error}"));
        }
        Ok(())
    }

    async fn compile<F, E>(&self, fuel: bool, digest: &Digest, bytes: F) -> Result<Loaded, LoadError>
    where
        F: FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
        E: fmt::Display,
    {
        // One after the other; the semaphore is never closed.
        let _turn = self.compilers.acquire().await.ok();
        let (most, expected) = (self.config.component_bytes, *digest);
        let read = tokio::task::spawn_blocking(move || {
            let bytes = bytes().map_err(|error| LoadError::Bytes(error.to_string()))?;
            if bytes.len() > most {
                return Err(LoadError::TooLarge { found: bytes.len(), most });
            }
            let found = Digest::of(&bytes);
            if found == expected { Ok(bytes) } else { Err(LoadError::Digest { expected, found }) }
        });
        let component = read.await.unwrap_or_else(|panicked| Err(LoadError::Bytes(panicked.to_string())))?;
        let gauge = self.gauge(fuel)?;
        let (time, memory) = (self.config.compile_time, self.config.compile_memory);
        let code = self.config.compiler.compile(Job { component, fuel, engine: gauge.hash, time, memory }).await?;
        let engine = gauge.engine.clone();
        let code = blocking(move || {
            let mut code = Code::compiled(Class::Small, code);
            code.class = Class::of(&code.load(&engine)?);
            Ok(code)
        });
        self.ready(fuel, code.await?).await
    }

    /// Loads code into the engine of its class.
    async fn ready(&self, fuel: bool, code: Code) -> Result<Loaded, LoadError> {
        let lane = self.lane(code.class, fuel)?;
        blocking(move || code.load(&lane.engine).map(|component| Loaded { lane, component, code })).await
    }
}

/// A component in the engine it runs in.
struct Loaded {
    lane: Arc<Lane>,
    component: Component,
    code: Code,
}

/// Does what may take a while where others do not wait for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> wasmtime::Result<T> + Send + 'static,
) -> Result<T, LoadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| LoadError::Compile(format!("{error:#}"))),
        Err(panicked) => Err(LoadError::Compile(panicked.to_string())),
    }
}

/// What a contract asks for, or the defaults, before any ceiling.
pub(crate) fn limits_wanted(contract: &Contract) -> Limits {
    Limits::in_force(&contract.limits, &contract.limits)
}

/// What a component declares at its start is within the limits its contract asks for, so that an oversized one is
/// refused before any call.
fn initial_fits(component: &Component, contract: &Contract) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else {
        return Err(LoadError::Link("it instantiates a module it was given; no plugin is given one".to_owned()));
    };
    let limits = limits_wanted(contract);
    let within = |what, found: Option<u64>, most: u64| match found {
        Some(found) if found > most => Err(LoadError::Initial { what, found, most }),
        _ => Ok(()),
    };
    let memory = needs.max_initial_memory_size.map(|pages| pages.saturating_mul(PAGE));
    within("bytes of memory", memory, limits.memory_bytes)?;
    within("table elements", needs.max_initial_table_size, limits.table_elements)
}

/// The component with the linker of what it was made for.
fn linked(lane: &Lane, component: &Component, contract: &Contract) -> wasmtime::Result<Entry> {
    if let Some(world) = contract.plugin.world {
        let pre = lane.foreign()?.instantiate_pre(component)?;
        return ForeignPre::new(world, pre).map(Entry::Foreign);
    }
    let linker = match contract.plugin.kind {
        PluginKind::Action => &lane.action,
        PluginKind::Connector => &lane.connector,
    };
    let pre = linker.instantiate_pre(component).and_then(ConnectorPre::new)?;
    // Held against its own world above, so the larger one is no matter here.
    let straight = lane.straight.instantiate_pre(component).and_then(StraightPre::new)?;
    Ok(Entry::Native(pre, Straight::new(straight, contract)))
}

/// Every import is one the contract declares: asked again of what was compiled, whoever compiled it.
fn imports_fit(lane: &Lane, component: &Component, contract: &Contract) -> Result<(), LoadError> {
    for (name, _) in component.component_type().imports(&lane.engine) {
        if !may_import(contract, name) {
            return Err(LoadError::Link(format!("it imports `{name}`, which its contract does not declare")));
        }
    }
    Ok(())
}
