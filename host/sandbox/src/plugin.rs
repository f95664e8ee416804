//! From bytes to something that can run: compiled, its imports and memory held against its contract, linked once.

use std::fmt;
use std::sync::Arc;

use opsiq_contract::component::may_import;
use opsiq_contract::{Contract, Digest, Limits, PluginKind, PluginRef};
use wasmtime::component::Component;

use crate::bindings::ConnectorPre;
use crate::compiled::Found;
use crate::engine;
use crate::sandbox::{Lane, Sandbox, SandboxError};
use crate::state::State;
use crate::wasi::ForeignPre;

/// Bytes of a page of memory; pages of other sizes are not enabled.
const PAGE: u64 = 64 << 10;

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
    /// This host.
    Native(ConnectorPre<State>),
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
            Entry::Native(pre) => pre.instance_pre().component(),
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
        lane: Arc<Lane>,
        digest: &Digest,
        contract: &Contract,
        bytes: F,
    ) -> Result<Plugin, LoadError>
    where
        F: FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
        E: fmt::Display,
    {
        let component = match self.stored(&lane, digest) {
            Some(component) => component,
            None => self.compile(&lane, digest, bytes).await?,
        };
        initial_fits(&component, contract)?;
        imports_fit(&lane, &component, contract)?;
        let entry = linked(&lane, &component, contract).map_err(|error| LoadError::Link(format!("{error:#}")))?;
        let needs = component.resources_required();
        let slots = needs.map_or(1, |needs| engine::slots_taken(needs.num_memories, needs.num_tables));
        Ok(Plugin { digest: *digest, name: contract.plugin_ref(), entry, lane, slots })
    }

    fn stored(&self, lane: &Lane, digest: &Digest) -> Option<Component> {
        match self.config.compiled.as_ref()?.load(&lane.engine, digest, lane.fuel) {
            Found::Code(component) => Some(component),
            Found::Absent => None,
            Found::Refused(why) => {
                tracing::warn!(%digest, why, "compiled code was ignored and is made anew");
                self.note(format!("compiled code of {digest} was ignored and made anew: {why}"));
                None
            }
        }
    }

    async fn compile<F, E>(&self, lane: &Arc<Lane>, digest: &Digest, bytes: F) -> Result<Component, LoadError>
    where
        F: FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
        E: fmt::Display,
    {
        let (most, expected) = (self.config.component_bytes, *digest);
        // Held by the thread itself, which goes on when nobody waits for it any more. The semaphore is never closed.
        let compiler = Arc::clone(&self.compilers).acquire_owned().await.ok();
        let engine = lane.engine.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _compiler = compiler;
            let bytes = bytes().map_err(|error| LoadError::Bytes(error.to_string()))?;
            if bytes.len() > most {
                return Err(LoadError::TooLarge { found: bytes.len(), most });
            }
            let found = Digest::of(&bytes);
            if found != expected {
                return Err(LoadError::Digest { expected, found });
            }
            Component::from_binary(&engine, &bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))
        });
        let component = match tokio::time::timeout(self.config.compile_time, work).await {
            Ok(Ok(result)) => result?,
            Ok(Err(panicked)) => return Err(LoadError::Compile(format!("the compiler failed: {panicked}"))),
            Err(_) => return Err(LoadError::TooSlow(self.config.compile_time.as_millis())),
        };
        if let Some(cache) = &self.config.compiled {
            let saved = component.serialize().map_err(std::io::Error::other);
            if let Err(error) = saved.and_then(|code| cache.save(&lane.engine, digest, lane.fuel, &code)) {
                tracing::warn!(%digest, %error, "compiled code could not be kept; the next start compiles anew");
                self.note(format!("compiled code of {digest} could not be kept: {error}"));
            }
        }
        Ok(component)
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
    linker.instantiate_pre(component).and_then(ConnectorPre::new).map(Entry::Native)
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
