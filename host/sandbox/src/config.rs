//! What the operator chooses about the engine: how many calls at once, how large, how they share it.

use std::time::Duration;

use cap_std::fs::Dir;
use opsiq_contract::Fairness;
use opsiq_vault::Secret;

use crate::class::Class;
use crate::compile::Compiler;

/// Linear memory a slot of the pool can hold at most, in bytes. A call's own limit is what is enforced; no ceiling
/// can go beyond this.
pub const MEMORY_MAX: usize = 1 << 30;

/// Elements a table of the pool can hold at most. A call's own limit is what is enforced.
pub const TABLE_MAX: usize = 100_000;

/// How the sandbox is built. Made with [`SandboxConfig::default`] and changed field by field.
#[derive(Debug)]
pub struct SandboxConfig {
    /// Small plugins that can run at once, as a compiled guest is: one memory, and a start of few megabytes. Each reserves
    /// 4 GiB of address space, of which only what is used is ever backed.
    pub slots: u32,
    /// How calls share the slots and the processor.
    pub fairness: Fairness,
    /// Bytes of memory and of table kept resident in a free slot, so that an ordinary call neither maps nor faults.
    /// Only used where the kernel offers `PAGEMAP_SCAN` (Linux 6.7).
    pub keep_resident: usize,
    /// The pool of the plugins that are larger than that: interpreters, which start with megabytes of memory and several
    /// memories. They take nothing of the other pool, and wait only for one another.
    pub interpreters: Pool,
    /// Largest component that is compiled, in bytes.
    pub component_bytes: usize,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Time a compilation may take before its plugin is refused.
    pub compile_time: Duration,
    /// Bytes of memory a compilation may take before its plugin is refused; a [`Compiler::InProcess`] takes what it wants.
    pub compile_memory: u64,
    /// Count fuel in every plugin, as an operator whose ceiling limits fuel must. Otherwise only plugins whose
    /// contract asks for a fuel limit pay for it.
    pub always_fuel: bool,
    /// Where compiled code is kept between runs of the host; `None` compiles anew.
    pub compiled: Option<CompiledCache>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            slots: 512,
            fairness: Fairness::default(),
            keep_resident: 1 << 20,
            interpreters: Pool { slots: 64, keep_resident: 4 << 20 },
            component_bytes: 16 << 20,
            compiler: Compiler::default(),
            compile_time: Duration::from_secs(10),
            compile_memory: 1 << 30,
            always_fuel: false,
            compiled: None,
        }
    }
}

/// The pool of a class of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Plugins that can run at once.
    pub slots: u32,
    /// Bytes of each memory and table kept resident in a free slot.
    pub keep_resident: usize,
}

impl SandboxConfig {
    /// The pool of a class.
    pub(crate) fn pool(&self, class: Class) -> Pool {
        let &Self { slots, keep_resident, interpreters, .. } = self;
        match class {
            Class::Small => Pool { slots, keep_resident },
            Class::Large => interpreters,
        }
    }
}

/// Compiled code on disk. What lies there is machine code, so it is believed only under a MAC that the vault's key
/// made; a file that fails it is ignored, reported and replaced.
#[derive(Debug)]
pub struct CompiledCache {
    /// The folder, opened by whoever owns the data directory.
    pub dir: Dir,
    /// The key of the MAC, derived from the vault for this purpose alone.
    pub mac_key: Secret,
}
