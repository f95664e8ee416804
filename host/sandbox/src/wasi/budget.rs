//! Bytes that leave a guest made elsewhere, counted over the whole call: shared by what it writes to and what it sends.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{Fault, FaultCode};

/// How many bytes passed, and how many may.
#[derive(Debug)]
pub(super) struct Budget {
    passed: AtomicU64,
    most: u64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self { passed: AtomicU64::new(0), most }
    }

    /// Counts `bytes`, if there is room for them.
    pub(super) fn pass(&self, bytes: usize) -> Result<(), Fault> {
        let passed = self.passed.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
        if passed > self.most {
            let message = format!("calls of imports may pass {} bytes in all", self.most);
            return Err(Fault::new(FaultCode::HostcallBytes, message));
        }
        Ok(())
    }

    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}
