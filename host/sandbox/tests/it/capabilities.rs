//! What a granted capability gives, and what it refuses. Refusals are values the guest can read, and are reported.

use opsiq_vault::Secret;

use crate::guest::{Guest, escaped};
use crate::host::{Installed, NEVER_SEEN};

/// Text at 2048, 3072 and 4096, for imports that take some.
fn texts(guest: Guest, texts: [&str; 3]) -> Guest {
    let lines =
        texts.iter().zip([2048, 3072, 4096]).map(|(text, at)| format!("(data (i32.const {at}) \"{}\")", escaped(text)));
    guest.item(&lines.collect::<String>())
}

/// Answers the bytes of the `list<u8>` or string whose pointer and length lie at 260 when the import's answer at 256
/// was `ok`, `refused` otherwise.
const ANSWER: &str = "(if (result i32) (i32.load8_u (i32.const 256))
   (then (call $ok (i32.const 8192) (i32.const 7)))
   (else (call $ok (i32.load (i32.const 260)) (i32.load (i32.const 264)))))";
const REFUSED: &str = "(data (i32.const 8192) \"refused\")";

/// Opens the key named by the text at 2048 and signs the one at 3072.
fn signs(key: &str, data: &str) -> Guest {
    let hex = "(func $hex (param $at i32) (param $to i32) (param $count i32) (local $b i32)
      (loop $next
        (local.set $b (i32.load8_u (local.get $at)))
        (i32.store8 (local.get $to) (call $digit (i32.shr_u (local.get $b) (i32.const 4))))
        (i32.store8 (i32.add (local.get $to) (i32.const 1)) (call $digit (i32.and (local.get $b) (i32.const 15))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $next (local.get $count))))
     (func $digit (param i32) (result i32)
       (i32.add (local.get 0) (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get 0) (i32.const 9)))))";
    let body = format!(
        "(call $open (i32.const 2048) (i32.const {}) (i32.const 256))
         (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))
         (call $sign (i32.load (i32.const 260)) (i32.const 0) (i32.const 3072) (i32.const {}) (i32.const 256))
         (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))
         (call $hex (i32.load (i32.const 260)) (i32.const 16384) (i32.const 32))
         (call $ok (i32.const 16384) (i32.const 64))",
        key.len(),
        data.len()
    );
    let guest = Guest::new(&body)
        .import("keys", "[static]key.open", "(param i32 i32 i32)")
        .import("keys", "[method]key.sign", "(param i32 i32 i32 i32 i32)")
        .item(hex)
        .item(REFUSED);
    texts(guest, [key, data, ""])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test]
async fn the_newest_version_signs() {
    let report = Installed::new(&signs("signing", "data"), "").await.run().await;
    assert_eq!(report.outcome.unwrap(), hex(&Secret::from(b"new".to_vec()).hmac_sha256(b"data")));
}

#[tokio::test]
async fn every_name_that_may_not_be_opened_gets_one_answer() {
    let mut answers = Vec::new();
    for name in ["absent", "injected", "Signing", "../signing", "signing\0", "ѕigning", ""] {
        let report = Installed::new(&signs(name, "data"), "").await.run().await;
        assert_eq!(report.outcome.unwrap(), "refused", "{name:?}");
        assert_eq!(report.denials.len(), 1);
        answers.push(report.denials[0].clone());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].code, "key.not-granted");
}

#[tokio::test]
async fn a_key_of_a_chain_signs_only_at_its_depth() {
    let report = Installed::new(&signs("chain", "data"), "").await.run().await;
    assert_eq!(report.outcome.unwrap(), "refused");
    assert_eq!(report.denials[0].code, "key.not-derived");

    let steps = |count: u32| {
        let body = format!(
            "(call $open (i32.const 2048) (i32.const 5) (i32.const 256))
             (local.set $n (i32.const {count}))
             (block $done (loop $step
               (br_if $done (i32.eqz (local.get $n)))
               (call $derive (i32.load (i32.const 260)) (i32.const 0) (i32.const 3072) (i32.const 4) (i32.const 256))
               (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br $step)))
             (call $sign (i32.load (i32.const 260)) (i32.const 0) (i32.const 3072) (i32.const 4) (i32.const 256))
             (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))
             (i32.store8 (i32.const 1024) (i32.load8_u (i32.load (i32.const 260))))
             (i32.store8 (i32.const 1024) (i32.add (i32.const 65) (i32.and (i32.load8_u (i32.const 1024)) (i32.const 15))))
             (call $ok (i32.const 1024) (i32.const 1))"
        );
        let guest = Guest::new(&body)
            .import("keys", "[static]key.open", "(param i32 i32 i32)")
            .import("keys", "[method]key.sign", "(param i32 i32 i32 i32 i32)")
            .import("keys", "[method]key.derive", "(param i32 i32 i32 i32 i32)")
            .item(REFUSED);
        texts(guest, ["chain", "step", ""])
    };
    let at = |report: opsiq_sandbox::RunReport| (report.outcome.unwrap(), report.denials.first().map(|d| d.code));
    let run = async |count| at(Installed::new(&steps(count), "").await.run().await);
    assert_eq!(run(1).await, ("refused".to_owned(), Some("key.not-derived")));
    assert_eq!(run(3).await, ("refused".to_owned(), Some("key.depth")));
    let first = Secret::from(b"AWS4root".to_vec()).hmac_sha256(b"step").to_vec();
    let second = Secret::from(first).hmac_sha256(b"step").to_vec();
    let signed = Secret::from(second).hmac_sha256(b"step");
    assert_eq!(run(2).await, (char::from(65 + (signed[0] & 15)).to_string(), None));
}

#[tokio::test]
async fn only_declared_events_are_recorded() {
    let emit = |event: &str, detail: &str| {
        let body = format!(
            "(call $emit (i32.const 2048) (i32.const {}) (i32.const 3072) (i32.const {}) (i32.const 256))
             (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))",
            event.len(),
            detail.len()
        );
        let guest = Guest::then_ok(&body).import("audit", "emit", "(param i32 i32 i32 i32 i32)").item(REFUSED);
        texts(guest, [event, detail, ""])
    };
    let report = Installed::new(&emit("guest.acted", "{\"b\": 1, \"a\": 2}"), "").await.run().await;
    assert_eq!(report.outcome.unwrap(), "{}");
    assert_eq!(
        (report.events[0].event.as_str(), report.events[0].detail.as_str()),
        ("guest.acted", "{\"a\":2,\"b\":1}")
    );
    for (event, detail, code) in [
        ("guest.other", "{}", "audit.not-declared"),
        ("guest.acted", "[]", "audit.not-json"),
        ("guest.acted", "{\"a\":1,\"a\":2}", "audit.not-json"),
        ("guest.acted", "{", "audit.not-json"),
    ] {
        let report = Installed::new(&emit(event, detail), "").await.run().await;
        assert_eq!(report.outcome.unwrap(), "refused");
        assert!(report.events.is_empty());
        assert_eq!(report.denials[0].code, code);
    }
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(16 << 10));
    let body = format!(
        "(call $emit (i32.const 512) (i32.const 11) (i32.const 1024) (i32.const {}) (i32.const 256))",
        large.len()
    );
    let guest = Guest::then_ok(&body).import("audit", "emit", "(param i32 i32 i32 i32 i32)").data(&large);
    let report = Installed::new(&guest.item("(data (i32.const 512) \"guest.acted\")"), "").await.run().await;
    assert_eq!(report.denials[0].code, "audit.too-large");
}

#[tokio::test]
async fn a_request_no_rule_covers_is_a_value_and_a_record() {
    let body = "(call $send
        (i32.const 2048) (i32.const 3)
        (i32.const 3072) (i32.const 27)
        (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0)
        (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))";
    let guest = Guest::then_ok(body)
        .import("http", "send", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)")
        .item(REFUSED);
    let guest = texts(guest, ["GET", "https://elsewhere.example/x", ""]);
    let report = Installed::new(&guest, "").await.run().await;
    assert_eq!(report.outcome.unwrap(), "refused");
    assert_eq!((report.denials.len(), report.http.len()), (1, 1), "{:?}", report.denials);
    assert_eq!((report.meter.egress_requests, report.meter.egress_bytes), (0, 0));
}

#[tokio::test]
async fn storage_is_sized_before_it_is_asked() {
    let set = |key: usize, value: usize| {
        let body = format!(
            "(call $set (i32.const 65536) (i32.const {key}) (i32.const 65536) (i32.const {value})
               (i32.const 0) (i64.const 0) (i32.const 256))
             (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))"
        );
        Guest::then_ok(&body).import("kv", "set", "(param i32 i32 i32 i32 i32 i64 i32)").item(REFUSED).pages(8)
    };
    for (key, value, answer) in
        [(1, 1, "{}"), (512, 100, "{}"), (513, 1, "refused"), (0, 1, "refused"), (1, 65_537, "refused")]
    {
        let report = Installed::new(&set(key, value), "").await.run().await;
        assert_eq!(report.outcome.unwrap(), answer, "key of {key}, value of {value}");
    }
}

/// What an outside system told the plugin is not kept where a later call would read it.
#[tokio::test]
async fn storage_takes_no_secret() {
    let set = |key: &str, value: &str| {
        let body = format!(
            "(call $set (i32.const 2048) (i32.const {}) (i32.const 3072) (i32.const {})
               (i32.const 0) (i64.const 0) (i32.const 256))
             (if (i32.load8_u (i32.const 256)) (then (return (call $ok (i32.const 8192) (i32.const 7)))))",
            key.len(),
            value.len()
        );
        let guest = Guest::then_ok(&body).import("kv", "set", "(param i32 i32 i32 i32 i32 i64 i32)").item(REFUSED);
        texts(guest, [key, value, ""])
    };
    for (key, value, refused) in [
        ("a", NEVER_SEEN, true),
        (NEVER_SEEN, "a", true),
        ("a", &hex(NEVER_SEEN.as_bytes()), true),
        ("a", "never%20seen", true),
        ("a", "never sees", false),
    ] {
        let installed = Installed::new(&set(key, value), "").await;
        let report = installed.run().await;
        assert_eq!(report.outcome.unwrap() == "refused", refused, "{key} {value}");
        assert_eq!(report.denials.iter().any(|denial| denial.code == "kv.secret"), refused);
        assert_eq!(installed.kv.get(key).await.unwrap().is_none(), refused);
        assert!(!format!("{:?}", report.denials).contains(NEVER_SEEN));
    }
}

#[tokio::test]
async fn facts_of_the_call_are_told() {
    let body = format!("(call $invocation_id (i32.const 260)) (i32.store8 (i32.const 256) (i32.const 0)) {ANSWER}");
    let guest = Guest::new(&body).import("context", "invocation-id", "(param i32)");
    let report = Installed::new(&guest, "").await.run().await;
    assert_eq!(report.outcome.unwrap(), crate::host::INVOCATION);
    let body = format!("(call $config (i32.const 260)) (i32.store8 (i32.const 256) (i32.const 0)) {ANSWER}");
    let guest = Guest::new(&body).import("context", "config", "(param i32)");
    assert_eq!(Installed::new(&guest, "").await.run().await.outcome.unwrap(), "{}");
}
