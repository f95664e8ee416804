//! The host's side: start the child, hand it the job, take its answer, and see to it that it is gone.

use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::oneshot;

use super::wire::{self, Verdict};
use super::{COMPILE_CHILD, Job};
use crate::plugin::LoadError;
use crate::sandbox::lock;

/// Threads a child compiles on, at most: each takes memory of its own.
pub(super) const THREADS: usize = 4;
/// How the child is told so, by the library whose threads they are.
const THREADS_SAID: &str = "RAYON_NUM_THREADS";
/// How an allocator that reserves memory in advance is told not to, since what is reserved counts against the limit.
const RESERVE_SAID: &str = "MIMALLOC_ARENA_RESERVE";
/// Bytes of code for each byte of a component, at most, and for a component of no size. Real ones take 4.
const CODE_PER_BYTE: u64 = 16;
const CODE_LEAST: u64 = 64 << 20;
/// Bytes of what a failing child says that are looked at.
const SAID: u64 = 4096;
/// How a program ends that panicked.
const PANICKED: i32 = 101;
/// How long a child that was killed may take to be gone.
const GONE: Duration = Duration::from_secs(2);

/// Compiles in a child of `program`. When the answer is here, and when the future is dropped, there is no child any more
/// or it is being killed.
pub(super) async fn compile(program: &Path, job: Job) -> Result<Vec<u8>, LoadError> {
    let (time, leash) = (job.time, Arc::new(Leash::default()));
    let (tell, mut told) = oneshot::channel();
    let (program, theirs) = (program.to_owned(), Arc::clone(&leash));
    let hold = Hold(leash);
    // A thread of its own: the child dies with the thread that started it, and those of a pool come and go.
    let work = move || drop(tell.send(supervise(&program, &job, &theirs)));
    let started = std::thread::Builder::new().name("opsiq-compile".to_owned()).spawn(work);
    started.map_err(|error| LoadError::Compiler(format!("no thread for it: {error}")))?;
    if let Ok(ended) = tokio::time::timeout(time, &mut told).await {
        return ended.unwrap_or_else(|_| Err(LoadError::Compiler("its thread failed".to_owned())));
    }
    drop(hold);
    // It has been killed; what it said is of no interest.
    let _ = tokio::time::timeout(GONE, told).await;
    Err(LoadError::TooSlow(time.as_millis()))
}

/// The child's process group while it is there, so that what is killed is never another process of the same number.
#[derive(Default)]
struct Leash(Mutex<Held>);

#[derive(Default)]
struct Held {
    group: Option<Pid>,
    cut: bool,
}

impl Leash {
    /// Starts the child, unless nobody waits for it any more.
    fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut held = lock(&self.0);
        if held.cut {
            return Err(io::Error::other("nobody waits for it"));
        }
        let child = command.spawn()?;
        held.group = Some(Pid::from_child(&child));
        Ok(child)
    }

    fn cut(&self) {
        let mut held = lock(&self.0);
        held.cut = true;
        if let Some(group) = held.group {
            // What has ended in the meantime needs no killing.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Waits for the end of the child, and only then lets its number go.
    fn end(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let id = WaitId::Pid(Pid::from_child(child));
        loop {
            match waitid(id.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let mut held = lock(&self.0);
        held.group = None;
        child.wait()
    }
}

/// Kills the child when dropped.
struct Hold(Arc<Leash>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// The child's life, from its start to its end.
fn supervise(program: &Path, job: &Job, leash: &Leash) -> Result<Vec<u8>, LoadError> {
    let failed = |what: &str, error: io::Error| LoadError::Compiler(format!("{what}: {error}"));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS);
    if std::env::args_os().nth(1).is_some_and(|word| word == COMPILE_CHILD) {
        // A program that does not hand over would start itself for ever.
        return Err(LoadError::Compiler("it was started to compile itself, and does something else".to_owned()));
    }
    let mut command = Command::new(program);
    command
        .arg(COMPILE_CHILD)
        .env_clear()
        .env(THREADS_SAID, threads.to_string())
        .env(RESERVE_SAID, "0")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = leash.start(&mut command).map_err(|error| failed("the child could not be started", error))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A child that ends early closes the pipe; its end says why.
        let _ = wire::write_job(&mut pipe, job);
    }
    let most = CODE_LEAST.max(CODE_PER_BYTE.saturating_mul(job.component.len() as u64));
    let answer = child.stdout.take().map(|pipe| whole(pipe, most));
    if !matches!(answer, Some(Ok(Some(_)))) {
        leash.cut();
    }
    let mut said = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        // Only looked at for what the system calls running out of memory.
        let _ = pipe.take(SAID).read_to_end(&mut said);
    }
    let status = leash.end(&mut child).map_err(|error| failed("the child's end could not be awaited", error))?;
    match answer {
        Some(Ok(Some(answer))) => judge(job, answer, status, &said),
        Some(Ok(None)) => Err(LoadError::Compile(format!("its code has more than {most} bytes"))),
        Some(Err(error)) => Err(failed("the child's answer could not be read", error)),
        None => Err(LoadError::Compiler("the child has no output".to_owned())),
    }
}

/// All that comes, unless it is more than `most` bytes.
fn whole(pipe: impl io::Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut all = Vec::new();
    pipe.take(most.saturating_add(1)).read_to_end(&mut all)?;
    Ok((all.len() as u64 <= most).then_some(all))
}

fn judge(job: &Job, answer: Vec<u8>, status: ExitStatus, said: &[u8]) -> Result<Vec<u8>, LoadError> {
    if let Some(answer) = wire::read_answer(answer).filter(|_| status.success()) {
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        return match answer.verdict {
            Verdict::Compiled if answer.engine != job.engine => {
                Err(LoadError::Compiler("the child has an engine of other settings".to_owned()))
            }
            Verdict::Compiled => Ok(answer.body),
            Verdict::Invalid => Err(LoadError::Compile(said)),
            Verdict::Memory => Err(LoadError::TooMuchMemory(job.memory)),
            Verdict::Open => Err(LoadError::Compiler(said)),
        };
    }
    if status.signal() == Some(libc::SIGXCPU) {
        return Err(LoadError::TooSlow(job.time.as_millis()));
    }
    if ran_out(said) {
        return Err(LoadError::TooMuchMemory(job.memory));
    }
    match status.signal() {
        Some(signal) => Err(LoadError::Crashed(format!("signal {signal}"))),
        None if status.code() == Some(PANICKED) => Err(LoadError::Crashed("a panic".to_owned())),
        None => Err(LoadError::Compiler(format!("the child gave no answer ({status})"))),
    }
}

/// Whether what a dying child said is that it got no memory: the language's words, or the system's for memory and threads.
fn ran_out(said: &[u8]) -> bool {
    let said = String::from_utf8_lossy(said);
    let system = [libc::ENOMEM, libc::EAGAIN].map(|errno| io::Error::from_raw_os_error(errno).to_string());
    said.contains("memory allocation of") || system.iter().any(|words| said.contains(words))
}
