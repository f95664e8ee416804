//! The engine's settings. Those of code are part of what compiled code is bound to; the pool is what isolates one call from
//! the next: memory comes from slots that are wiped as they are returned, guarded on both sides.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::config::{MEMORY_MAX, SandboxConfig, TABLE_MAX};

/// Stack of guest code, in bytes. Recursion past it is a trap, not a fault of the process.
pub(crate) const WASM_STACK: usize = 512 << 10;

/// Stack of a call: the guest's, and what the host side of an import needs above it (TLS and HTTP among it).
const CALL_STACK: usize = WASM_STACK + (1 << 20) + (512 << 10);

/// Core instances one component may consist of. Rust guests take 3, the largest interpreter 38.
const CORE_INSTANCES: u32 = 64;

/// Memories and tables one component may have.
pub(crate) const MEMORIES: u32 = 8;
pub(crate) const TABLES: u32 = 16;

/// Tables the pool holds for each slot.
const TABLES_PER_SLOT: u32 = 3;

/// Mappings of the process a live slot takes, as measured.
const MAPS_PER_SLOT: u64 = 4;

/// Address space a slot takes: 4 GiB and its guard, in bytes.
const SLOT_SPACE: u64 = (4 << 30) + GUARD;

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

/// The engine's settings for this machine: those of code, and the pool that calls run in.
pub(crate) fn settings(config: &SandboxConfig, fuel: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let slots = config.slots.max(1);
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES))
        .total_memories(slots.saturating_add(MEMORIES))
        .total_tables(slots.saturating_mul(TABLES_PER_SLOT).saturating_add(TABLES))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memories_per_module(MEMORIES)
        .max_tables_per_module(TABLES)
        .max_memory_size(MEMORY_MAX)
        .table_elements(TABLE_MAX);
    // Resetting kept pages without knowing which were touched costs more than it saves, so both or neither.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.linear_memory_keep_resident(config.keep_resident)
            .table_keep_resident(config.keep_resident)
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
    if !open_page_map() {
        notes.push(
            "the kernel has no PAGEMAP_SCAN (Linux 6.7 has); each call maps its memory anew, which costs about twice \
             the time"
                .to_owned(),
        );
    }
    if let Some(most) = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| parse(&text)) {
        let need = u64::from(config.slots) * MAPS_PER_SLOT + 4096;
        if need > most {
            notes.push(format!(
                "{} slots may need {need} memory maps and vm.max_map_count is {most}; raise it with `sysctl -w \
                 vm.max_map_count={need}`",
                config.slots
            ));
        }
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::As).current {
        let need = u64::from(config.slots) * SLOT_SPACE;
        if need > most {
            notes.push(format!(
                "{} slots reserve {need} bytes of address space and the limit of this process is {most}; raise it with \
                 `ulimit -v unlimited` or run with fewer slots",
                config.slots
            ));
        }
    }
    notes
}

fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Slots of the pool a plugin takes while it runs, by its memories and tables.
pub(crate) fn slots_taken(memories: u32, tables: u32) -> u32 {
    memories.max(tables.div_ceil(TABLES_PER_SLOT)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_what_a_component_takes() {
        assert_eq!(slots_taken(0, 0), 1);
        assert_eq!(slots_taken(1, 2), 1, "a Rust guest takes one");
        assert_eq!(slots_taken(3, 3), 3, "three memories take three");
        assert_eq!(slots_taken(1, 7), 3);
    }

    #[test]
    fn too_many_slots_are_said() {
        let few = SandboxConfig::default();
        assert!(!notes(&few).iter().any(|note| note.contains("max_map_count")));
        let many = SandboxConfig { slots: u32::MAX, ..SandboxConfig::default() };
        assert!(notes(&many).iter().any(|note| note.contains("max_map_count=")));
    }
}
