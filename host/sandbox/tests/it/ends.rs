//! However a call ends, it ends alone: nothing of it is left for the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opsiq_contract::{CanonicalJson, Fairness, Level};
use opsiq_sandbox::{Fault, FaultCode, Kv, KvEntry, KvError, Live, NoPlace, Phase, Pool, Run, Sandbox, SandboxConfig};

use crate::guest::Guest;
use crate::host::{INVOCATION, Installed, Memory, config, fault};

/// Asks storage for a key, and answers.
fn asks_storage() -> Guest {
    Guest::then_ok("(call $get (i32.const 2048) (i32.const 1) (i32.const 256))")
        .import("kv", "get", "(param i32 i32 i32)")
        .item("(data (i32.const 2048) \"k\")")
}

/// Storage that never answers, or panics.
struct Broken {
    panics: bool,
}

#[async_trait]
impl Kv for Broken {
    async fn get(&self, _key: &str) -> Result<Option<KvEntry>, KvError> {
        assert!(!self.panics, "storage fails");
        std::future::pending().await
    }

    async fn set(&self, _: &str, _: Vec<u8>, _: Option<u64>, _: u64) -> Result<u64, KvError> {
        Err(KvError::Unavailable)
    }

    async fn delete(&self, _: &str, _: Option<u64>) -> Result<(), KvError> {
        Err(KvError::Unavailable)
    }

    async fn keys(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, KvError> {
        Err(KvError::Unavailable)
    }
}

#[tokio::test]
async fn the_wall_limit_ends_a_call_that_waits_in_an_import() {
    let installed = Installed::new(&asks_storage(), "wall = \"100ms\"").await.with_kv(Broken { panics: false });
    let began = Instant::now();
    let report = installed.run().await;
    assert_eq!(fault(&report), FaultCode::WallExceeded);
    assert!(began.elapsed() >= Duration::from_millis(100) && began.elapsed() < Duration::from_secs(3));
    assert_eq!(report.meter.host_calls, 1);
    let answers = installed.with_kv(Memory::default());
    assert!(answers.run().await.outcome.is_ok(), "the twin: storage that answers");
}

#[tokio::test]
async fn the_wall_limit_ends_a_call_that_computes() {
    let guest = Guest::then_ok("(loop $again (br $again))");
    let installed = Installed::new(&guest, "wall = \"100ms\"\ncpu = \"20s\"").await;
    assert_eq!(installed.fault().await, FaultCode::WallExceeded);
}

#[tokio::test]
async fn a_panic_of_the_host_fails_that_call_alone() {
    let installed = Installed::new(&asks_storage(), "").await.with_kv(Broken { panics: true });
    for _ in 0..200 {
        assert_eq!(installed.fault().await, FaultCode::HostPanic);
    }
    assert_eq!(installed.sandbox.stats().running, 0);
    assert!(installed.with_kv(Memory::default()).run().await.outcome.is_ok());
}

#[tokio::test]
async fn calls_whose_callers_leave_are_cleaned_up_and_counted() {
    let installed = Installed::new(&asks_storage(), "").await.with_kv(Broken { panics: false });
    for _ in 0..100 {
        let left = tokio::time::timeout(Duration::from_millis(2), installed.run()).await;
        assert!(left.is_err(), "it waits for storage that never answers");
    }
    let stats = installed.sandbox.stats();
    assert_eq!((stats.running, stats.finished), (0, 0));
    assert_eq!(stats.started, stats.cancelled);
    assert!(stats.cancelled > 50);
    // All eight slots are free again.
    let installed = installed.with_kv(Memory::default());
    let calls: Vec<_> = (0..8).map(|_| installed.run()).collect();
    assert!(futures::future::join_all(calls).await.into_iter().all(|report| report.outcome.is_ok()));
}

fn stopped() -> Fault {
    Fault::new(FaultCode::Stopped, "by the operator: it misbehaves")
}

#[tokio::test]
async fn the_kill_switch_ends_what_waits_and_what_computes_and_nothing_else() {
    let waits = Installed::new(&asks_storage(), "").await.with_kv(Broken { panics: false });
    let spins =
        Installed::load(Arc::clone(&waits.sandbox), &Guest::then_ok("(loop $again (br $again))"), "cpu = \"20s\"")
            .await
            .unwrap();
    let (first, second) = (Live::new(), Live::new());
    let began = Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!((first.seen().phase, second.seen().phase), (Phase::Storage, Phase::Computing));
        assert_eq!(first.seen().host_calls, 1);
        first.stop(stopped());
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(waits.sandbox.stats().running, 1, "the other call goes on");
        assert!(second.seen().cpu_us > 0);
        second.stop(stopped());
    };
    let (one, other, ()) =
        tokio::join!(waits.run_seen("{}", first.clone()), spins.run_seen("{}", second.clone()), stop);
    assert_eq!((fault(&one), fault(&other)), (FaultCode::Stopped, FaultCode::Stopped));
    assert!(one.outcome.unwrap_err().to_string().contains("it misbehaves"));
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(waits.with_kv(Memory::default()).run().await.outcome.is_ok());
}

#[tokio::test]
async fn a_stopped_call_that_waits_for_a_slot_does_not_begin() {
    let one = SandboxConfig { slots: 1, fairness: Fairness::default(), ..config() };
    let waits = Installed::load(Arc::new(Sandbox::new(one).unwrap()), &asks_storage(), "").await.unwrap();
    let waits = waits.with_kv(Broken { panics: false });
    let (first, second) = (Live::new(), Live::new());
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(first.began() && !second.began());
        second.stop(stopped());
        first.stop(stopped());
    };
    let authorized = waits.authorized(INVOCATION);
    let enters = waits.sandbox.enter(&waits.plugin, &authorized, &second);
    let (one, other, ()) = tokio::join!(waits.run_seen("{}", first.clone()), enters, stop);
    assert_eq!(fault(&one), FaultCode::Stopped);
    assert!(matches!(other, Err(NoPlace::Stopped(fault)) if fault.code == FaultCode::Stopped));
    // One that was stopped before it came does not begin either.
    let late = Live::new();
    late.stop(stopped());
    let none = waits.sandbox.enter(&waits.plugin, &authorized, &late).await;
    assert!(matches!(none, Err(NoPlace::Stopped(_))));
    // Nor does one that was stopped with its place in hand.
    let (live, permit) = (Live::new(), waits.permit(&authorized));
    let place = waits.sandbox.enter(&waits.plugin, &authorized, &live).await.unwrap();
    live.stop(stopped());
    let (params, capabilities) = (CanonicalJson::parse(b"{}", 8).unwrap(), waits.capabilities());
    let run = Run { authorized, place, permit, params, idempotency_key: None, capabilities, live };
    assert_eq!(fault(&waits.sandbox.run(&waits.plugin, run).await), FaultCode::Stopped);
    assert_eq!(waits.sandbox.stats().started, 1);
}

#[tokio::test]
async fn two_calls_share_no_memory_and_no_globals() {
    // Counts in memory and in a global, and answers the digit.
    let guest = Guest::new(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store8 (i32.const 100000) (i32.add (i32.load8_u (i32.const 100000)) (i32.const 1)))
         (i32.store8 (i32.const 1024) (i32.add (i32.const 47) (i32.add (global.get $calls) (i32.load8_u (i32.const 100000)))))
         (call $ok (i32.const 1024) (i32.const 1))",
    )
    .item("(global $calls (mut i32) (i32.const 0))");
    let installed = Installed::new(&guest, "").await;
    for _ in 0..20 {
        assert_eq!(installed.run().await.outcome.unwrap(), "1");
    }
    // The twin: in one instance of a plain engine, the second call sees the first.
    let engine = wasmtime::Engine::default();
    let component = wasmtime::component::Component::from_binary(&engine, &guest.build()).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    let mut linker = wasmtime::component::Linker::<()>::new(&engine);
    linker.define_unknown_imports_as_traps(&component).unwrap();
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let actions = instance.get_export_index(&mut store, None, "opsiq:plugin/actions@0.1.0").unwrap();
    let invoke = instance.get_export_index(&mut store, Some(&actions), "invoke").unwrap();
    let invoke = instance.get_func(&mut store, invoke).unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let params = [wasmtime::component::Val::String("act".into()), wasmtime::component::Val::String("{}".into())];
        let mut results = [wasmtime::component::Val::Bool(false)];
        invoke.call(&mut store, &params, &mut results).unwrap();
        answers.push(format!("{:?}", results[0]));
    }
    assert!(answers[0].contains("\"1\"") && answers[1].contains("\"3\""), "{answers:?}");
}

#[tokio::test]
async fn traps_say_where_and_show_no_memory() {
    let secret = "{\"canary\":\"5d41402a\"}";
    for (body, code) in [
        ("(unreachable)", FaultCode::TrapUnreachable),
        ("(drop (i32.load (i32.const -4)))", FaultCode::TrapMemory),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", FaultCode::TrapArithmetic),
        ("(call_indirect (i32.const 0))", FaultCode::TrapCall),
        ("(call_indirect (i32.const 9))", FaultCode::TrapTable),
    ] {
        let guest =
            Guest::then_ok("(call $inner)").item(&format!("(table 1 funcref) (func $inner {body})")).data(secret);
        let report = Installed::new(&guest, "").await.run_with(secret).await;
        assert_eq!(fault(&report), code);
        let text = report.outcome.unwrap_err().to_string();
        assert!(text.contains("inner") && !text.contains("5d41402a"), "{text}");
    }
}

#[tokio::test]
async fn a_permit_or_authority_for_something_else_is_refused() {
    let installed = Installed::new(&Guest::then_ok(""), "").await;
    let other = Installed::load(Arc::clone(&installed.sandbox), &Guest::then_ok("(nop)"), "").await.unwrap();
    let run = |authorized, place, permit| Run {
        authorized,
        place,
        permit,
        params: CanonicalJson::parse(b"{}", 8).unwrap(),
        idempotency_key: None,
        capabilities: installed.capabilities(),
        live: Live::new(),
    };
    let another_call = installed.authorized("01890a5d-ac96-774b-bcce-b302099a8058");
    let sandbox = &installed.sandbox;
    let authorized = installed.authorized(INVOCATION);
    let place = sandbox.enter(&installed.plugin, &authorized, &Live::new()).await.unwrap();
    let report = sandbox.run(&installed.plugin, run(authorized, place, installed.permit(&another_call)));
    assert_eq!(fault(&report.await), FaultCode::PermitMismatch);
    let authorized = installed.authorized(INVOCATION);
    let permitted = installed.permit(&authorized);
    let place = sandbox.enter(&installed.plugin, &authorized, &Live::new()).await.unwrap();
    let report = sandbox.run(&other.plugin, run(authorized, place, permitted));
    assert_eq!(fault(&report.await), FaultCode::DigestMismatch);
}

#[tokio::test]
async fn a_full_pool_has_no_place() {
    let sandbox = Arc::new(Sandbox::new(SandboxConfig { slots: 1, ..config() }).unwrap());
    let waits = Installed::load(sandbox, &asks_storage(), "wall = \"600ms\"").await.unwrap();
    let waits = waits.with_kv(Broken { panics: false });
    let authorized = waits.authorized(INVOCATION);
    let live = Live::new();
    let (first, second) = tokio::join!(waits.run(), waits.sandbox.enter(&waits.plugin, &authorized, &live));
    assert_eq!(fault(&first), FaultCode::WallExceeded);
    let Err(NoPlace::Full(full)) = second else { panic!("{second:?}") };
    assert_eq!((full.name, full.level), ("limit.host.queue-wait", Level::Host));
    assert!(waits.sandbox.enter(&waits.plugin, &authorized, &live).await.is_ok());
}

/// Interpreters that fill their pool make one another wait, and no small guest; the other way round as well.
#[tokio::test]
async fn each_class_waits_for_its_own_alone() {
    let interpreters = Pool { slots: 2, keep_resident: 1 << 20 };
    let sandbox = Arc::new(Sandbox::new(SandboxConfig { slots: 2, interpreters, ..config() }).unwrap());
    let load = async |guest: Guest, waits: bool| {
        let installed = Installed::load(Arc::clone(&sandbox), &guest, "").await.unwrap();
        if waits { installed.with_kv(Broken { panics: false }) } else { installed }
    };
    // The size at the start is what tells them apart, or how many memories there are.
    for (fills, other) in [
        (asks_storage().pages(80), Guest::then_ok("(nop)")),
        (asks_storage().item("(memory $second 1)"), Guest::then_ok("(nop)")),
        (asks_storage(), Guest::then_ok("(nop)").pages(80)),
    ] {
        let same = load(fills.clone().item("(global i32 (i32.const 7))"), false).await;
        let (fills, other) = (load(fills, true).await, load(other, false).await);
        let lives = [Live::new(), Live::new()];
        let quick = async {
            while sandbox.stats().running < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let authorized = same.authorized(INVOCATION);
            let full = sandbox.enter(&same.plugin, &authorized, &Live::new()).await;
            assert!(matches!(full, Err(NoPlace::Full(_))), "its pool is full");
            let began = Instant::now();
            for _ in 0..50 {
                assert!(other.run().await.outcome.is_ok());
            }
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            assert_eq!(sandbox.stats().running, 2, "the others still hold theirs");
            for live in &lives {
                live.stop(stopped());
            }
        };
        let [one, other_one] = lives.clone();
        let (first, second, ()) = tokio::join!(fills.run_seen("{}", one), fills.run_seen("{}", other_one), quick);
        assert_eq!((fault(&first), fault(&second)), (FaultCode::Stopped, FaultCode::Stopped));
        assert!(same.run().await.outcome.is_ok(), "the twin: with room there is no waiting");
    }
}
