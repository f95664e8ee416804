//! The engine's settings. Those of code are part of what compiled code is bound to; the pool is what isolates one call from
//! the next: memory comes from slots that are wiped as they are returned, guarded on both sides.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::class::Class;
use crate::config::{MEMORY_MAX, SandboxConfig, TABLE_MAX};

/// Stack of guest code, in bytes. Recursion past it is a trap, not a fault of the process.
pub(crate) const WASM_STACK: usize = 512 << 10;

/// Stack of a call: the guest's, and what the host side of an import needs above it (TLS and HTTP among it).
const CALL_STACK: usize = WASM_STACK + (1 << 20) + (512 << 10);

/// Core instances one component may consist of. Rust guests take 3, the largest interpreter 38.
const CORE_INSTANCES: u32 = 64;

/// Memories and tables a call may have, of whatever class its plugin is.
pub(crate) const MEMORIES: u32 = Class::Large.shape().memories_most;
pub(crate) const TABLES: u32 = Class::Large.shape().tables_most;

/// Mappings of the process a live memory takes with all that belongs to it, as measured.
const MAPS_PER_MEMORY: u64 = 4;

/// Address space a memory takes: 4 GiB and its guard, in bytes.
const MEMORY_SPACE: u64 = (4 << 30) + GUARD;

/// Guard after each memory, in bytes: accesses with a constant offset below it need no check.
const GUARD: u64 = 32 << 20;

/// What shapes code, and so is the same where it is compiled and where it runs, with or without fuel counted.
pub(crate) fn code_settings(fuel: bool) -> Config {
    let mut settings = Config::new();
    settings
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        .memory_reservation(4 << 30)
        .memory_guard_size(GUARD)
        .guard_before_linear_memory(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(CALL_STACK)
        .epoch_interruption(true)
        .consume_fuel(fuel)
        .concurrency_support(false)
        .parallel_compilation(true)
        // One registration less per plugin; traps are traced by frame pointers.
        .native_unwind_info(false)
        .wasm_component_model(true)
        .wasm_multi_memory(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false);
    settings
}

/// The settings of one class's engine for this machine: those of code, and the pool that calls run in.
pub(crate) fn settings(config: &SandboxConfig, class: Class, fuel: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let (shape, pooled) = (class.shape(), config.pool(class));
    let slots = pooled.slots.max(1);
    let all = |per_slot: u32| slots.saturating_mul(per_slot);
    pool.total_component_instances(slots)
        .total_core_instances(all(CORE_INSTANCES))
        .total_memories(all(shape.memories_per_slot))
        .total_tables(all(shape.tables_per_slot))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(shape.memories_most)
        .max_tables_per_component(shape.tables_most)
        .max_memories_per_module(shape.memories_most)
        .max_tables_per_module(shape.tables_most)
        .max_memory_size(MEMORY_MAX)
        .table_elements(TABLE_MAX);
    // Resetting kept pages without knowing which were touched costs more than it saves, so both or neither.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.linear_memory_keep_resident(pooled.keep_resident)
            .table_keep_resident(pooled.keep_resident)
            .pagemap_scan(Enabled::Yes);
    }
    let mut settings = code_settings(fuel);
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    settings
}

/// Opens the file by which the engine looks at its own pages, and keeps it for the life of the process. To be called before
/// a process is shut to others of its user, after which only root can open it. Answers whether the kernel offers it.
pub fn open_page_map() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available()
}

/// What an operator should know about this machine, a sentence each; empty when all is well.
pub(crate) fn notes(config: &SandboxConfig) -> Vec<String> {
    let mut notes = Vec::new();
    let pooled = |class: Class| (u64::from(config.pool(class).slots), u64::from(class.shape().memories_per_slot));
    let slots: u64 = Class::ALL.into_iter().map(|class| pooled(class).0).sum();
    let memories: u64 = Class::ALL.into_iter().map(|class| pooled(class).0 * pooled(class).1).sum();
    if !open_page_map() {
        notes.push(
            "the kernel has no PAGEMAP_SCAN (Linux 6.7 has); each call maps its memory anew, which costs about twice \
             the time"
                .to_owned(),
        );
    }
    if let Some(most) = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| parse(&text)) {
        let need = memories * MAPS_PER_MEMORY + 4096;
        if need > most {
            notes.push(format!(
                "{slots} slots may need {need} memory maps and vm.max_map_count is {most}; raise it with `sysctl -w \
                 vm.max_map_count={need}`"
            ));
        }
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::As).current {
        let need = memories * MEMORY_SPACE;
        if need > most {
            notes.push(format!(
                "{slots} slots reserve {need} bytes of address space and the limit of this process is {most}; raise it with \
                 `ulimit -v unlimited` or run with fewer slots"
            ));
        }
    }
    notes
}

fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_slots_are_said() {
        let few = SandboxConfig::default();
        assert!(!notes(&few).iter().any(|note| note.contains("max_map_count")));
        let many = SandboxConfig { slots: u32::MAX, ..SandboxConfig::default() };
        assert!(notes(&many).iter().any(|note| note.contains("max_map_count=")));
    }
}
