//! An allocator that can be told never to come back.
//!
//! The host allocates in the guest's memory, through the guest's own `realloc`, whenever an import answers a text or a
//! list: the guest's code then runs in the middle of a host call.
#![allow(unsafe_code, reason = "an allocator hands out raw memory; every call goes on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// While set, no allocation ends.
pub(crate) static STUCK: AtomicBool = AtomicBool::new(false);

struct MayStick;

// SAFETY: every method does what `System` does with the same arguments, or does not return.
unsafe impl GlobalAlloc for MayStick {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        while STUCK.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        while STUCK.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        // SAFETY: passed on as it came.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: MayStick = MayStick;
