use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{CONTROLS, NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Every character that some encoding treats in a way of its own.
const CANARY: &str = "s3cr\"et/+c a\\n%ary\u{e9}-0123";

fn installation(number: u8) -> InstallationId {
    format!("00000000-0000-4000-8000-0000000000{number:02}").parse().unwrap()
}

fn key(number: u8, name: &str) -> KeyName {
    KeyName { installation: installation(number), key: name.to_owned() }
}

fn guard<T: AsRef<[u8]>>(secrets: &[T]) -> LeakGuard {
    let secrets: Vec<_> = secrets.iter().map(|secret| Secret::from(secret.as_ref().to_vec())).collect();
    LeakGuard::new(secrets.iter().enumerate().map(|(at, secret)| (key(1, &format!("key-{at}")), secret)))
}

fn found(guard: &LeakGuard, text: impl AsRef<[u8]>) -> Option<String> {
    guard.find(text.as_ref(), |_| false).map(|holders| holders[0].key.clone())
}

/// `secret` in every usual encoding.
fn encodings(secret: &[u8]) -> Vec<String> {
    let mut all = vec![hex::encode(secret), hex::encode_upper(secret)];
    let encoded = percent_encode(secret, NON_ALPHANUMERIC).to_string();
    all.extend([encoded.replace("%20", "+"), encoded]);
    all.push(secret.iter().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat());
    all.push(secret.iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat());
    for before in ["", "u", "u:", "us:", "a longer one:"] {
        for after in ["", "x", "xy"] {
            let text = [before.as_bytes(), secret, after.as_bytes()].concat();
            all.extend([STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text)]);
            all.extend([URL_SAFE.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
        }
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        let json = json!(text).to_string();
        all.extend([text.to_owned(), json.replace('/', "\\/"), json!(json).to_string(), json]);
        all.push(text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<Vec<_>>().concat());
        all.push(format!("{text:?}"));
        all.push(opsiq_contract::visible(text, 1000).text);
        all.push(percent_encode(secret, CONTROLS).to_string());
    }
    all
}

#[test]
fn every_form_is_found_wherever_it_stands() {
    let guard = guard(&["another secret", CANARY]);
    for form in encodings(CANARY.as_bytes()) {
        for (before, after) in [("", ""), ("{\"a\":\"", "\"}"), ("abc", "d"), (" ", " \u{1f600}")] {
            let text = format!("{before}{form}{after}");
            assert_eq!(found(&guard, &text).as_deref(), Some("key-1"), "{text}");
        }
        // Encoded twice, as in a URL within a URL.
        let twice = percent_encode(form.as_bytes(), NON_ALPHANUMERIC).to_string();
        assert_eq!(found(&guard, &twice).as_deref(), Some("key-1"), "{twice}");
    }
}

#[test]
fn bytes_that_are_no_text_are_found_too() {
    let secret: Vec<u8> = (0..32).map(|n: u8| n.wrapping_mul(61) | 128).collect();
    let guard = guard(&[&secret]);
    for form in encodings(&secret) {
        assert!(found(&guard, &form).is_some(), "{form}");
    }
    assert!(found(&guard, [b"x", &secret[..], b"y"].concat()).is_some());
}

#[test]
fn ordinary_texts_pass() {
    let guard = guard(&["password1", "sk_live_51H4f9Q0aBcD", "00112233-4455-6677-8899-aabbccddeeff", CANARY]);
    let long = json!({ "rows": (0..5000).map(|n| json!({ "id": n, "at": format!("2026-11-24T{:02}:00:00Z", n % 24) }))
        .collect::<Vec<_>>() })
    .to_string();
    for text in ["", "{}", "password", "passwore1", "sk_live_51H4f9Q0aBc", "100%", "%zz", "%", "\\", "\\u12", "\\u{}"] {
        assert_eq!(found(&guard, text), None, "{text}");
    }
    assert_eq!(found(&guard, &long), None);
    assert_eq!(found(&guard, "a%20b\\n".repeat(10_000)), None);
    assert!(found(&guard, long + "password1").is_some());
}

/// What is shorter than a secret may be is not looked for, in no form; one byte more is.
#[test]
fn the_shortest_secret_has_eight_bytes() {
    let short = guard(&["pass-42"]);
    assert!(short.is_empty() && found(&short, "pass-42").is_none());
    let guard = guard(&["pass-421"]);
    for form in encodings(b"pass-421") {
        assert!(found(&guard, &form).is_some(), "{form}");
    }
}

#[test]
fn many_secrets_that_share_their_parts_are_told_apart() {
    let secrets: Vec<String> = (0..100).map(|n| format!("sk_live_the-same-middle_{n:03}")).collect();
    let guard = guard(&secrets);
    for (at, secret) in secrets.iter().enumerate() {
        assert_eq!(found(&guard, format!("Bearer {secret}.")), Some(format!("key-{at}")));
    }
    assert_eq!(found(&guard, "sk_live_the-same-middle_"), None);
}

#[test]
fn one_secret_within_another_and_overlapping_ones_are_all_found() {
    let secrets =
        ["inner-secret", "an inner-secret in it", "secret in it, and on"].map(|s| Secret::from(s.as_bytes().to_vec()));
    let scan = SecretScan::new(&secrets);
    let traces = scan.traces(b"<an inner-secret in it, and on>");
    let found: Vec<_> = traces.iter().map(|trace| (trace.at.clone(), trace.secret)).collect();
    assert_eq!(found, [(1..22, 1), (4..16, 0), (10..30, 2)]);
    assert!(scan.longest() >= 2 * 21);
}

/// A value that several keys have is allowed where one of them is; every other is not.
#[test]
fn what_may_stand_somewhere_is_no_find_there() {
    let [shared, other] = ["shared-value", "other-value"].map(|text| Secret::from(text.as_bytes().to_vec()));
    let guard = LeakGuard::new([(key(1, "own"), &shared), (key(2, "theirs"), &shared), (key(1, "other"), &other)]);
    let own = |name: &KeyName| *name == key(1, "own");
    assert_eq!(guard.find(b"shared-value", own), None);
    assert_eq!(guard.find(b"shared-value other-value", own), Some(&[key(1, "other")][..]));
    assert_eq!(guard.find(b"shared-value", |_| false).map(<[_]>::len), Some(2));
}

#[test]
fn a_watch_names_own_keys_only_and_remembers_all() {
    let [own, theirs, newer] =
        ["own-secret-value", "their-secret-value", "newer-secret"].map(|text| Secret::from(text.as_bytes().to_vec()));
    let guard = Arc::new(LeakGuard::new([(key(2, "their-key"), &theirs), (key(1, "own-key"), &own)]));
    let watch = LeakWatch::new(guard.clone(), installation(1));
    assert!(!watch.is_idle());
    assert_eq!(watch.catches("result.secret", "result", b"nothing"), None);
    assert_eq!(watch.catches("log.secret", "log", b"own-secret-value").as_deref(), Some("key `own-key`"));
    assert_eq!(watch.catches("log.secret", "log", b"own-secret-value").as_deref(), Some("key `own-key`"));
    let told = watch.catches("kv.secret", "value", b"their-secret-value").unwrap();
    assert!(!told.contains("their"), "{told}");
    assert_eq!(watch.catches_but("http.secret", || "body".into(), b"own-secret-value", |name| name == "own-key"), None);
    assert!(
        watch.catches_but("http.secret", || "body".into(), b"their-secret-value", |name| name == "their-key").is_some()
    );
    assert_eq!(watch.catches("result.secret", "result", b"newer-secret"), None);
    watch.renew(Arc::new(LeakGuard::new([(key(1, "new"), &newer)])));
    assert!(watch.catches("result.secret", "result", b"newer-secret").is_some());
    assert!(watch.catches("result.secret", "result", b"own-secret-value").is_some(), "retired while it ran");
    let leaks: Vec<_> = watch.leaks().into_iter().map(|leak| (leak.rule, leak.key, leak.times)).collect();
    assert_eq!(
        leaks[..3],
        [
            ("log.secret", key(1, "own-key"), 2),
            ("kv.secret", key(2, "their-key"), 1),
            ("http.secret", key(2, "their-key"), 1)
        ]
    );
    assert!(!format!("{watch:?}").contains("secret-value"));
}

proptest! {
    /// Against the plain search: a form is found exactly where it stands, among any bytes.
    #[test]
    fn the_scan_finds_what_a_plain_search_finds(
        secret in proptest::collection::vec(any::<u8>(), 8..40),
        before in proptest::collection::vec(any::<u8>(), 0..40),
        after in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let scan = SecretScan::new(&[Secret::from(secret.clone())]);
        for form in forms::forms(&secret) {
            let text = [&before[..], &form, &after].concat();
            let at = before.len()..before.len() + form.len();
            prop_assert!(scan.traces(&text).iter().any(|trace| trace.at == at));
            for trace in scan.traces(&text) {
                let part = &text[trace.at];
                prop_assert!(forms::forms(&secret).iter().any(|form| form.as_slice() == part));
            }
        }
    }

    /// Whatever is escaped in whatever way comes back as it was, and no text makes the decoders fail.
    #[test]
    fn escapes_come_off(text in ".{0,60}", noise in "[a-f0-9%\\\\u{}+nx]{0,40}") {
        let json = json!(text).to_string();
        let inner = &json.as_bytes()[1..json.len() - 1];
        prop_assert_eq!(decoded::escapes(inner).map_or_else(|| inner.to_vec(), |out| out.to_vec()), text.as_bytes());
        let encoded = percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
        let plain = decoded::percent(encoded.as_bytes(), false);
        prop_assert_eq!(plain.map_or_else(|| encoded.clone().into_bytes(), |out| out.to_vec()), text.as_bytes());
        for decoded in [decoded::escapes(noise.as_bytes()), decoded::percent(noise.as_bytes(), true)].into_iter().flatten() {
            prop_assert!(decoded.len() <= noise.len());
        }
    }
}
