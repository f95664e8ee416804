//! A call that turns out to wait is begun anew, and nobody can tell: what it did before is there once, in order.

use opsiq_sandbox::{FaultCode, RunReport};

use crate::guest::Guest;
use crate::host::{Installed, Memory};

/// Records an event that is declared and one that is not, logs a line, does `then`, and logs another.
fn says_then(then: &str) -> Guest {
    let body = format!(
        "(call $emit (i32.const 512) (i32.const 11) (i32.const 1024) (i32.const 2) (i32.const 256))
         (call $emit (i32.const 512) (i32.const 5) (i32.const 1024) (i32.const 2) (i32.const 256))
         (call $write (i32.const 1) (i32.const 512) (i32.const 5))
         {then}
         (call $write (i32.const 1) (i32.const 518) (i32.const 5))"
    );
    Guest::then_ok(&body)
        .import("audit", "emit", "(param i32 i32 i32 i32 i32)")
        .import("log", "write", "(param i32 i32 i32)")
        .import("kv", "get", "(param i32 i32 i32)")
        .item("(data (i32.const 512) \"guest.acted\")(data (i32.const 2048) \"k\")")
}

const GET: &str = "(call $get (i32.const 2048) (i32.const 1) (i32.const 256))";
/// A few million rounds: some ticks, and far from the limit.
const COMPUTE: &str = "(loop $again (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $again (i32.lt_u (local.get $n) (i32.const 40000000))))";

/// All that a report says of what was said.
fn said(report: &RunReport) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
    (
        report.logs.iter().map(|line| line.message.as_str()).collect(),
        report.events.iter().map(|event| event.event.as_str()).collect(),
        report.denials.iter().map(|denial| denial.code).collect(),
    )
}

#[tokio::test]
async fn what_was_said_before_a_wait_is_said_once() {
    for (then, host_calls) in [("", 4), (GET, 5), (COMPUTE, 4)] {
        let installed = Installed::new(&says_then(then), "").await.with_kv(Memory::default());
        // The second knows how the first went, and the third how the second did.
        for _ in 0..3 {
            let report = installed.run().await;
            assert_eq!(report.outcome.as_deref(), Ok("{}"), "{then}");
            let once = (vec!["guest", "acted"], vec!["guest.acted"], vec!["audit.not-declared"]);
            assert_eq!(said(&report), once, "{then}");
            assert_eq!(report.meter.host_calls, host_calls, "{then}");
            assert_eq!(report.meter.log_lines, 2, "{then}");
        }
        let stats = installed.sandbox.stats();
        assert_eq!((stats.started, stats.finished, stats.running), (3, 3, 0), "an attempt is no call");
    }
}

#[tokio::test]
async fn limits_hold_over_both_attempts_and_leave_no_slot_taken() {
    // One that needs all its imports in the second attempt has them, and not one more.
    for (limit, ends) in [(5, None), (4, Some(FaultCode::HostcallCount))] {
        let limits = format!("host-calls = {limit}");
        let installed = Installed::new(&says_then(GET), &limits).await.with_kv(Memory::default());
        match ends {
            None => assert!(installed.run().await.outcome.is_ok()),
            Some(code) => assert_eq!(installed.fault().await, code),
        }
    }
    // Waits in every call, and in no call but the first of a plugin is that a surprise.
    let installed = Installed::new(&says_then(GET), "").await.with_kv(Memory::default());
    for _ in 0..600 {
        assert!(installed.run().await.outcome.is_ok(), "more calls than the pool has slots");
    }
}
