//! The host process, seen from outside.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Longest time without a word. Compiling may take 10 s, and a machine may be busy.
const SILENCE: Duration = Duration::from_mins(1);

/// Some components of a seed, in one process.
pub(crate) struct Batch {
    pub(crate) seed: u64,
    pub(crate) from: u64,
    pub(crate) count: u64,
    /// In MiB.
    pub(crate) memory: u64,
    /// Whether the process is to die, as a test.
    pub(crate) die: bool,
}

/// How often each end came, or what went wrong and with which component.
pub(crate) type Ended = Result<BTreeMap<String, u64>, String>;

/// Runs a batch in a process of its own.
pub(crate) fn run(batch: &Batch) -> Ended {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--host");
    for (name, value) in [("--seed", batch.seed), ("--from", batch.from), ("--count", batch.count)] {
        command.args([name, &value.to_string()]);
    }
    if batch.die {
        command.arg("--die");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (lines, said) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        out.lines().map_while(Result::ok).take_while(|line| lines.send(line.clone()).is_ok()).for_each(drop);
    });
    let ended = follow(&mut child, batch, || said.recv_timeout(SILENCE));
    if ended.is_err() {
        // Perhaps it has ended already.
        let _ = child.kill();
    }
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    reader.join().unwrap();
    match ended {
        Ok(ended) if status.success() => Ok(ended),
        Ok(_) => Err(format!("seed {}: the host process ended with {status}", batch.seed)),
        Err((at, why)) => Err(format!("seed {}, component {at}: {why} ({status})", batch.seed)),
    }
}

/// Reads `begin N` and `end N CODE` until `done`.
fn follow(
    child: &mut Child,
    batch: &Batch,
    mut next: impl FnMut() -> Result<String, RecvTimeoutError>,
) -> Result<BTreeMap<String, u64>, (String, String)> {
    let (mut at, mut ended) = ("start".to_owned(), BTreeMap::new());
    loop {
        let line = match next() {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err((at, format!("nothing for {SILENCE:?}"))),
            Err(RecvTimeoutError::Disconnected) => return Err((at, "the host process died".to_owned())),
        };
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("begin"), Some(number), _) => number.clone_into(&mut at),
            (Some("end"), Some(_), Some(code)) => {
                if let Some(code) = code.strip_prefix("untyped ") {
                    return Err((at, format!("it ended in {code}")));
                }
                *ended.entry(code.to_owned()).or_default() += 1;
            }
            (Some("done"), ..) => {
                let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
                let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
                let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(u64::MAX);
                if kib / 1024 > batch.memory {
                    return Err((at, format!("the host process took {} MiB of memory", kib / 1024)));
                }
                return Ok(ended);
            }
            _ => return Err((at, format!("it said {line:?}"))),
        }
    }
}
