//! What runs plugins: the sandbox and the way out. Made at the first need, since most administrative commands never run
//! one; or beside the opening of a host whose opener says that it will.

use std::sync::Arc;
use std::time::Duration;

use opsiq_contract::{Axis, Ceiling, LimitsCeiling};
use opsiq_egress::{Egress, EgressConfig};
use opsiq_sandbox::{CompiledCache, Compiler, Sandbox, SandboxConfig};
use opsiq_store::Store;
use opsiq_vault::Vault;
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};

/// The sandbox and the way out.
pub(crate) struct Engine {
    pub(crate) sandbox: Sandbox,
    pub(crate) egress: Arc<Egress>,
}

/// What an engine is made with.
pub(crate) struct EnginePlan {
    sandbox: SandboxConfig,
    egress: EgressConfig,
}

/// An engine that is being made on a thread of its own.
pub(crate) struct EngineBegun(JoinHandle<Result<Engine, Refusal>>);

impl EnginePlan {
    /// As the operator says it.
    pub(crate) fn new(
        store: &Store,
        vault: &Vault,
        settings: &Settings,
        ceiling: &Ceiling,
        compiler: &Compiler,
    ) -> Result<Self, Refusal> {
        let dir = store.compiled().map_err(|error| errors::store(Stage::Run, &error))?;
        let sandbox = SandboxConfig {
            compiled: Some(CompiledCache { dir, mac_key: vault.derive("compiled code") }),
            // A slot of the pool for every call that may run at once.
            slots: u32::try_from(settings.fairness.host().concurrency).unwrap_or(u32::MAX),
            fairness: settings.fairness.clone(),
            component_bytes: usize::try_from(ceiling.component_bytes).unwrap_or(usize::MAX),
            compiler: compiler.clone(),
            compile_time: Duration::from_millis(ceiling.compile_ms),
            compile_memory: ceiling.compile_memory_bytes,
            always_fuel: names_fuel(&ceiling.limits) || ceiling.plugins.values().any(|own| names_fuel(&own.limits)),
            ..SandboxConfig::default()
        };
        Ok(Self { sandbox, egress: settings.outside.config()? })
    }

    /// Makes it, which takes some milliseconds of a processor.
    pub(crate) fn make(self) -> Result<Engine, Refusal> {
        let failed = |message: String| {
            Refusal::new(Class::Unavailable, Stage::Run, "engine.unavailable", message, "see opsiq doctor")
        };
        let sandbox = Sandbox::new(self.sandbox).map_err(|error| failed(error.to_string()))?;
        let egress = Egress::new(self.egress).map_err(|error| failed(error.to_string()))?;
        Ok(Engine { sandbox, egress: Arc::new(egress) })
    }

    /// Begins to make it.
    pub(crate) fn begin(self) -> EngineBegun {
        EngineBegun(tokio::task::spawn_blocking(|| self.make()))
    }
}

impl EngineBegun {
    /// The engine, once it is made.
    pub(crate) async fn ended(self) -> Result<Engine, Refusal> {
        self.0.await.map_err(|_| errors::internal(Stage::Run, "the engine was not made"))?
    }
}

/// Whether a ceiling limits fuel, which every plugin must then count.
fn names_fuel(limits: &LimitsCeiling) -> bool {
    Axis::named("fuel").is_some_and(|axis| limits.get(axis).is_some())
}
