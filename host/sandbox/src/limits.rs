//! Memory and tables of one call, counted over all of them together, so that many small ones are no way around a
//! limit on each.

use wasmtime::ResourceLimiter;

use crate::engine::{MEMORIES, TABLES};
use crate::fault::{Fault, FaultCode};

/// Core instances a call may make. More than any component of the pool has.
const INSTANCES: usize = 256;

/// Counts what the engine allocates for one call, and ends the call that wants more than its limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_limit: usize,
    memory: usize,
    memory_peak: usize,
    table_limit: usize,
    table: usize,
}

impl Limiter {
    pub(crate) fn new(memory_bytes: u64, table_elements: u64) -> Self {
        Self {
            memory_limit: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
            memory: 0,
            memory_peak: 0,
            table_limit: usize::try_from(table_elements).unwrap_or(usize::MAX),
            table: 0,
        }
    }

    /// The memory the call holds, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory as u64
    }

    /// The most memory the call held at once, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory_peak as u64
    }
}

/// What all hold after one of them went from `current` to `desired`.
fn total(held: usize, current: usize, desired: usize) -> usize {
    held.saturating_sub(current).saturating_add(desired)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // beyond what the guest itself declared: an ordinary -1
        }
        let wanted = total(self.memory, current, desired);
        if wanted > self.memory_limit {
            return Err(Fault::new(
                FaultCode::MemoryExceeded,
                format!("all memories together may hold {} bytes; the plugin wanted {wanted}", self.memory_limit),
            )
            .into());
        }
        self.memory = wanted;
        self.memory_peak = self.memory_peak.max(wanted);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Fault::new(FaultCode::MemoryExceeded, format!("memory could not grow: {error}")).into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = total(self.table, current, desired);
        if wanted > self.table_limit {
            return Err(Fault::new(
                FaultCode::TableExceeded,
                format!("all tables together may hold {} elements; the plugin wanted {wanted}", self.table_limit),
            )
            .into());
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: wasmtime::Result<bool>) -> FaultCode {
        result.unwrap_err().downcast_ref::<Fault>().unwrap().code
    }

    #[test]
    fn memories_count_together() {
        let mut limiter = Limiter::new(100, 10);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert_eq!(code(limiter.memory_growing(40, 41, None)), FaultCode::MemoryExceeded);
        assert_eq!(limiter.memory_peak(), 100);
        assert_eq!(code(limiter.memory_growing(40, usize::MAX, None)), FaultCode::MemoryExceeded);
    }

    #[test]
    fn a_declared_maximum_answers_minus_one() {
        let mut limiter = Limiter::new(100, 10);
        assert!(!limiter.memory_growing(0, 60, Some(50)).unwrap());
        assert!(limiter.memory_growing(0, 100, Some(100)).unwrap(), "the refused growth was not counted");
    }

    #[test]
    fn tables_count_together() {
        let mut limiter = Limiter::new(100, 10);
        assert!(limiter.table_growing(0, 6, None).unwrap());
        assert_eq!(code(limiter.table_growing(0, 5, None)), FaultCode::TableExceeded);
        assert!(!limiter.table_growing(6, 8, Some(7)).unwrap());
        assert!(limiter.table_growing(6, 10, None).unwrap());
    }
}
