//! Going deeper than there is stack.

use std::hint::black_box;

use opsiq_sdk::{json, serde_json::Value};

/// Calls itself 2^40 times over; each call still has work to do after the next, so it cannot become a loop.
pub(crate) fn recursion() -> Value {
    json!({ "depth": deeper(black_box(1 << 40)) })
}

#[inline(never)]
fn deeper(left: u64) -> u64 {
    if left == 0 { 0 } else { deeper(left - 1).rotate_left(5) ^ left }
}
