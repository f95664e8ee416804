//! Taking all memory.

use std::hint::black_box;

use opsiq_sdk::serde_json::Value;

/// Takes memory a mebibyte at a time, writes to it, and gives none back.
pub(crate) fn bomb() -> Value {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 1 << 20]);
        black_box(&held);
    }
}
