//! Classes of plugins, by what they need before they run. A small compiled guest and an interpreter differ a hundredfold in
//! memory, and in how many memories and tables they take; in one pool each would hold room for the other. So each class
//! has an engine with a pool of its own shape, and its own doors to it: one that is full makes nobody of the other wait.

use wasmtime::component::Component;

/// Bytes of a page of memory; pages of other sizes are not enabled.
pub(crate) const PAGE: u64 = 64 << 10;

/// Memory a small guest starts with, at most, in bytes. Rust guests with their SDK's arena start with 1 MiB or two, the
/// smallest interpreter with 2 in three memories.
const SMALL_START: u64 = 4 << 20;

/// What a plugin is as far as the pool is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// One memory, few tables, a small start: compiled guests.
    Small,
    /// Anything else: interpreters with their language's library in memory.
    Large,
}

/// What one slot of a pool holds, and what one component may take of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) memories_per_slot: u32,
    pub(crate) tables_per_slot: u32,
    pub(crate) memories_most: u32,
    pub(crate) tables_most: u32,
}

impl Class {
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Of a component, wherever it was loaded. One whose needs cannot be known is not loaded, so its class is of no matter.
    pub(crate) fn of(component: &Component) -> Self {
        let small = Self::Small.shape();
        let fits = component.resources_required().is_some_and(|needs| {
            needs.num_memories <= small.memories_most
                && needs.num_tables <= small.tables_most
                && needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE) <= SMALL_START
        });
        if fits { Self::Small } else { Self::Large }
    }

    /// The shape of its pool.
    pub(crate) const fn shape(self) -> Shape {
        match self {
            Self::Small => Shape { memories_per_slot: 1, tables_per_slot: 3, memories_most: 1, tables_most: 3 },
            // QuickJS takes 3 and 3, Python and StarlingMonkey 1 and 2.
            Self::Large => Shape { memories_per_slot: 3, tables_per_slot: 3, memories_most: 8, tables_most: 16 },
        }
    }

    /// Slots of its pool a plugin takes while it runs.
    pub(crate) fn slots_taken(self, memories: u32, tables: u32) -> u32 {
        let shape = self.shape();
        memories.div_ceil(shape.memories_per_slot).max(tables.div_ceil(shape.tables_per_slot)).max(1)
    }

    /// As it is written into a file.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Small => 0,
            Self::Large => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_what_a_component_takes() {
        assert_eq!(Class::Small.slots_taken(0, 0), 1);
        assert_eq!(Class::Small.slots_taken(1, 2), 1, "a Rust guest takes one");
        assert_eq!(Class::Large.slots_taken(3, 3), 1, "so does QuickJS");
        assert_eq!(Class::Large.slots_taken(1, 2), 1, "and Python");
        assert_eq!(Class::Large.slots_taken(4, 3), 2);
        assert_eq!(Class::Large.slots_taken(1, 7), 3);
    }

    #[test]
    fn a_component_has_its_class_in_any_engine() {
        let engine = wasmtime::Engine::new(&crate::engine::code_settings(false)).unwrap();
        let class = |memories: &str| {
            let text = format!("(component (core module $m {memories}) (core instance (instantiate $m)))");
            Class::of(&Component::from_binary(&engine, &wat::parse_str(text).unwrap()).unwrap())
        };
        assert_eq!(class(""), Class::Small);
        assert_eq!(class("(memory 64)"), Class::Small);
        assert_eq!(class("(memory 65)"), Class::Large);
        assert_eq!(class("(memory 1) (memory 1)"), Class::Large);
        assert_eq!(class("(table 1 funcref) (table 1 funcref) (table 1 funcref)"), Class::Small);
        assert_eq!(class("(table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref)"), Class::Large);
    }
}
