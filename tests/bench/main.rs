//! `make bench`: what the guards cost, as ratios within one run. Absolute times depend on the machine and are shown
//! only to make the ratios readable. `--short` takes a quick look; `--only TEXT` measures only rows whose names hold it,
//! for a profiler.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is what it prints")]
#![allow(clippy::unwrap_used, reason = "a measure that cannot be taken has nothing to go on with")]

#[path = "../system/compile_bombs.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod compile_bombs;
#[path = "../system/component.rs"]
mod component;
mod egress;
mod guarded;
mod measure;
#[path = "../../host/cli/src/memory.rs"]
mod memory;
#[path = "../neighbour/mod.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod neighbour;
#[path = "../system/opsiq.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod opsiq;
mod parts;
mod promised;
mod raw;
#[path = "../system/rewritten.rs"]
mod rewritten;
mod scale;
#[path = "../system/written.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod written;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guarded::{Alone, Guest, Whole};
use measure::{Figure, Goal, Row, figures, table};
use opsiq_gate::Compiler;
use raw::{Raw, Setting};
use serde_json::json;
use tokio::runtime::Builder;

/// What the rows begin with of which the cheapest is the floor.
const FLOOR: &str = "raw engine";

/// How long to measure, and what.
struct Plan {
    turns: usize,
    time: Duration,
    only: Option<String>,
    short: bool,
}

impl Plan {
    fn table(&self, title: &str, rows: Vec<Row<'_>>, turns: usize, time: Duration) {
        table(title, FLOOR, self.only.as_deref(), rows, turns, time);
    }
}

fn main() {
    // As in the `opsiq` command, for all rows alike.
    memory::keep();
    let args: Vec<String> = std::env::args().collect();
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1)).cloned();
    let short = args.iter().any(|arg| arg == "--short");
    let (turns, time) = if short { (3, Duration::from_millis(100)) } else { (7, Duration::from_millis(400)) };
    let plan = Plan { turns, time, only, short };
    let guests = PathBuf::from(std::env::var_os("OPSIQ_GUESTS").unwrap_or_else(|| "target/guests".into()));
    let read = |name: &str| {
        let path = guests.join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; `make guests` builds it", path.display()))
    };
    let (hello, hostile) = (read("hello.wasm"), read("hostile.wasm"));
    let guest = Guest { bytes: &hello, action: "hello", params: r#"{"name":"Ada Lovelace"}"# };
    let write = Guest { bytes: &hostile, action: "echo-write", params: r#"{"text":"Ada Lovelace"}"# };

    one_thread(guest, &plan);
    two_threads(guest, &plan);
    whole_gate(guest, write, &plan);
    way_out(&plan);
    growth(guest, &plan);
    languages(&guests, guest, &plan);
    promised::neighbours(plan.only.as_deref(), plan.short);
}

/// Everything that one thread can be measured at: CPU an operation, as a multiple of the floor.
fn one_thread(guest: Guest<'_>, plan: &Plan) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let alone = runtime.block_on(Alone::new(guest, dir.path()));
    let raw = |setting| Raw::new(guest.bytes, setting).unwrap();
    let (tuned, defaults, on_demand) = (raw(Setting::Pooled), raw(Setting::PoolDefaults), raw(Setting::OnDemand));
    let (action, params) = (&guest.action.to_owned(), &guest.params.to_owned());
    let parts = parts::Parts::new();
    let rows = vec![
        Row::repeat("raw engine, tuned pool, sync", 64, || keep(tuned.fresh(action, params).unwrap())),
        Row::repeat("raw engine, tuned pool, async", 64, || {
            runtime.block_on(tuned.fresh_async(action, params)).unwrap();
        }),
        Row::repeat("raw engine, pool defaults, sync", 64, || keep(defaults.fresh(action, params).unwrap())),
        Row::repeat("raw engine, on demand, sync", 64, || keep(on_demand.fresh(action, params).unwrap())),
        Row::prepared(
            "sandbox::run, all limits, all capabilities",
            16,
            || runtime.block_on(alone.ready(guest.action)),
            |run| keep(runtime.block_on(alone.run_ready(run))),
        )
        .goal(Goal::Ratio(1.25)),
        // As the gate makes them for each call; the answer is not yet checked or recorded.
        Row::repeat("the same, with its decision, place and permit", 64, || {
            runtime.block_on(alone.run(guest.action));
        })
        .goal(Goal::Ratio(1.5)),
        Row::repeat("decision alone", 64, || keep(alone.decision(guest.action))),
        Row::repeat("decision, and a place taken and given back", 64, || {
            keep(runtime.block_on(alone.place(guest.action)));
        }),
        Row::repeat("schema check of the parameters", 64, || keep(alone.schema(guest))),
        Row::repeat("HMAC-SHA256 over 1 KiB", 64, || keep(parts.hmac())),
        Row::repeat("seal and open of 256 B", 64, || keep(parts.seal())),
        Row::repeat("firewall lookup, 100,000 rules", 256, || keep(parts.lookup())).goal(Goal::Rate(1e6)),
        Row::repeat("leak guard: 200 B, one key", 64, || keep(parts.one_key())),
        Row::repeat("leak guard: 200 B, 50 keys", 64, || keep(parts.many_keys())),
        Row::repeat("leak guard: 1 MiB with escapes, 50 keys", 4, || keep(parts.large())),
    ];
    plan.table("one thread", rows, plan.turns, plan.time);
}

/// What a second thread adds: instances of the same guest made and dropped side by side.
fn two_threads(guest: Guest<'_>, plan: &Plan) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let alone = runtime.block_on(Alone::new(guest, dir.path()));
    let tuned = Raw::new(guest.bytes, Setting::Pooled).unwrap();
    let (action, params) = (&guest.action.to_owned(), &guest.params.to_owned());
    let raw = || keep(tuned.fresh(action, params).unwrap());
    let run = || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let alone = &alone;
        move || {
            runtime.block_on(alone.run(guest.action));
        }
    };
    let (one, two) = ("sandbox::run on one thread", "sandbox::run on two threads");
    let rows = vec![
        Row::threads("raw engine, tuned pool, sync, one thread", 1, || raw),
        Row::threads("raw engine, tuned pool, sync, two threads", 2, || raw),
        Row::threads(one, 1, run),
        Row::threads(two, 2, run).goal(Goal::Scale(1.4, one)),
    ];
    plan.table("scaling with threads", rows, plan.turns, plan.time);
}

/// The gate with its log on disk, on both cores.
fn whole_gate(guest: Guest<'_>, write: Guest<'_>, plan: &Plan) {
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let reads = runtime.block_on(Whole::new(guest.bytes, json!({}), &dir.path().join("reads")));
    let writes = runtime.block_on(Whole::new(
        write.bytes,
        json!({ "base-url": "https://example.com" }),
        &dir.path().join("writes"),
    ));
    let tuned = Raw::new(guest.bytes, Setting::Pooled).unwrap();
    let (action, params) = (&guest.action.to_owned(), &guest.params.to_owned());
    let rows = vec![
        Row::repeat("raw engine, tuned pool, sync", 64, || keep(tuned.fresh(action, params).unwrap())),
        Row::driven("whole gate, reads, 64 callers", |time| reads.drive(&runtime, guest, 64, time))
            .goal(Goal::Ratio(5.0)),
        Row::driven("whole gate, reads, 256 callers", |time| reads.drive(&runtime, guest, 256, time))
            .goal(Goal::Ratio(5.0))
            .goal(Goal::Rate(20_000.0)),
        Row::driven("whole gate, writes, 64 callers", |time| writes.drive(&runtime, write, 64, time)),
        Row::driven("whole gate, writes, 256 callers", |time| writes.drive(&runtime, write, 256, time))
            .goal(Goal::Rate(10_000.0)),
    ];
    plan.table("whole gate, durable audit on SQLite FULL", rows, plan.turns.min(3), plan.time * 3);
    runtime.block_on(async {
        reads.close().await;
        writes.close().await;
    });
}

/// A request that leaves through the way out, by its wall time: the server's part is in all rows alike.
fn way_out(plan: &Plan) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = egress::server();
    let guarded = egress::Guarded::new(server);
    let mut kept = runtime.block_on(egress::plain(server));
    let (one, one_each) = ("plain hyper client, one connection for all", "plain hyper client, a connection each");
    // At most a fifth more time is at least 1/1.2 of the rate.
    let most = |than| Goal::Scale(0.833, than);
    let rows = vec![
        Row::repeat(one, 16, || {
            keep(runtime.block_on(egress::ask(&mut kept, server, false)));
        }),
        Row::repeat(one_each, 16, || {
            let one = async { egress::ask(&mut egress::plain(server).await, server, true).await };
            keep(runtime.block_on(one));
        }),
        Row::repeat("through egress: rule, address, limits, record", 16, || keep(runtime.block_on(guarded.ask(true))))
            .goal(most(one)),
        Row::repeat("through egress, a connection each", 16, || keep(runtime.block_on(guarded.ask(false))))
            .goal(most(one_each)),
    ];
    table("HTTP to a loopback server", one, plan.only.as_deref(), rows, plan.turns, plan.time);
}

/// What a host's age and size cost: a start with compiled code, and many installations.
fn growth(guest: Guest<'_>, plan: &Plan) {
    if plan.only.as_ref().is_some_and(|only| !"installations restart".contains(only.as_str())) {
        return;
    }
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cold = scale::cold(&runtime, guest, &dir.path().join("cold"), if plan.short { 5 } else { 15 });
    let (tenants, each) = if plan.short { (50, 10) } else { (100, 100) };
    let grown = scale::grow(&runtime, guest, &dir.path().join("many"), tenants, each);
    let ([one, all], count) = (grown.call_us, grown.count);
    let rows = [
        Figure::new("restart to the first answer, code compiled", cold.as_secs_f64() * 1e3, "ms", 10.0),
        Figure::new(format!("memory for each of {count} installations"), grown.kib_each, "KiB", 64.0),
        Figure::new("CPU a call, one installation", one, "us", None),
        Figure::new(format!("CPU a call, {count} installations"), all, "us", None),
        Figure::new(format!("the same as a multiple, {count} installations"), all / one, "x", 1.1),
    ];
    figures("growth", None, &rows);
}

/// The same small plugin in each language that was built: its size, what it takes to compile in the host's child, and a
/// call. `opsiq plugin build examples/hello-js --out target/guests/hello-js.wasm` makes one.
fn languages(guests: &Path, rust: Guest<'_>, plan: &Plan) {
    if plan.only.as_ref().is_some_and(|only| !"hello in".contains(only.as_str())) {
        return;
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut rows = Vec::new();
    for (language, file) in [("Rust", "hello.wasm"), ("JavaScript", "hello-js.wasm"), ("Python", "hello-python.wasm")] {
        let Ok(bytes) = std::fs::read(guests.join(file)) else { continue };
        let guest = Guest { bytes: &bytes, ..rust };
        let (dir, begun) = (tempfile::tempdir().unwrap(), Instant::now());
        let alone = runtime.block_on(Alone::compiled_by(guest, dir.path(), Compiler::Child(scale::opsiq())));
        let took = begun.elapsed();
        let call = measure::sample(|| {
            let (begun, mut calls) = (Instant::now(), 0);
            while begun.elapsed() < plan.time {
                keep(runtime.block_on(alone.run(guest.action)));
                calls += 1;
            }
            calls
        });
        let mebibytes = f64::from(u32::try_from(bytes.len()).unwrap()) / f64::from(1 << 20);
        rows.push(Figure::new(format!("hello in {language}: size"), mebibytes, "MiB", None));
        rows.push(Figure::new(format!("hello in {language}: to compile, once"), took.as_secs_f64(), "s", None));
        rows.push(Figure::new(format!("hello in {language}: CPU a call"), call.cpu_us, "us", None));
    }
    figures("languages", None, &rows);
}

/// Keeps a result from being optimised away.
fn keep<T>(result: T) {
    std::hint::black_box(result);
}
