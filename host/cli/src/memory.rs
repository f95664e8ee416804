//! Where memory comes from, and how the allocator treats the kernel.

/// Calls make and drop many small things on all threads at once, for which this allocator takes less time than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes a thread's heap in the C library, which the database uses, may hold unused before it gives them back.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 64 << 20;

/// Keeps freed memory for the next calls. The default gives it back as soon as 128 KiB are free, and under load that
/// is after every batch of audit entries: each call then protects pages again, for which all threads wait for one
/// another.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the C library's own setting; it takes two numbers and no pointer")]
pub(crate) fn keep() {
    // SAFETY: `mallopt` may be called at any time and only sets a number. It refuses what it does not know.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT) };
}

/// Other allocators have other habits.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep() {}
