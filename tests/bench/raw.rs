//! Plain Wasmtime running the same guest: a fresh store, an instance, one call, all dropped. What it cannot avoid is
//! the floor that `sandbox::run` is compared with.

use wasmtime::component::{Component, InstancePre, Linker, bindgen};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

bindgen!({ path: "../wit/0.1.0", world: "action" });

/// The same exports, called from async code.
mod asynchronous {
    wasmtime::component::bindgen!({ path: "../wit/0.1.0", world: "action", exports: { default: async } });
}

/// The allocators worth telling apart; `Pooled` is the best known setting.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Setting {
    OnDemand,
    PoolDefaults,
    Pooled,
}

fn config(setting: Setting) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    if setting != Setting::OnDemand {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(100).total_core_instances(400).total_memories(200).total_tables(400);
        pool.max_memory_size(64 << 20);
        if setting == Setting::Pooled {
            pool.linear_memory_keep_resident(1 << 20).table_keep_resident(1 << 20);
            pool.pagemap_scan(Enabled::Auto);
        }
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// One engine with the guest ready to be instantiated; imports trap, since the guest calls none of them.
pub(crate) struct Raw {
    engine: Engine,
    pre: InstancePre<()>,
    exports: exports::opsiq::plugin::actions::GuestIndices,
    async_exports: asynchronous::exports::opsiq::plugin::actions::GuestIndices,
}

#[allow(clippy::ptr_arg, reason = "what the generated call takes")]
impl Raw {
    pub(crate) fn new(guest: &[u8], setting: Setting) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config(setting))?;
        let component = Component::new(&engine, guest)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let exports = exports::opsiq::plugin::actions::GuestIndices::new(&pre)?;
        let async_exports = asynchronous::exports::opsiq::plugin::actions::GuestIndices::new(&pre)?;
        Ok(Self { engine, pre, exports, async_exports })
    }

    fn store(&self) -> Store<()> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1 << 40);
        store
    }

    /// Fresh instance, synchronous.
    pub(crate) fn fresh(&self, action: &String, params: &String) -> wasmtime::Result<usize> {
        let mut store = self.store();
        let instance = self.pre.instantiate(&mut store)?;
        let guest = self.exports.load(&mut store, &instance)?;
        let answer = guest.call_invoke(&mut store, action, params)?;
        Ok(answer.map_err(|failure| wasmtime::Error::msg(format!("{failure:?}")))?.len())
    }

    /// Fresh instance on a fiber of its own, as a host that awaits needs it.
    pub(crate) async fn fresh_async(&self, action: &String, params: &String) -> wasmtime::Result<usize> {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await?;
        let guest = self.async_exports.load(&mut store, &instance)?;
        let answer = guest.call_invoke(&mut store, action, params).await?;
        Ok(answer.map_err(|failure| wasmtime::Error::msg(format!("{failure:?}")))?.len())
    }
}
