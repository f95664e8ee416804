//! `opsiq action stream`: many calls in one process, side by side, each by the same path as `opsiq action call`.
//!
//! Memory is bounded whatever comes in: a line has a greatest length, the lines of the calls in progress have one together,
//! and answers wait for their reader, which holds up the calls and then the reading. What cannot be read is answered line
//! by line. The end of the input, SIGINT and SIGTERM end the reading; what has begun is answered, and a second signal does
//! not wait for that.

mod lines;
mod request;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use clap::Args;
use opsiq_gate::{Actor, Call, Host};
use serde_json::{Value, json};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use self::lines::{Line, MAX_LINE};
use self::request::{CallId, Request};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::reach::Came;
use crate::session::Session;
use crate::shell::{Signals, interrupted, until_interrupted};

/// Bytes of the lines of all calls in progress, at most.
const IN_FLIGHT: usize = 4 * MAX_LINE;

const FORM: &str = "\
Each line of standard input is one call: {\"id\":1,\"installation\":\"shop\",\"action\":\"get-order\",\"params\":{…}}, with \
`idempotency_key` and `as` (TENANT/USER) where wanted; `id` is a text or an integer and comes back with the answer. \
{\"cancel\":1} lets go of the call of that id: a read ends, and a write that has begun goes on to its end.

Each answer is one line: {\"id\":1,\"ok\":true,\"data\":{…,\"meter\":{…}}} or {\"id\":1,\"ok\":false,\"error\":{…}}.";

/// How to run them.
#[derive(Debug, Args)]
#[command(after_help = FORM)]
pub(crate) struct StreamArgs {
    /// Calls in progress at once, at most.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// Show fields of results that the contract marks secret or personal.
    #[arg(long)]
    reveal: bool,
}

/// How many calls ended how.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    pending: u64,
    failed: u64,
}

/// One answer, and what it counts as.
struct Answered {
    line: String,
    exit: Exit,
}

/// A call in progress.
struct InFlight {
    abort: AbortHandle,
    /// Of its line.
    bytes: usize,
}

/// The calls of one stream.
struct Stream {
    host: Host,
    /// Whose calls they are that name nobody.
    actor: Option<Actor>,
    reveal: bool,
    calls: JoinSet<Answered>,
    ids: HashMap<Id, CallId>,
    in_flight: HashMap<CallId, InFlight>,
    /// Of the lines of all of them.
    bytes: usize,
    /// The next call, read while there was no room for it, so that what cancels another is read as well.
    next: Option<Asked>,
}

/// A call as its line asks for it.
struct Asked {
    id: CallId,
    call: Call,
    who: Option<String>,
    /// Of its line.
    bytes: usize,
}

/// Reads, calls and answers until the input ends or the user asks to.
pub(crate) async fn run(args: StreamArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    // Nobody need be named for all of them, but whoever is named must make sense.
    let actor = session.acting.is_user().then(|| session.acting.user()).transpose()?;
    let host = until_interrupted(session.host()).await?.clone();
    let (answers, writer) = Output::lines();
    let mut lines = lines::read(std::io::stdin());
    let mut stream = Stream {
        host,
        actor,
        reveal: args.reveal,
        calls: JoinSet::new(),
        ids: HashMap::new(),
        in_flight: HashMap::new(),
        bytes: 0,
        next: None,
    };
    let (began, mut tally) = (Instant::now(), Tally::default());
    let (mut reading, mut answer): (bool, Option<Answered>) = (true, None);
    let ended: Result<(), Failure> = loop {
        let room = stream.calls.len() < usize::from(args.concurrency) && stream.bytes + MAX_LINE <= IN_FLIGHT;
        if room
            && answer.is_none()
            && let Some(asked) = stream.next.take()
        {
            answer = stream.begin(asked, session);
        }
        if !reading && answer.is_none() && stream.calls.is_empty() {
            break Ok(());
        }
        tokio::select! {
            biased;
            () = signals.next() => {
                if !reading {
                    break Err(interrupted());
                }
                reading = false;
                session.out.note("No more is read; what has begun is waited for. Interrupt again to end now.");
            }
            place = answers.reserve(), if answer.is_some() => match (place, answer.take()) {
                (Ok(place), Some(answer)) => {
                    tally.count(answer.exit);
                    place.send(answer.line);
                }
                // The reader of the answers has gone: nobody would learn of the others.
                _ => break Ok(()),
            },
            Some(ended) = stream.calls.join_next_with_id(), if answer.is_none() => answer = stream.ended(ended),
            line = lines.recv(), if answer.is_none() && reading && stream.next.is_none() => match line {
                None => reading = false,
                Some(Ok(line)) => answer = stream.take(&line),
                Some(Err(failure)) => break Err(failure),
            },
        }
    };
    stream.calls.shutdown().await;
    drop((stream, answers));
    session.out.note(&tally.shown(began));
    ended?;
    tokio::select! {
        written = tokio::task::spawn_blocking(move || writer.join()) => match written {
            Ok(Ok(written)) => written.map(|()| Exit::Done),
            _ => Err(Failure::new(Exit::Internal, "host.internal", "writing the answers ended abnormally")),
        },
        () = signals.next() => Err(interrupted()),
    }
}

impl Stream {
    /// Takes what a line asks for: a call is the next one, and what cancels another does so. Answers what is neither.
    fn take(&mut self, line: &Line) -> Option<Answered> {
        match Request::read(line) {
            Ok(Some(Request::Call { id, call, who })) => {
                self.next = Some(Asked { id, call, who, bytes: line.bytes.len() });
                None
            }
            Ok(Some(Request::Cancel(id))) => {
                // One that has ended meanwhile has its answer already.
                self.in_flight.get(&id)?.abort.abort();
                None
            }
            Ok(None) => None,
            Err(failure) => Some(unreadable(line, &failure)),
        }
    }

    /// Begins a call; answers at once what cannot begin.
    fn begin(&mut self, asked: Asked, session: &Session<'_>) -> Option<Answered> {
        let Asked { id, call, who, bytes } = asked;
        if self.in_flight.contains_key(&id) {
            let failure = Failure::new(Exit::Refused, "stream.id-in-use", "a call of this id is in progress")
                .fix("give each call an id of its own");
            return Some(failed(&id, &failure));
        }
        let actor = match (who, &self.actor) {
            (Some(who), _) => session.acting.named(&who),
            (None, Some(actor)) => Ok(actor.clone()),
            (None, None) => Err(Failure::usage("which user of which tenant calls?")
                .fix("\"as\":\"TENANT/USER\" in the line, or --as TENANT/USER for all of them")),
        };
        let actor = match actor {
            Ok(actor) => actor,
            Err(failure) => return Some(failed(&id, &failure)),
        };
        let (host, reveal, named) = (self.host.clone(), self.reveal, id.clone());
        let abort = self.calls.spawn(async move { call_one(&host, &actor, call, reveal, &named).await });
        self.ids.insert(abort.id(), id.clone());
        self.in_flight.insert(id, InFlight { abort, bytes });
        self.bytes += bytes;
        None
    }

    /// What became of a call.
    fn ended(&mut self, ended: Result<(Id, Answered), JoinError>) -> Option<Answered> {
        let task = ended.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let id = self.ids.remove(&task)?;
        self.bytes -= self.in_flight.remove(&id).map_or(0, |call| call.bytes);
        Some(match ended {
            Ok((_, answered)) => answered,
            Err(error) if error.is_cancelled() => {
                let failure = Failure::new(Exit::Interrupted, "stream.cancelled", "the call was let go of");
                failed(&id, &failure.detail("A read has ended; a write that had begun goes on to its end."))
            }
            Err(_) => failed(&id, &Failure::new(Exit::Internal, "host.internal", "the call ended abnormally")),
        })
    }
}

async fn call_one(host: &Host, actor: &Actor, call: Call, reveal: bool, id: &CallId) -> Answered {
    let came = match host.invoke(actor, call).await {
        Ok(answer) => Came::of(&answer, reveal),
        Err(refusal) => Err(refusal.into()),
    };
    match came {
        Ok(came) => {
            let exit = if matches!(came, Came::Done { .. }) { Exit::Done } else { Exit::Pending };
            Answered { line: json!({ "id": id, "ok": true, "data": came }).to_string(), exit }
        }
        Err(failure) => failed(id, &failure),
    }
}

fn failed(id: &CallId, failure: &Failure) -> Answered {
    Answered { line: json!({ "id": id, "ok": false, "error": failure }).to_string(), exit: failure.exit }
}

/// The answer to a line whose id is not known.
fn unreadable(line: &Line, failure: &Failure) -> Answered {
    let answer = json!({ "id": Value::Null, "line": line.number, "ok": false, "error": failure });
    Answered { line: answer.to_string(), exit: failure.exit }
}

impl Tally {
    fn count(&mut self, exit: Exit) {
        match exit {
            Exit::Done => self.done += 1,
            Exit::Pending => self.pending += 1,
            _ => self.failed += 1,
        }
    }

    fn shown(&self, began: Instant) -> String {
        let Self { done, pending, failed } = self;
        let mut shown = format!("{done} done");
        if *pending > 0 {
            let _ = write!(shown, ", {pending} wait for a person");
        }
        if *failed > 0 {
            let _ = write!(shown, ", {failed} refused or failed");
        }
        format!("{shown}, in {:.1} s", began.elapsed().as_secs_f64())
    }
}
