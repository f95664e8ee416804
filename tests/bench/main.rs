//! `make bench`: what the guards cost, as ratios within one run. Absolute times depend on the machine and are shown
//! only to make the ratios readable.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is what it prints")]
#![allow(clippy::unwrap_used, reason = "a measure that cannot be taken has nothing to go on with")]

mod guarded;
mod measure;
mod parts;
mod raw;

use std::path::PathBuf;
use std::time::Duration;

use guarded::{Alone, Guest, Whole};
use measure::{Row, Sample, rounds};
use raw::{Raw, Setting};
use serde_json::json;
use tokio::runtime::Builder;

/// The row the others are compared with.
const FLOOR: &str = "raw engine, tuned pool, sync";

fn main() {
    let short = std::env::args().any(|arg| arg == "--short");
    let (turns, time) = if short { (3, Duration::from_millis(100)) } else { (7, Duration::from_millis(400)) };
    let guests = PathBuf::from(std::env::var_os("OPSIQ_GUESTS").unwrap_or_else(|| "target/guests".into()));
    let read = |name: &str| {
        let path = guests.join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; `make guests` builds it", path.display()))
    };
    let (hello, hostile) = (read("hello.wasm"), read("hostile.wasm"));
    let guest = Guest { bytes: &hello, action: "hello", params: r#"{"name":"Ada Lovelace"}"# };
    let write = Guest { bytes: &hostile, action: "echo-write", params: r#"{"text":"Ada Lovelace"}"# };

    one_thread(guest, turns, time);
    whole_gate(guest, write, turns.min(3), time * 3);
}

/// Everything that one thread can be measured at: CPU an operation, as a multiple of the floor.
fn one_thread(guest: Guest<'_>, turns: usize, time: Duration) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let alone = runtime.block_on(Alone::new(guest, dir.path()));
    let raw = |setting| Raw::new(guest.bytes, setting).unwrap();
    let (tuned, defaults, on_demand) = (raw(Setting::Pooled), raw(Setting::PoolDefaults), raw(Setting::OnDemand));
    let (action, params) = (&guest.action.to_owned(), &guest.params.to_owned());
    let parts = parts::Parts::new();
    let mut rows = [
        Row::repeat(FLOOR, 64, || keep(tuned.fresh(action, params).unwrap())),
        Row::repeat("raw engine, tuned pool, async", 64, || {
            runtime.block_on(tuned.fresh_async(action, params)).unwrap();
        }),
        Row::repeat("raw engine, pool defaults, sync", 64, || keep(defaults.fresh(action, params).unwrap())),
        Row::repeat("raw engine, on demand, sync", 64, || keep(on_demand.fresh(action, params).unwrap())),
        Row::repeat("sandbox::run, all limits, with authority", 64, || {
            runtime.block_on(alone.run(guest.action));
        }),
        Row::repeat("authority alone", 64, || keep(alone.authority(guest.action))),
        Row::repeat("schema check of the parameters", 64, || keep(alone.schema(guest))),
        Row::repeat("HMAC-SHA256 over 1 KiB", 64, || keep(parts.hmac())),
        Row::repeat("seal and open of 256 B", 64, || keep(parts.seal())),
    ];
    println!("\none thread                                      CPU us    x floor        per s");
    let samples = rounds(&mut rows, turns, time);
    let floor = samples.iter().find(|(name, _)| *name == FLOOR).map_or(f64::NAN, |(_, sample)| sample.cpu_us);
    for (name, sample) in samples {
        line(name, sample, floor);
    }
}

/// The gate with its log on disk, on both cores.
fn whole_gate(guest: Guest<'_>, write: Guest<'_>, turns: usize, time: Duration) {
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
    let mut rows = [
        Row::repeat(FLOOR, 64, || keep(tuned.fresh(action, params).unwrap())),
        Row::driven("whole gate, reads, 64 callers", |time| reads.drive(&runtime, guest, 64, time)),
        Row::driven("whole gate, reads, 256 callers", |time| reads.drive(&runtime, guest, 256, time)),
        Row::driven("whole gate, writes, 64 callers", |time| writes.drive(&runtime, write, 64, time)),
        Row::driven("whole gate, writes, 256 callers", |time| writes.drive(&runtime, write, 256, time)),
    ];
    println!("\nwhole gate, durable audit on SQLite FULL        CPU us    x floor        per s");
    let samples = rounds(&mut rows, turns, time);
    drop(rows);
    let floor = samples.first().map_or(f64::NAN, |(_, sample)| sample.cpu_us);
    for (name, sample) in samples {
        line(name, sample, floor);
    }
    runtime.block_on(async {
        reads.close().await;
        writes.close().await;
    });
}

/// Keeps a result from being optimised away.
fn keep<T>(result: T) {
    std::hint::black_box(result);
}

fn line(name: &str, sample: Sample, floor: f64) {
    println!("{name:44} {:9.2} {:10.2} {:12.0}", sample.cpu_us, sample.cpu_us / floor, sample.per_second);
}
