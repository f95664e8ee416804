//! Runs components that nobody wrote in a host process of its own, and holds that the process lives, stays within its
//! memory, and ends each of them by a named error.
//!
//! `smith [--count N] [--seed S] [--memory MIB] [--batch N]`: prints how they ended, and fails with the seed and number of
//! the first that did something else. The modules come from `opsiq-smith` (`tests/smith`), which `make guests` builds;
//! `OPSIQ_SMITH` names another place of it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is what it prints")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[path = "../system/component.rs"]
mod component;
mod host;
mod watch;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use watch::{Batch, Ended};

/// What to run.
struct Plan {
    seed: u64,
    count: u64,
    /// The host process may have so much memory, in MiB.
    memory: u64,
    /// Components of one host process.
    batch: u64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == opsiq_gate::COMPILE_CHILD) {
        return opsiq_gate::compile_child();
    }
    if args.iter().any(|arg| arg == "--help") {
        println!("smith [--count N] [--seed S] [--memory MIB] [--batch N]");
        return ExitCode::SUCCESS;
    }
    let value = |name: &str, default: u64| match args.iter().position(|arg| arg == name) {
        Some(at) => args.get(at + 1).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} N")),
        None => default,
    };
    let plan = Plan {
        seed: value("--seed", 1),
        count: value("--count", 1000),
        memory: value("--memory", 1024),
        batch: value("--batch", 500),
    };
    if args.first().is_some_and(|arg| arg == "--host") {
        return host::run(plan.seed, value("--from", 0), plan.count, args.iter().any(|arg| arg == "--die"));
    }
    if args.iter().any(|arg| arg == "--die") {
        // For the test of this program: a host that dies must be noticed.
        return told(watch::run(&Batch { seed: plan.seed, from: 0, count: 1, memory: plan.memory, die: true }));
    }
    parent(&plan)
}

fn parent(plan: &Plan) -> ExitCode {
    let began = Instant::now();
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    let mut from = 0;
    while from < plan.count {
        let count = plan.batch.min(plan.count - from);
        let batch = Batch { seed: plan.seed, from, count, memory: plan.memory, die: false };
        let ended = watch::run(&batch);
        if ended.is_err() {
            return told(ended);
        }
        for (code, times) in ended.unwrap_or_default() {
            *all.entry(code).or_default() += times;
        }
        from += count;
        eprintln!("{from} of {} after {} s", plan.count, began.elapsed().as_secs());
    }
    for (code, times) in &all {
        println!("{times:>8}  {code}");
    }
    let ran: u64 = all.iter().filter(|(code, _)| !code.starts_with("not ")).map(|(_, times)| times).sum();
    println!("{ran:>8}  ran, of {} with seed {}; the host lived", plan.count, plan.seed);
    // What runs nothing shows nothing.
    if ran * 10 < plan.count { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn told(ended: Ended) -> ExitCode {
    match ended {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
