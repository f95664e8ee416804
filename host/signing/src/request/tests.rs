use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const NOW: i64 = 1_700_000_000;
const NONCE: &str = "0123456789abcdefghij";
const TARGET: &str = "https://api.example.com/v1/actions?x=1";
const BODY: &[u8] = b"{\"amount\":10}";

fn key_id() -> KeyId {
    "acme/till/1".parse().unwrap()
}

fn secret() -> Secret {
    Secret::from(b"0123456789abcdef0123456789abcdef".to_vec())
}

/// A request in parts that a test may change.
#[derive(Clone)]
struct Sent {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn request(&self) -> Request<'_> {
        Request { method: &self.method, target_uri: &self.target, headers: &self.headers, body: &self.body }
    }

    /// All that a front door asks of a request, but for its nonce.
    fn accepted(&self) -> Result<(), Refused> {
        let presented = Presented::read(&self.request())?;
        presented.is_timely(NOW * 1000)?;
        if presented.key_id != key_id() {
            return Err(Refused::Mac);
        }
        presented.is_made_with(&secret())
    }

    fn set(&self, name: &'static str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.insert(name, HeaderValue::from_str(value).unwrap());
        changed
    }

    fn text(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }
}

fn unsigned() -> Sent {
    let mut headers = HeaderMap::new();
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("\"abc-1\""));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    Sent { method: Method::POST, target: TARGET.to_owned(), headers, body: BODY.to_vec() }
}

fn sent() -> Sent {
    let mut sent = unsigned();
    let fields = sign_request(&sent.request(), &key_id(), &secret(), NOW, NONCE).unwrap();
    sent.headers.extend(fields);
    sent
}

/// Signs what the text of `Signature-Input` says, so that a test sees the rule and not the MAC refuse.
fn signed_as(sent: &Sent, components: &str, params: &str) -> Sent {
    let list = format!("({components}){params}");
    let mut base = Base::new();
    for name in components.split(' ').filter(|name| !name.is_empty()) {
        let name = name.trim_matches('"');
        match name {
            "@method" => base.line(name, sent.method.as_str()),
            "@target-uri" => base.line(name, &sent.target),
            _ => base.line(name, sent.headers.get(name).map_or("", |value| value.to_str().unwrap())),
        }
    }
    let mac = secret().hmac_sha256(base.end(&list).as_bytes());
    sent.set(SIGNATURE_INPUT, &format!("opsiq={list}")).set(SIGNATURE, &write_signature(&mac))
}

const ALL: &str = "\"@method\" \"@target-uri\" \"content-digest\" \"idempotency-key\"";

fn params(created: &str) -> String {
    format!(";created={created};nonce=\"{NONCE}\";keyid=\"acme/till/1\"")
}

/// RFC 9421 appendix B.2.5.
#[test]
fn the_vector_of_the_rfc() {
    let secret = STANDARD
        .decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
        .unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(
        SIGNATURE_INPUT,
        HeaderValue::from_static(
            "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"",
        ),
    );
    headers.insert(SIGNATURE, HeaderValue::from_static("sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"));
    let signed = Signed::read(&headers).unwrap();
    assert_eq!((signed.created, signed.keyid.as_str()), (1_618_884_473, "test-shared-secret"));
    let base = |day: &str| {
        let mut base = Base::new();
        base.line("date", day);
        base.line("@authority", "example.com");
        base.line("content-type", "application/json");
        base.end(&signed.params)
    };
    let secret = Secret::from(secret);
    assert!(signed.is_made_with(&secret, &base("Tue, 20 Apr 2021 02:07:55 GMT")));
    assert!(!signed.is_made_with(&secret, &base("Tue, 20 Apr 2021 02:07:56 GMT")));
}

#[test]
fn what_is_signed_is_accepted() {
    assert_eq!(sent().accepted(), Ok(()));
    let presented = Presented::read(&sent().request()).unwrap();
    assert_eq!((presented.created, presented.nonce.as_str()), (NOW, NONCE));
    // A signature under another label, in another order, without what is optional.
    let other = "\"content-digest\" \"idempotency-key\" \"@target-uri\" \"@method\"";
    let mut changed = signed_as(&sent(), other, &params("1700000000"));
    for name in [SIGNATURE_INPUT, SIGNATURE] {
        let text = changed.text(name).replacen("opsiq=", "sig1=", 1);
        changed = changed.set(if name == SIGNATURE { SIGNATURE } else { SIGNATURE_INPUT }, &text);
    }
    assert_eq!(changed.accepted(), Ok(()));
}

/// Each bit of method, target, body and signed fields, one at a time.
#[test]
fn no_bit_can_be_changed() {
    let sent = sent();
    let mut tried = 0;
    for at in 0..sent.body.len() * 8 {
        let mut changed = sent.clone();
        changed.body[at / 8] ^= 1 << (at % 8);
        assert!(changed.accepted().is_err(), "body bit {at}");
        tried += 1;
    }
    for at in 0..TARGET.len() * 8 {
        let mut bytes = TARGET.as_bytes().to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        let Ok(target) = String::from_utf8(bytes) else { continue };
        assert!(Sent { target, ..sent.clone() }.accepted().is_err(), "target bit {at}");
        tried += 1;
    }
    for at in 0.."POST".len() * 8 {
        let mut bytes = b"POST".to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        let Ok(method) = Method::from_bytes(&bytes) else { continue };
        assert!(Sent { method, ..sent.clone() }.accepted().is_err(), "method bit {at}");
        tried += 1;
    }
    for name in [SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST, IDEMPOTENCY_KEY, "content-type"] {
        let text = sent.text(name);
        for at in 0..text.len() * 8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at / 8] ^= 1 << (at % 8);
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { continue };
            let mut changed = sent.clone();
            changed.headers.insert(name, value);
            assert!(changed.accepted().is_err(), "{name} bit {at}");
            tried += 1;
        }
    }
    assert!(tried > 2_500, "{tried}");
}

/// Taking a field away, adding one, and giving one twice.
#[test]
fn no_field_can_come_or_go() {
    let sent = sent();
    for name in [SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST, IDEMPOTENCY_KEY, "content-type"] {
        let mut without = sent.clone();
        without.headers.remove(name);
        assert!(without.accepted().is_err(), "without {name}");
        let mut twice = sent.clone();
        twice.headers.append(name, sent.headers[name].clone());
        assert!(twice.accepted().is_err(), "{name} twice");
    }
    for name in ["content-encoding", "if-match"] {
        assert!(sent.set(name, "gzip").accepted().is_err(), "{name} added");
    }
    // What says nothing about the meaning of the request may be added on its way.
    assert_eq!(sent.set("via", "1.1 proxy").accepted(), Ok(()));
    let mut bare = sent.clone();
    bare.headers.remove(SIGNATURE_INPUT);
    bare.headers.remove(SIGNATURE);
    assert_eq!(bare.accepted(), Err(Refused::Missing));
}

/// A signature that is right over what the rules do not allow.
#[test]
fn only_the_known_components_each_once() {
    let sent = sent();
    assert_eq!(signed_as(&sent, ALL, &params("1700000000")).accepted(), Ok(()));
    for components in [
        "",
        "\"@method\" \"@target-uri\"",
        "\"@method\" \"content-digest\" \"idempotency-key\"",
        "\"@target-uri\" \"content-digest\" \"idempotency-key\"",
        "\"@method\" \"@target-uri\" \"content-digest\"",
        "\"@method\" \"@method\" \"@target-uri\" \"content-digest\" \"idempotency-key\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"idempotency-key\" \"@authority\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"idempotency-key\" \"via\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"idempotency-key\" \"@status\"",
        "\"@method\" \"@target-uri\" \"content-digest\" \"idempotency-key\" \"if-match\"",
        "\"@Method\" \"@target-uri\" \"content-digest\" \"idempotency-key\"",
        "\"@method\";req \"@target-uri\" \"content-digest\" \"idempotency-key\"",
        "\"@method\";sf \"@target-uri\" \"content-digest\" \"idempotency-key\"",
        "@method \"@target-uri\" \"content-digest\" \"idempotency-key\"",
    ] {
        let changed = signed_as(&sent, components, &params("1700000000"));
        assert!(matches!(changed.accepted(), Err(Refused::Form(_))), "{components}");
    }
}

#[test]
fn times_are_whole_seconds_in_the_window() {
    let sent = sent();
    let at = |created: &str| signed_as(&sent, ALL, &params(created)).accepted();
    for good in [NOW - 300, NOW, NOW + 300] {
        assert_eq!(at(&good.to_string()), Ok(()), "{good}");
    }
    for late in [1, NOW - 301, NOW + 301, 999_999_999_999_999] {
        assert_eq!(at(&late.to_string()), Err(Refused::Time), "{late}");
    }
    for bad in [
        "1700000000.0",
        "-1700000000",
        "0",
        "01700000000",
        "9223372036854775808",
        "1000000000000000",
        "\"1700000000\"",
        "NaN",
        "?1",
        "@1700000000",
        ":AAAA:",
        "1e9",
        "",
    ] {
        assert!(matches!(at(bad), Err(Refused::Form(_))), "{bad}");
    }
    let expires = |text: &str| signed_as(&sent, ALL, &format!("{};expires={text}", params("1700000000"))).accepted();
    assert_eq!(expires(&(NOW + 60).to_string()), Ok(()));
    for late in [NOW, NOW - 1] {
        assert_eq!(expires(&late.to_string()), Err(Refused::Time));
    }
    assert!(matches!(expires("1.5"), Err(Refused::Form(_))));
}

#[test]
fn parameters_are_known_and_once() {
    let sent = sent();
    let with = |text: &str| signed_as(&sent, ALL, text).accepted();
    let whole = params("1700000000");
    assert_eq!(with(&format!("{whole};alg=\"hmac-sha256\"")), Ok(()));
    for bad in [
        format!("{whole};alg=\"rsa-v1_5-sha256\""),
        format!("{whole};alg=hmac-sha256"),
        format!("{whole};tag=\"x\""),
        format!("{whole};created=1700000000"),
        format!("{whole};keyid=\"acme/till/1\""),
        format!("{whole}, opsiq={ALL}"),
        format!(";created=1700000000;keyid=\"acme/till/1\";nonce=\"{}\"", "n".repeat(15)),
        format!(";created=1700000000;keyid=\"acme/till/1\";nonce=\"{}\"", "n".repeat(129)),
        ";created=1700000000;keyid=\"acme/till/1\"".to_owned(),
        format!(";nonce=\"{NONCE}\";keyid=\"acme/till/1\""),
        format!(";created=1700000000;nonce=\"{NONCE}\""),
        format!(";created=1700000000;nonce=\"{NONCE}\";keyid=\"acme/till\""),
    ] {
        assert!(matches!(with(&bad), Err(Refused::Form(_))), "{bad}");
    }
}

/// Whatever stands in the fields, the answer is a refusal, and soon.
#[test]
fn hostile_fields_are_refused() {
    let sent = sent();
    let many = format!("opsiq=({})", vec!["\"a\""; 10_000].join(" "));
    let labels = vec!["a=()"; 10_000].join(", ");
    for bad in [
        "",
        "opsiq",
        "opsiq=",
        "opsiq=()",
        "opsiq=1",
        "(",
        "\"",
        "opsiq=(((((",
        "NaN",
        ",",
        ";",
        many.as_str(),
        &labels,
    ] {
        assert!(matches!(sent.set(SIGNATURE_INPUT, bad).accepted(), Err(Refused::Form(_))), "{bad:.40}");
    }
    let good = sent.text(SIGNATURE);
    let long = format!("opsiq=:{}:", "A".repeat(10_000));
    for bad in [
        "",
        "opsiq=::",
        "opsiq=:AAAA:",
        "other=:AAAA:",
        "opsiq=?1",
        &good.replace("opsiq", "other"),
        &format!("{good}, {good}"),
        &format!("{good};a"),
        &good.replace('=', ""),
        long.as_str(),
    ] {
        assert!(matches!(sent.set(SIGNATURE, bad).accepted(), Err(Refused::Form(_))), "{bad:.40}");
    }
}

/// A signature says whose it is, so it is nobody else's.
#[test]
fn a_signature_cannot_be_moved() {
    let sent = sent();
    for (from, to) in [("acme/", "beta/"), ("till/1", "till/2"), ("/till", "/tall")] {
        let moved = sent.set(SIGNATURE_INPUT, &sent.text(SIGNATURE_INPUT).replace(from, to));
        let presented = Presented::read(&moved.request()).unwrap();
        assert_eq!(presented.is_made_with(&secret()), Err(Refused::Mac), "{to}");
    }
}

#[test]
fn what_would_not_be_accepted_is_not_signed() {
    let mut sent = unsigned();
    for nonce in ["short", "0123456789abcdef\u{e9}", "", "0123456789\nabcdefgh"] {
        let made = sign_request(&sent.request(), &key_id(), &secret(), NOW, nonce);
        // Characters that no string holds are left out, so that what remains may be long enough.
        assert!(made.is_err() || nonce.len() > 16, "{nonce:?}");
    }
    sent.headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("\"two\""));
    assert!(sign_request(&sent.request(), &key_id(), &secret(), NOW, NONCE).is_err());
}

proptest::proptest! {
    /// No text in the fields makes reading panic or accept.
    #[test]
    fn nothing_else_is_accepted(input in "[ -~]{0,200}", signature in "[ -~]{0,80}", digest in "[ -~]{0,80}") {
        let changed = sent().set(SIGNATURE_INPUT, &input).set(SIGNATURE, &signature).set(CONTENT_DIGEST, &digest);
        proptest::prop_assert!(changed.accepted().is_err());
    }

    #[test]
    fn any_body_and_target_verifies(body: Vec<u8>, path in "/[!-~]{0,60}") {
        let mut sent = Sent { target: format!("https://h{path}"), body, ..unsigned() };
        let fields = sign_request(&sent.request(), &key_id(), &secret(), NOW, NONCE).unwrap();
        sent.headers.extend(fields);
        proptest::prop_assert_eq!(sent.accepted(), Ok(()));
    }
}
