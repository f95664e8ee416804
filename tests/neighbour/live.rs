//! A host process that takes calls by lines: the built command as `action stream`, or the rig of these tests. Many threads
//! call side by side, and each waits for its own answers alone.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::opsiq::World;

/// Longest wait for an answer. A call may wait 5 s in its queue, and a machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running host.
pub(crate) struct Live {
    child: Child,
    input: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
    reader: Option<JoinHandle<()>>,
}

/// Who waits, by the id of the call.
type Waiting = HashMap<String, Sender<(Value, Instant)>>;

/// A call that was begun.
pub(crate) struct Asked {
    id: String,
    answer: Receiver<(Value, Instant)>,
    began: Instant,
}

impl Asked {
    /// The answer, and how long it took.
    #[track_caller]
    pub(crate) fn answer(self) -> (Value, Duration) {
        match self.answer.recv_timeout(PATIENCE) {
            Ok((answer, at)) => (answer, at - self.began),
            Err(error) => panic!("no answer to {}: {error}", self.id),
        }
    }
}

impl Live {
    /// The built command.
    pub(crate) fn stream(world: &World) -> Self {
        Self::start(world.command(&["action", "stream", "--concurrency", "4000"]))
    }

    /// Starts a command that reads calls and writes answers.
    pub(crate) fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let input = Mutex::new(child.stdin.take());
        let output = BufReader::new(child.stdout.take().unwrap());
        let waiting = Arc::new(Mutex::new(Waiting::new()));
        let theirs = Arc::clone(&waiting);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let at = Instant::now();
                let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
                let waits = answer["id"].as_str().and_then(|id| theirs.lock().unwrap().remove(id));
                // Who does not wait any more needs no answer.
                let _ = waits.unwrap_or_else(|| panic!("nobody asked: {line}")).send((answer, at));
            }
            // Whoever still waits learns that nothing comes.
            theirs.lock().unwrap().clear();
        });
        Self { child, input, waiting, reader: Some(reader) }
    }

    /// Sends a line that is answered under its `id`.
    pub(crate) fn ask(&self, line: &Value) -> Asked {
        let id = line["id"].as_str().unwrap_or_else(|| panic!("no id: {line}")).to_owned();
        let (sender, answer) = channel();
        self.waiting.lock().unwrap().insert(id.clone(), sender);
        let began = Instant::now();
        self.tell(line);
        Asked { id, answer, began }
    }

    /// Sends a line that is not answered.
    pub(crate) fn tell(&self, line: &Value) {
        let text = format!("{line}\n");
        let mut input = self.input.lock().unwrap();
        input.as_mut().unwrap().write_all(text.as_bytes()).unwrap_or_else(|error| panic!("the host ended: {error}"));
    }

    /// Begins a call.
    pub(crate) fn begin(&self, id: &str, who: &str, installation: &str, action: &str, params: &Value) -> Asked {
        self.ask(&json!({ "id": id, "as": who, "installation": installation, "action": action, "params": params }))
    }

    /// A call from its beginning to its end.
    pub(crate) fn call(
        &self,
        id: &str,
        who: &str,
        installation: &str,
        action: &str,
        params: &Value,
    ) -> (Value, Duration) {
        self.begin(id, who, installation, action, params).answer()
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now, and the most there was since [`Live::forget_peak`], in bytes.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let of = |field: &str| {
            let text = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            text.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Begins anew to remember the most memory there was (`proc_pid_clear_refs(5)`).
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    /// Open descriptors, and threads.
    pub(crate) fn open(&self) -> (usize, usize) {
        let count = |of: &str| std::fs::read_dir(format!("/proc/{}/{of}", self.pid())).unwrap().count();
        (count("fd"), count("task"))
    }

    /// Ends the input, and waits for the process to end.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.input.lock().unwrap().take();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the host ended with {status}");
        self.reader.take().unwrap().join().unwrap();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
