//! No memory is given back with a secret in it: an allocator looks at every block that is freed.
#![allow(unsafe_code, reason = "an allocator hands out raw memory; every call goes on to the system's")]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opsiq_vault::{KeyName, LeakGuard, Secret, SecretScan};

/// The secret as bytes that stand nowhere in the program: only this function makes them.
fn canary() -> Vec<u8> {
    b"lboboj\x86wphfm.tfdsfu \".0".iter().map(|byte| byte - 1).collect()
}

/// Parts of the secret's forms: of eight bytes, as an accident would leave them.
static PARTS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
static LOOKING: AtomicBool = AtomicBool::new(false);
static FREED: AtomicUsize = AtomicUsize::new(0);
static DIRTY: AtomicUsize = AtomicUsize::new(0);

struct Looking;

impl Looking {
    /// Looks at a block that goes away.
    unsafe fn look(at: *mut u8, size: usize) {
        if !LOOKING.load(Ordering::SeqCst) {
            return;
        }
        FREED.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the block is still the caller's; bytes it never wrote may be of any value, which only reads them as such.
        let block = unsafe { std::slice::from_raw_parts(at, size) };
        let parts = PARTS.get().map(Vec::as_slice).unwrap_or_default();
        if parts.iter().any(|part| block.windows(part.len()).any(|window| window == part)) {
            DIRTY.fetch_add(1, Ordering::SeqCst);
        }
    }
}

// SAFETY: every method does what `System` does with the same arguments, and looks before memory goes away.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that what is looked at was written by this program.
        // SAFETY: passed on as it came.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on as it came.
        unsafe {
            Self::look(at, layout.size());
            System.dealloc(at, layout);
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // As a move, so that what it leaves behind is looked at.
        // SAFETY: both blocks have at least the bytes copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(at, moved, layout.size().min(size));
                self.dealloc(at, layout);
            }
            moved
        }
    }
}

#[global_allocator]
static ALLOCATOR: Looking = Looking;

/// Blocks freed and, of those, blocks with a part of the secret in them, while `run` runs.
fn freed(run: impl FnOnce()) -> (usize, usize) {
    FREED.store(0, Ordering::SeqCst);
    DIRTY.store(0, Ordering::SeqCst);
    LOOKING.store(true, Ordering::SeqCst);
    run();
    LOOKING.store(false, Ordering::SeqCst);
    (FREED.load(Ordering::SeqCst), DIRTY.load(Ordering::SeqCst))
}

/// One test, because tests of one process would look at each other's memory.
#[test]
fn nothing_that_held_a_secret_is_freed_as_it_was() {
    let hex = canary().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let percent = canary().iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let parts = [canary(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes(), percent.clone().into_bytes()];
    PARTS.set(parts.iter().flat_map(|form| form.chunks_exact(8).map(<[u8]>::to_vec)).collect()).unwrap();

    let text = format!("\\\"{percent}\\n");
    let (blocks, dirty) = freed(|| {
        let secret = Secret::from(canary());
        let installation = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let guard = LeakGuard::new([(KeyName { installation, key: "key".to_owned() }, &secret)]);
        assert!(black_box(&guard).find(text.as_bytes(), |_| false).is_some());
        let scan = SecretScan::new([&secret]);
        assert_eq!(black_box(&scan).traces(secret.expose()).len(), 1);
    });
    assert!(blocks > 20, "{blocks} blocks were looked at");
    assert_eq!(dirty, 0, "of {blocks}");

    // The twin: the same secret in ordinary memory, as it is and encoded.
    let (_, dirty) = freed(|| {
        let plain = canary();
        drop(black_box(plain.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()));
        drop(black_box(plain));
    });
    assert!(dirty >= 2, "{dirty}");
}
