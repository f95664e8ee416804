//! What the operator chooses about the engine: how many calls at once, how large, how they share it.

use std::time::Duration;

use cap_std::fs::Dir;
use opsiq_contract::Fairness;
use opsiq_vault::Secret;

/// Linear memory a slot of the pool can hold at most, in bytes. A call's own limit is what is enforced; no ceiling
/// can go beyond this.
pub const MEMORY_MAX: usize = 1 << 30;

/// Elements a table of the pool can hold at most. A call's own limit is what is enforced.
pub const TABLE_MAX: usize = 100_000;

/// How the sandbox is built. Made with [`SandboxConfig::default`] and changed field by field.
#[derive(Debug)]
pub struct SandboxConfig {
    /// Memories the pool holds, which is the number of ordinary plugins that can run at once; a plugin of several
    /// memories takes several. Each reserves 4 GiB of address space, of which only what is used is ever backed.
    pub slots: u32,
    /// How calls share the slots and the processor.
    pub fairness: Fairness,
    /// Bytes of memory and of table kept resident in a free slot, so that an ordinary call neither maps nor faults.
    /// Only used where the kernel offers `PAGEMAP_SCAN` (Linux 6.7).
    pub keep_resident: usize,
    /// Largest component that is compiled, in bytes.
    pub component_bytes: usize,
    /// Time a compilation may take before its plugin is refused.
    pub compile_time: Duration,
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
            component_bytes: 16 << 20,
            compile_time: Duration::from_secs(10),
            always_fuel: false,
            compiled: None,
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
