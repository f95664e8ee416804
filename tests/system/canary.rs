//! What is secret or a tenant's own is found nowhere it should not be, in no usual disguise.

use std::fs;

use serde_json::json;

use crate::admission::files;
use crate::opsiq::{Ran, World};
use crate::orders;
use crate::upstream::{Reply, Upstream};

const SECRET_RAW: &str = "kanarienvogel-secret-0123456789";
const PARAM: &str = "kanarienvogel-param-77";
const RESPONSE: &str = "kanarienvogel-response-88";

/// `text` as it might hide: plain, hex, URL-encoded, and base64 at each of the three alignments.
fn disguises(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let hex: String =
        bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from(b"0123456789abcdef"[usize::from(d)])).collect();
    let url: String =
        hex.to_uppercase().as_bytes().chunks(2).flat_map(|pair| [b'%', pair[0], pair[1]]).map(char::from).collect();
    let mut forms = vec![bytes.to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes(), url.into_bytes()];
    for shift in 0..3 {
        let padded = [&vec![0_u8; shift][..], bytes].concat();
        let text = base64(&padded);
        // The first and last groups mix with neighbours; what lies between is the same wherever the text stands.
        let middle = &text[4 * shift.min(1)..text.trim_end_matches('=').len() / 4 * 4 - 4];
        forms.push(middle.as_bytes().to_vec());
        forms.push(middle.replace('+', "-").replace('/', "_").into_bytes());
    }
    forms
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = ALPHABET[(n >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { letter as char } else { '=' });
        }
    }
    out
}

pub(crate) fn find(haystack: &[u8], canary: &str) -> bool {
    disguises(canary).iter().any(|form| haystack.windows(form.len()).any(|window| window == form))
}

#[test]
fn the_search_finds_every_disguise() {
    for form in disguises(PARAM) {
        assert!(find(&[b"..", &form[..], b".."].concat(), PARAM));
    }
    assert!(!find(b"nothing to see", PARAM));
}

#[test]
fn canaries_are_found_nowhere_they_should_not_be() {
    let world = World::new();
    let server = Upstream::start(|request| {
        let mut order = orders::order("A-1");
        order["customer"]["name"] = json!(RESPONSE);
        // The upstream echoes what it was sent, as error pages do.
        order["customer"]["email"] = json!(request.header("webhook-signature").unwrap_or("none"));
        if request.method == "POST" { Reply::json(201, &orders::refund()) } else { Reply::json(200, &order) }
    });
    world.open_loopback(server.port);
    let secret = format!("whsec_{}", base64(SECRET_RAW.as_bytes()));
    world.install(
        &crate::opsiq::guest("orders"),
        "shop",
        &[("base-url", &server.url())],
        &[("signing-secret", &secret)],
    );

    let mut shown: Vec<Ran> = vec![
        world.run(&["--as", "acme/ada", "key", "list", "shop"]),
        world.run(&["--as", "acme/ada", "connector", "show", "shop"]),
        world.call("shop", "get-order", &json!({ "id": PARAM })),
        world.call("shop", "get-order", &json!({ "id": "A-1", "extra": PARAM })),
        world.call("shop", "no-such-action", &json!({ "id": PARAM })),
    ];
    let mut refund = orders::params(500);
    refund["reason"] = json!(PARAM);
    let pending = world.call("shop", "refund-order", &refund);
    assert_eq!(pending.code, 4, "{pending:?}");
    let secret_forms = [SECRET_RAW, &secret];
    shown.push(world.run(&["doctor"]));
    shown.push(world.run(&["--as", "acme/ada", "audit", "list"]));
    for ran in &shown {
        for form in secret_forms {
            let seen = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!find(seen.as_bytes(), form), "the secret is shown by {ran:?}");
        }
    }
    let revealed =
        ["--as", "acme/ada", "action", "call", "shop", "get-order", "--params", r#"{"id":"A-1"}"#, "--reveal"];
    // The answer goes to the caller who asks for all of it; a parameter that a refusal is about is not repeated back.
    assert!(!shown[2].stdout.contains(RESPONSE) && world.run(&revealed).stdout.contains(RESPONSE));
    assert!(!find(shown[3].stdout.as_bytes(), PARAM) && !find(shown[4].stdout.as_bytes(), PARAM));

    let everything = files(world.data());
    assert!(everything.len() > 4, "{everything:?}");
    for file in everything {
        let bytes = fs::read(&file).unwrap();
        for canary in [SECRET_RAW, &secret, PARAM, RESPONSE] {
            assert!(!find(&bytes, canary), "{canary} lies in {}", file.display());
        }
    }
}
