//! A host in a process of its own, for what the built command does not do while it serves calls: register components, and
//! panic in an import.
//!
//! `rig DIR` opens the data directory and reads lines: calls as `opsiq action stream` takes them, and
//! `{"id":"1","register":"FILE"}`. Answers are as those of `action stream`, without the data. Where storage tells its
//! operator that it did not serve, in the middle of a plugin's import, this host's logger panics: so whoever makes storage
//! fail makes the host panic, again and again.
#![allow(clippy::print_stdout, reason = "a program whose output is what it prints")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use opsiq_gate::{Actor, Call, Host, HostOptions, Refusal};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

/// A logger that panics at what storage says.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "opsiq_gate::kv"
    }

    fn event(&self, _: &Event<'_>) {
        panic!("storage did not serve");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == opsiq_gate::COMPILE_CHILD) {
        return opsiq_gate::compile_child();
    }
    let [dir] = &args[..] else { panic!("rig DIR") };
    // Ten thousand backtraces would tell nobody anything.
    std::panic::set_hook(Box::new(|_| {}));
    subscriber::set_global_default(Panics).unwrap();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(serve(HostOptions::new(dir)));
    ExitCode::SUCCESS
}

/// Answers lines until there are no more.
async fn serve(options: HostOptions) {
    let host = Host::open(options).await.unwrap();
    let (sender, mut lines) = tokio::sync::mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut tasks = JoinSet::new();
    while let Some(line) = lines.recv().await {
        while tasks.try_join_next().is_some() {}
        let (host, asked) = (host.clone(), serde_json::from_str::<Value>(&line).unwrap());
        tasks.spawn(async move {
            let answer = match asked["register"].as_str() {
                Some(file) => register(&host, file).await,
                None => call(&host, &asked).await,
            };
            let answer = match answer {
                Ok(()) => json!({ "id": asked["id"], "ok": true }),
                Err(refusal) => json!({ "id": asked["id"], "ok": false,
                    "error": { "code": refusal.code, "retry_after": refusal.retry_after } }),
            };
            let mut out = std::io::stdout().lock();
            writeln!(out, "{answer}").and_then(|()| out.flush()).unwrap();
        });
    }
    while tasks.join_next().await.is_some() {}
    host.close().await.unwrap();
}

async fn register(host: &Host, file: &str) -> Result<(), Refusal> {
    host.catalogue().register(&Actor::operator(), std::fs::read(file).unwrap()).await.map(drop)
}

async fn call(host: &Host, asked: &Value) -> Result<(), Refusal> {
    let text = |name: &str| asked[name].as_str().unwrap_or_else(|| panic!("no {name}: {asked}")).to_owned();
    let who = text("as");
    let (tenant, user) = who.split_once('/').unwrap();
    let call = Call {
        installation: text("installation"),
        action: text("action"),
        params: asked["params"].to_string().into_bytes(),
        idempotency_key: None,
    };
    host.invoke(&Actor::user(tenant.parse().unwrap(), user), call).await.map(drop)
}
