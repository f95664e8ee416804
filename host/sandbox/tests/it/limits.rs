//! Each limit ends the call that meets it, with its own code, and the sandbox goes on. The twin of each attack is the
//! same component under a limit that lets it finish.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsiq_sandbox::FaultCode;

use crate::guest::Guest;
use crate::host::{Installed, fault, sandbox};

/// About 100 ms of work on a machine of today, in a loop without calls.
const BUSY: &str = "(local.set $n (i32.const 200000000))
(loop $again
  (local.set $n (i32.sub (local.get $n) (i32.const 1)))
  (br_if $again (local.get $n)))";

const FOREVER: &str = "(loop $again (br $again))";

#[tokio::test]
async fn an_endless_loop_ends_at_its_cpu_time() {
    let guest = Guest::then_ok(FOREVER);
    let installed = Installed::new(&guest, "cpu = \"50ms\"").await;
    let began = Instant::now();
    let report = installed.run().await;
    assert_eq!(fault(&report), FaultCode::CpuExceeded);
    assert!(report.outcome.unwrap_err().to_string().contains("50 ms"));
    assert!((50_000..100_000).contains(&report.meter.cpu_us), "{:?}", report.meter);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn work_within_the_cpu_time_finishes_and_less_time_ends_it() {
    let guest = Guest::then_ok(BUSY);
    let enough = Installed::new(&guest, "cpu = \"20s\"").await;
    let report = enough.run().await;
    assert_eq!(report.outcome.unwrap(), "{}");
    let used = report.meter.cpu_us / 1000;
    let less = Installed::new(&guest, &format!("cpu = \"{}ms\"", (used / 3).max(1))).await;
    assert_eq!(less.fault().await, FaultCode::CpuExceeded);
}

#[tokio::test]
async fn a_start_function_is_within_the_limits() {
    let guest = Guest::then_ok("").item("(start $spin) (func $spin (loop $again (br $again)))");
    let installed = Installed::new(&guest, "cpu = \"30ms\"").await;
    assert_eq!(installed.fault().await, FaultCode::CpuExceeded);
    let grows = Guest::then_ok("").item("(start $grow) (func $grow (drop (memory.grow (i32.const 1024))))");
    let installed = Installed::new(&grows, "memory = \"1MiB\"").await;
    assert_eq!(installed.fault().await, FaultCode::MemoryExceeded);
    let installed = Installed::new(&grows, "memory = \"65MiB\"").await;
    assert!(installed.run().await.outcome.is_ok(), "with room it may grow at its start");
}

#[tokio::test]
async fn no_corner_of_a_call_is_outside_the_cpu_time() {
    let after = format!("(func (export \"cabi_post_opsiq:plugin/actions@0.1.0#invoke\") (param i32) {FOREVER})");
    let fills = "(loop $again (memory.fill (i32.const 65536) (i32.const 1) (i32.const 60000000)) (br $again))";
    for guest in
        [Guest::then_ok("").realloc(FOREVER), Guest::then_ok("").item(&after), Guest::then_ok(fills).pages(1000)]
    {
        let installed = Installed::new(&guest, "cpu = \"50ms\"").await;
        let report = installed.run().await;
        assert_eq!(fault(&report), FaultCode::CpuExceeded);
        assert!(report.meter.cpu_us < 150_000, "{:?}", report.meter);
    }
}

#[tokio::test]
async fn spinning_guests_let_others_run() {
    let sandbox = Arc::new(sandbox());
    let spin = Installed::load(Arc::clone(&sandbox), &Guest::then_ok(FOREVER), "cpu = \"400ms\"").await.unwrap();
    let quick = Installed::load(sandbox, &Guest::then_ok(""), "").await.unwrap();
    // One thread runs all of them.
    let quick_calls = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        for _ in 0..5 {
            quick.run().await.outcome.unwrap();
        }
        began.elapsed()
    };
    let (a, b, took) = tokio::join!(spin.run(), spin.run(), quick_calls);
    assert_eq!(fault(&a), FaultCode::CpuExceeded);
    assert_eq!(fault(&b), FaultCode::CpuExceeded);
    assert!(took < Duration::from_millis(600), "{took:?}");
}

#[tokio::test]
async fn memory_is_counted_over_growth() {
    let grow = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let installed = Installed::new(&Guest::then_ok(grow), "memory = \"8MiB\"").await;
    let report = installed.run().await;
    assert_eq!(fault(&report), FaultCode::MemoryExceeded);
    assert!(report.meter.peak_memory_bytes <= 8 << 20);
    assert!(report.outcome.unwrap_err().to_string().contains("8388608"));
    // The twin: 7 MiB of it, where 8 are allowed.
    let some = Guest::then_ok("(drop (memory.grow (i32.const 112)))");
    let report = Installed::new(&some, "memory = \"8MiB\"").await.run().await;
    assert_eq!((report.outcome.unwrap().as_str(), report.meter.peak_memory_bytes), ("{}", 114 << 16));
}

#[tokio::test]
async fn many_memories_are_no_way_around() {
    let three = Guest::then_ok("").item("(memory $a 64) (memory $b 64) (memory $c 64)");
    let installed = Installed::new(&three, "memory = \"8MiB\"").await;
    assert_eq!(installed.fault().await, FaultCode::MemoryExceeded);
    let installed = Installed::new(&three, "memory = \"13MiB\"").await;
    assert!(installed.run().await.outcome.is_ok());
}

#[tokio::test]
async fn a_declared_minimum_beyond_the_limit_is_not_even_loaded() {
    for pages in [1025, 65536] {
        let error = Installed::load(Arc::new(sandbox()), &Guest::then_ok("").pages(pages), "").await.err().unwrap();
        assert!(error.to_string().contains("memory"), "{error}");
    }
    let fits = Installed::load(Arc::new(sandbox()), &Guest::then_ok("").pages(1024), "").await.unwrap();
    assert!(fits.run().await.outcome.is_ok(), "64 MiB is the default limit");
}

#[tokio::test]
async fn tables_are_counted() {
    let grow = "(drop (table.grow (ref.null func) (i32.const 9000)))";
    let guest = Guest::then_ok(grow).item("(table 100 funcref)");
    assert!(Installed::new(&guest, "").await.run().await.outcome.is_ok());
    let installed = Installed::new(&guest, "table-elements = 9000").await;
    assert_eq!(installed.fault().await, FaultCode::TableExceeded);
    let most = Guest::then_ok("(drop (table.grow (ref.null func) (i32.const -1)))").item("(table 100 funcref)");
    assert_eq!(Installed::new(&most, "").await.fault().await, FaultCode::TableExceeded);
}

#[tokio::test]
async fn deep_recursion_is_a_fault_of_the_guest_alone() {
    let recurse = "(func $deep (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 0))))";
    let forever = Guest::then_ok("(drop (call $deep (i32.const -1)))").item(recurse);
    let installed = Installed::new(&forever, "").await;
    for _ in 0..20 {
        assert_eq!(installed.fault().await, FaultCode::StackExceeded);
    }
    let shallow = Guest::then_ok("(drop (call $deep (i32.const 1000)))").item(recurse);
    assert!(Installed::new(&shallow, "").await.run().await.outcome.is_ok());
}

#[tokio::test]
async fn results_have_a_size() {
    let answer = |bytes: u32| {
        let fill = format!("(memory.fill (i32.const 131072) (i32.const 32) (i32.const {bytes}))");
        Guest::new(&format!("{fill} (call $ok (i32.const 131072) (i32.const {bytes}))")).pages(600)
    };
    // A little over the limit is measured; far over it is not even copied.
    for bytes in [(1 << 20) + 1, 32 << 20] {
        assert_eq!(Installed::new(&answer(bytes), "").await.fault().await, FaultCode::ResultTooLarge);
    }
    let report = Installed::new(&answer(1 << 20), "").await.run().await;
    assert_eq!(report.outcome.unwrap().len(), 1 << 20);
    let report = Installed::new(&answer(32 << 20), "result = \"32MiB\"").await.run().await;
    assert_eq!(report.outcome.unwrap().len(), 32 << 20, "the twin: with the limit raised it comes through");
}

#[tokio::test]
async fn results_that_are_no_values_are_typed_faults() {
    for body in [
        "(call $ok (i32.const 1024) (i32.const -1))",
        "(call $ok (i32.const -16) (i32.const 64))",
        "(i32.store (i32.const 1024) (i32.const 0xfffefdfc)) (call $ok (i32.const 1024) (i32.const 4))",
        "(i32.const -4)",
        "(i32.const 3)",
        "(i32.store (i32.const 16) (i32.const 9)) (i32.const 16)",
    ] {
        let code = Installed::new(&Guest::new(body), "").await.fault().await;
        assert!(matches!(code, FaultCode::InvalidResult | FaultCode::TrapComponent), "{body}: {code}");
    }
}

#[tokio::test]
async fn log_floods_are_one_marker() {
    let flood = "(local.set $n (i32.const 900))
      (loop $again
        (call $write (i32.const 1) (i32.const 1024) (global.get $len))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br_if $again (local.get $n)))";
    let guest = Guest::then_ok(flood).import("log", "write", "(param i32 i32 i32)");
    let report = Installed::new(&guest.clone().data("{\"\u{1b}[31m\r\n\0\":1}"), "").await.run().await;
    assert_eq!(report.logs.len(), 101);
    assert_eq!(report.meter.host_calls, 900);
    assert!(report.logs[100].message.starts_with("log truncated"));
    assert!(report.logs.iter().all(|line| !line.message.contains(char::is_control)), "{:?}", report.logs[0]);
    let report = Installed::new(&guest.data(&" ".repeat(1000)), "").await.run().await;
    let bytes: usize = report.logs.iter().map(|line| line.message.len()).sum();
    assert!(report.logs.len() < 70 && bytes < (64 << 10) + 100, "{} lines of {bytes} bytes", report.logs.len());
}

#[tokio::test]
async fn host_calls_are_counted() {
    let calls = |count: u32| {
        let body = format!(
            "(local.set $n (i32.const {count}))
             (loop $again
               (drop (call $now_ms))
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br_if $again (local.get $n)))"
        );
        Guest::then_ok(&body).import("clock", "now-ms", "(result i64)")
    };
    assert_eq!(Installed::new(&calls(10_000_000), "").await.fault().await, FaultCode::HostcallCount);
    assert_eq!(Installed::new(&calls(1001), "").await.fault().await, FaultCode::HostcallCount);
    assert!(Installed::new(&calls(1000), "").await.run().await.outcome.is_ok());
    assert!(Installed::new(&calls(5000), "host-calls = 5000").await.run().await.outcome.is_ok());
}

#[tokio::test]
async fn bytes_passed_to_the_host_are_counted_over_all_calls() {
    let log = |times: u32, bytes: u32| {
        let body = format!(
            "(local.set $n (i32.const {times}))
             (loop $again
               (call $write (i32.const 1) (i32.const 131072) (i32.const {bytes}))
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br_if $again (local.get $n)))"
        );
        Guest::then_ok(&body).import("log", "write", "(param i32 i32 i32)").pages(800)
    };
    let at_once = log(1, 48 << 20);
    assert_eq!(Installed::new(&at_once, "").await.fault().await, FaultCode::HostcallBytes);
    let bit_by_bit = log(5, 1 << 20);
    assert_eq!(Installed::new(&bit_by_bit, "").await.fault().await, FaultCode::HostcallBytes);
    let report = Installed::new(&log(4, 1 << 20), "").await.run().await;
    assert_eq!((report.outcome.unwrap().as_str(), report.meter.hostcall_bytes), ("{}", 4 << 20));
    assert!(Installed::new(&at_once, "host-call-bytes = \"48MiB\"").await.run().await.outcome.is_ok());
}

#[tokio::test]
async fn random_bytes_are_counted() {
    let random = |bytes: u32| {
        let body = format!("(call $bytes (i32.const {bytes}) (i32.const 256))");
        Guest::then_ok(&body).import("random", "bytes", "(param i32 i32)").pages(4)
    };
    assert_eq!(Installed::new(&random(u32::MAX), "").await.fault().await, FaultCode::RandomExceeded);
    assert_eq!(Installed::new(&random(65_537), "").await.fault().await, FaultCode::RandomExceeded);
    assert!(Installed::new(&random(65_536), "").await.run().await.outcome.is_ok());
}

#[tokio::test]
async fn handles_are_counted_and_freed() {
    let open = |count: u32| {
        let body = format!(
            "(local.set $n (i32.const {count}))
             (loop $again
               (call $open (i32.const 2048) (i32.const 7) (i32.const 256))
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br_if $again (local.get $n)))"
        );
        Guest::then_ok(&body)
            .import("keys", "[static]key.open", "(param i32 i32 i32)")
            .item("(data (i32.const 2048) \"signing\")")
    };
    let leaks = Installed::new(&open(257), "").await;
    for _ in 0..10 {
        assert_eq!(leaks.fault().await, FaultCode::ResourcesExceeded);
    }
    let enough = Installed::new(&open(256), "").await;
    for _ in 0..10 {
        assert!(enough.run().await.outcome.is_ok(), "each call begins with none");
    }
    assert!(Installed::new(&open(300), "resources = 300").await.run().await.outcome.is_ok());
}

#[tokio::test]
async fn fuel_ends_a_call_where_it_is_asked_for() {
    let guest = Guest::then_ok(BUSY);
    let report = Installed::new(&guest, "fuel = 1000000\ncpu = \"20s\"").await.run().await;
    assert_eq!(fault(&report), FaultCode::FuelExceeded);
    let report = Installed::new(&guest, "fuel = 100000000000\ncpu = \"20s\"").await.run().await;
    assert_eq!(report.outcome.unwrap(), "{}");
    assert!(report.meter.fuel.unwrap() > 200_000_000, "{:?}", report.meter.fuel);
}

#[tokio::test]
async fn a_fuel_limit_that_cannot_be_kept_is_refused() {
    let mut installed = Installed::new(&Guest::then_ok(""), "").await;
    let fuel = opsiq_contract::Axis::named("fuel").unwrap();
    installed.ceiling.limits.set(fuel, 1_000_000);
    assert_eq!(installed.fault().await, FaultCode::FuelUncounted);
}

#[tokio::test]
async fn input_has_a_size() {
    let installed = Installed::new(&Guest::then_ok(""), "input = \"1KiB\"").await;
    let params = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes));
    assert_eq!(fault(&installed.run_with(&params(1024)).await), FaultCode::InputTooLarge);
    assert!(installed.run_with(&params(1000)).await.outcome.is_ok());
}
