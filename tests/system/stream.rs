//! Many calls in one process: each by the gate's own path, answered as it ends, in bounded memory, and ended in order.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::opsiq::{World, guest};
use crate::orders::SECRET;
use crate::upstream::{Reply, Upstream};

/// A running `opsiq action stream`.
pub(crate) struct Stream {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<Value>,
}

impl Stream {
    /// Starts one, as the owner.
    pub(crate) fn start(world: &World, concurrency: usize) -> Self {
        let concurrency = concurrency.to_string();
        Self::of(world, &["--as", "acme/ada", "action", "stream", "--concurrency", &concurrency])
    }

    /// Starts one in which each call says whose it is.
    pub(crate) fn for_all(world: &World) -> Self {
        Self::of(world, &["action", "stream", "--concurrency", "8"])
    }

    fn of(world: &World, args: &[&str]) -> Self {
        Self::by(world.command(args))
    }

    /// Starts one by a command that becomes it.
    pub(crate) fn by(mut command: Command) -> Self {
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let line = line.unwrap();
                let answer = serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"));
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        Self { child, input, answers }
    }

    /// Sends one line.
    pub(crate) fn send(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).and_then(|()| input.write_all(b"\n")).and_then(|()| input.flush()).unwrap();
    }

    /// Sends one call.
    pub(crate) fn call(&mut self, id: impl Into<Value>, installation: &str, action: &str, params: &Value) {
        let call = json!({ "id": id.into(), "installation": installation, "action": action, "params": params });
        self.send(&call.to_string());
    }

    /// Makes one call as `who` and waits for its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, who: &str, installation: &str, action: &str, params: &Value) -> Value {
        let call = json!({ "id": 0, "as": who, "installation": installation, "action": action, "params": params });
        self.send(&call.to_string());
        self.answer(SOON)
    }

    /// The next answer, which must come within `most`.
    #[track_caller]
    pub(crate) fn answer(&mut self, most: Duration) -> Value {
        match self.answers.recv_timeout(most) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer within {most:?}: {error}"),
        }
    }

    /// Whether nothing is answered for `time`.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        matches!(self.answers.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end by a signal, or kills it.
    pub(crate) fn signal(&self, signal: i32) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::from_named_raw(signal).unwrap()).unwrap();
    }

    /// Ends the input, and waits for the end: the rest of the answers, and the exit code.
    pub(crate) fn end(mut self) -> (Vec<Value>, Option<i32>) {
        drop(self.input.take());
        let rest = self.answers.iter().collect();
        (rest, self.child.wait().unwrap().code())
    }
}

const SOON: Duration = Duration::from_secs(10);

/// A stream over `hello`.
fn hello(concurrency: usize) -> (World, Stream) {
    let world = World::new();
    world.install(&guest("hello"), "hello", &[], &[]);
    let stream = Stream::start(&world, concurrency);
    (world, stream)
}

#[test]
fn every_call_is_answered_once_with_its_meter_and_is_on_record() {
    let (world, mut stream) = hello(8);
    for id in 0..200 {
        stream.call(id, "hello", "hello", &json!({ "name": format!("n{id}") }));
    }
    let (answers, code) = stream.end();
    assert_eq!(code, Some(0));
    let mut ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
    for answer in &answers {
        assert_eq!(answer["ok"], true, "{answer}");
        let text = answer["data"]["result"].to_string();
        assert!(text.contains(&format!("n{}", answer["id"])), "{answer}");
        assert!(answer["data"]["meter"]["host_calls"].is_u64(), "{answer}");
    }
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "500"]).ok().to_string();
    for answer in &answers {
        assert!(log.contains(answer["data"]["invocation"].as_str().unwrap()), "{answer} is not on record");
    }
}

/// What cannot be read is answered by itself, and does not disturb what follows.
#[test]
fn malformed_lines_are_answered_line_by_line() {
    let (_world, mut stream) = hello(1);
    let answer = |stream: &mut Stream, line: &str| {
        stream.send(line);
        stream.answer(SOON)
    };
    let wrong = answer(&mut stream, "{");
    assert_eq!((&wrong["id"], &wrong["line"], &wrong["ok"]), (&Value::Null, &json!(1), &json!(false)), "{wrong}");
    assert_eq!(wrong["error"]["code"], "stream.line");
    let unknown = answer(&mut stream, r#"{"id":1,"installation":"hello","action":"hello","parms":{}}"#);
    assert!(unknown["error"]["detail"].as_str().unwrap().contains("parms"), "{unknown}");
    let long = answer(&mut stream, &"x".repeat(17 << 20));
    assert_eq!((&long["line"], &long["error"]["code"]), (&json!(3), &json!("stream.line")), "{long}");
    // Two readers could take them for two calls: the gate refuses, as it does for `action call`.
    let twice =
        answer(&mut stream, r#"{"id":"d","installation":"hello","action":"hello","params":{"name":"a","name":"b"}}"#);
    assert_eq!((&twice["id"], &twice["error"]["code"]), (&json!("d"), &json!("params.invalid")), "{twice}");
    let foreign = answer(&mut stream, r#"{"id":2,"installation":"hello","action":"hello","as":"acme/nobody"}"#);
    assert_eq!(foreign["error"]["code"], "caller.unknown", "{foreign}");
    stream.call(3, "hello", "hello", &json!({ "name": "Ada" }));
    assert_eq!(stream.answer(SOON)["ok"], true);
    assert_eq!(stream.end(), (Vec::new(), Some(0)));
}

/// A stream of calls to a server that thinks for a second.
fn slow(concurrency: usize) -> (World, Upstream, Stream) {
    let world = World::new();
    let server = Upstream::start(|_| Reply::json(200, &json!({})).after(Duration::from_secs(1)));
    world.open_loopback(server.port);
    world.install(&guest("hostile"), "evil", &[("base-url", &server.url())], &[("signing-secret", SECRET)]);
    let stream = Stream::start(&world, concurrency);
    (world, server, stream)
}

#[test]
fn no_more_run_at_once_than_was_said() {
    let (_world, server, mut stream) = slow(2);
    let begun = Instant::now();
    for id in 0..4 {
        stream.call(id, "evil", "fetch", &json!({ "url": server.url() + "/x", "method": "GET" }));
    }
    let (answers, _) = stream.end();
    assert_eq!(answers.len(), 4);
    assert!(begun.elapsed() >= Duration::from_secs(2), "four calls of a second, two at once: {:?}", begun.elapsed());
}

/// SIGTERM ends the reading; what has begun is answered, and the directory is free afterwards.
#[test]
fn a_signal_drains() {
    let (world, server, mut stream) = slow(4);
    stream.call("a", "evil", "fetch", &json!({ "url": server.url() + "/x", "method": "GET" }));
    while server.seen().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    stream.signal(libc::SIGTERM);
    let answer = stream.answer(SOON);
    assert_eq!((&answer["id"], &answer["ok"]), (&json!("a"), &json!(true)), "{answer}");
    assert_eq!(stream.child.wait().unwrap().code(), Some(0));
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "20"]).ok().to_string();
    assert!(log.contains("fetch") && !log.contains("interrupted"), "{log}");
}

/// A caller lets go of one call: it ends, the others go on, and the log says so.
#[test]
fn a_cancelled_call_ends_at_once() {
    let (world, server, mut stream) = slow(4);
    stream.call("a", "evil", "sleep-in-host-call", &json!({}));
    stream.call("b", "evil", "fetch", &json!({ "url": server.url() + "/x", "method": "GET" }));
    while server.seen().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    stream.send(r#"{"cancel":"a"}"#);
    let answer = stream.answer(SOON);
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!("stream.cancelled")), "{answer}");
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(stream.answer(SOON)["id"], "b");
    stream.end();
    let log = world.run(&["--as", "acme/ada", "audit", "list", "--limit", "20"]).ok().to_string();
    assert!(log.contains("cancelled"), "{log}");
}
