//! What the child can do: read its job, compute, answer. Set by the child itself before the first byte of a component is
//! there, so that nothing of it needs code between `fork` and `exec`, where little is allowed.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, nice, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::Job;

/// Address space beyond the memory: reserved, never backed. Stacks, arenas of the allocator, the binary itself.
const RESERVED: u64 = 4 << 30;
/// How far behind the host's own work this is.
const NICE: i32 = 2;

/// Apart from everything of the process that started this one.
pub(super) fn alone() -> io::Result<()> {
    close_all()?;
    // Dies with the thread that started it, which lives until it has ended.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_no_new_privs(true)?;
    // When memory runs out, this goes first. Where it cannot be said, the limit below still holds.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    set(Resource::Core, 0)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // No file can be opened, nor one that is open be written to.
    set(Resource::Nofile, 3)?;
    set(Resource::Fsize, 0)?;
    nice(NICE)?;
    Ok(())
}

/// The limits of its job.
pub(super) fn limit(job: &Job) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(super::parent::THREADS);
    set(Resource::Data, job.memory)?;
    set(Resource::As, job.memory.saturating_add(RESERVED))?;
    set(Resource::Cpu, job.time.as_secs().saturating_add(1).saturating_mul(threads as u64))
}

fn set(resource: Resource, most: u64) -> io::Result<()> {
    // Whatever is stricter already stays.
    let least = |set: Option<u64>| Some(set.map_or(most, |set| set.min(most)));
    let now = rustix::process::getrlimit(resource);
    Ok(setrlimit(resource, Rlimit { current: least(now.current), maximum: least(now.maximum) })?)
}

/// Closes what was inherited beside the three standard streams.
#[allow(
    unsafe_code,
    reason = "closing descriptors takes them from whoever owns them; this process has just begun and owns none but the \
              three that stay"
)]
fn close_all() -> io::Result<()> {
    // SAFETY: see the reason above; the call takes three numbers and no pointer.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Only what computing needs is left of the kernel: memory that is not executable, threads, clocks, randomness, reading the
/// job and writing the answer. No file, socket, process or signal to another one.
pub(super) fn shut() -> io::Result<()> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    // Its arguments lie in memory, which a filter does not see; the C library then uses the older call.
    let newer = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let errno = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let filters = [
        SeccompFilter::new(newer, SeccompAction::Allow, errno(libc::ENOSYS), arch),
        SeccompFilter::new(allowed()?, errno(libc::EPERM), SeccompAction::Allow, arch),
    ];
    for filter in filters {
        let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(io::Error::other)?;
        apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn allowed() -> io::Result<BTreeMap<libc::c_long, Vec<SeccompRule>>> {
    const WHATEVER: [libc::c_long; 29] = [
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_clone3, // answered by the other filter
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getcpu,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_sigaltstack,
        libc::SYS_sysinfo,
    ];
    let own = u64::from(std::process::id());
    let bits = |bits: i32| u64::from(bits.unsigned_abs());
    let [anonymous, executable, thread] = [libc::MAP_ANONYMOUS, libc::PROT_EXEC, libc::CLONE_THREAD].map(bits);
    let mut rules: BTreeMap<_, _> = WHATEVER.into_iter().map(|call| (call, Vec::new())).collect();
    let mut only = |call, conditions: &[(u8, Op, u64)]| -> io::Result<()> {
        let conditions =
            conditions.iter().map(|(at, op, value)| SeccompCondition::new(*at, Len::Dword, op.clone(), *value));
        let conditions = conditions.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        rules.entry(call).or_default().push(SeccompRule::new(conditions).map_err(io::Error::other)?);
        Ok(())
    };
    only(libc::SYS_read, &[(0, Op::Eq, 0)])?;
    only(libc::SYS_write, &[(0, Op::Le, 2)])?;
    only(libc::SYS_writev, &[(0, Op::Le, 2)])?;
    only(libc::SYS_mmap, &[(2, Op::MaskedEq(executable), 0), (3, Op::MaskedEq(anonymous), anonymous)])?;
    only(libc::SYS_mprotect, &[(2, Op::MaskedEq(executable), 0)])?;
    only(libc::SYS_clone, &[(0, Op::MaskedEq(thread), thread)])?;
    only(libc::SYS_tgkill, &[(0, Op::Eq, own)])?;
    only(libc::SYS_prctl, &[(0, Op::Eq, bits(libc::PR_SET_NAME))])?;
    Ok(rules)
}
