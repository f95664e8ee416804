//! The allocator of every plugin: a fixed arena inside the instance's initial memory.
//!
//! Growing a memory takes the host process's memory-map lock, so guests that grow on each call hold each other up
//! across threads. The arena is part of the module's initial memory, so an ordinary call never grows it. A call that
//! needs more (a large answer read whole) falls back to `memory.grow`, within the host's memory limit; refused growth
//! ends as a failed allocation, which traps.
#![allow(unsafe_code, reason = "an allocator hands out raw memory; each block says why it is sound")]

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

/// Bytes of the arena. With 256 KiB of stack and an ordinary plugin's data, the initial memory stays within the 1 MiB
/// that the host's pool keeps resident.
const ARENA_BYTES: usize = 512 * 1024;

/// A WebAssembly page.
const PAGE_BYTES: usize = 64 * 1024;

/// The least growth at once, so that a buffer that doubles does not grow the memory each time.
const GROWTH_PAGES: usize = 4;

/// More than the allocator's own bookkeeping for one heap and one allocation.
const OVERHEAD_BYTES: usize = 256;

/// Zeroed by being part of the initial memory; costs nothing in the component.
static mut ARENA: [MaybeUninit<u8>; ARENA_BYTES] = [MaybeUninit::uninit(); ARENA_BYTES];

#[global_allocator]
static ALLOCATOR: TalcSyncCell<ArenaThenGrow, WasmBinning> =
    TalcSyncCell::new_wasm(ArenaThenGrow { arena_taken: false, grown_end: None });

/// Gives the arena first, then pages.
#[derive(Debug)]
struct ArenaThenGrow {
    arena_taken: bool,
    /// Where the last heap made of grown pages ends.
    grown_end: Option<NonNull<u8>>,
}

// SAFETY: an instance has one thread, and the pointer is only ever compared and handed back to the allocator.
unsafe impl Send for ArenaThenGrow {}

// SAFETY: `acquire` uses the allocator only through the reference it is given and allocates nothing itself.
unsafe impl Source for ArenaThenGrow {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if !talc.source.arena_taken {
            talc.source.arena_taken = true;
            // SAFETY: `ARENA` is named nowhere else and this branch is taken once, so from here on its bytes belong to
            // the allocator alone, for the life of the instance.
            let _ = unsafe { talc.claim((&raw mut ARENA).cast(), ARENA_BYTES) };
            return Ok(());
        }
        let needed = layout.size().checked_add(layout.align() + OVERHEAD_BYTES).ok_or(())?.div_ceil(PAGE_BYTES);
        let (base, pages) = grow(needed.max(GROWTH_PAGES)).or_else(|| grow(needed)).ok_or(())?;
        let bytes = pages * PAGE_BYTES;
        // SAFETY: `memory.grow` gave these pages to this call, and nothing else in a plugin grows the memory and then
        // writes to what it grew, so they belong to the allocator. `extend` is given the very end that the allocator
        // returned for the heap these pages follow.
        unsafe {
            talc.source.grown_end = match talc.source.grown_end {
                Some(end) if end.as_ptr() == base => Some(talc.extend(end, base.wrapping_add(bytes))),
                _ => talc.claim(base, bytes),
            };
        }
        Ok(())
    }
}

/// Adds pages to the memory: where they begin and how many. `None` when the host refuses.
fn grow(pages: usize) -> Option<(*mut u8, usize)> {
    let before = memory_grow::<0>(pages);
    if before == usize::MAX {
        return None;
    }
    Some((core::ptr::without_provenance_mut(before * PAGE_BYTES), pages))
}
