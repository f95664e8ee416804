//! An authenticator of the tests' own, which does everything right, and then one thing wrong.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use opsiq_contract::{Digest, TenantId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

fn head(kind: u8, argument: usize) -> Vec<u8> {
    match argument {
        0..=23 => vec![kind << 5 | u8::try_from(argument).unwrap()],
        24..=255 => vec![kind << 5 | 0x18, u8::try_from(argument).unwrap()],
        _ => [vec![kind << 5 | 0x19], u16::try_from(argument).unwrap().to_be_bytes().to_vec()].concat(),
    }
}

fn integer(value: i64) -> Vec<u8> {
    if value < 0 { head(1, usize::try_from(-1 - value).unwrap()) } else { head(0, usize::try_from(value).unwrap()) }
}

fn bytes(value: &[u8]) -> Vec<u8> {
    [head(2, value.len()), value.to_vec()].concat()
}

fn text(value: &str) -> Vec<u8> {
    [head(3, value.len()), value.as_bytes().to_vec()].concat()
}

fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = head(5, pairs.len());
    for (key, value) in pairs {
        out.extend([key.clone(), value.clone()].concat());
    }
    out
}

impl Signer {
    fn all() -> Vec<Self> {
        vec![
            Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
            Self::Ed(Ed25519KeyPair::generate().unwrap()),
            Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        ]
    }

    fn cose(&self) -> Vec<u8> {
        match self {
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                map(&[
                    (integer(1), integer(2)),
                    (integer(3), integer(-7)),
                    (integer(-1), integer(1)),
                    (integer(-2), bytes(&point[1..33])),
                    (integer(-3), bytes(&point[33..])),
                ])
            }
            Self::Ed(pair) => map(&[
                (integer(1), integer(1)),
                (integer(3), integer(-8)),
                (integer(-1), integer(6)),
                (integer(-2), bytes(pair.public_key().as_ref())),
            ]),
            Self::Rsa(pair) => {
                // PKCS #1 in DER: a sequence of modulus, with a zero before it, and exponent.
                let der = pair.public_key().as_ref();
                assert_eq!((der.len(), der[8]), (270, 0));
                map(&[
                    (integer(1), integer(3)),
                    (integer(3), integer(-257)),
                    (integer(-1), bytes(&der[9..265])),
                    (integer(-2), bytes(&der[267..])),
                ])
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut out).unwrap();
                out
            }
        }
    }
}

const PRESENT: u8 = 1;
const VERIFIED: u8 = 4;
const USUAL: u8 = PRESENT | VERIFIED;

fn party() -> Party {
    Party::of("localhost:8443").unwrap()
}

fn client_data(ceremony: &str, challenge: &Challenge) -> Value {
    json!({
        "type": ceremony, "challenge": challenge.text(), "origin": "https://localhost:8443", "crossOrigin": false,
        "other_keys_can_be_added_here": "yes",
    })
}

fn said(party: &str, flags: u8, count: u32) -> Vec<u8> {
    [&Digest::of(party.as_bytes()).as_bytes()[..], &[flags], &count.to_be_bytes()].concat()
}

fn made(flags: u8, id: &[u8], cose: &[u8]) -> Vec<u8> {
    let length = u16::try_from(id.len()).unwrap().to_be_bytes();
    [&said("localhost", flags | 0x40, 3)[..], &[9; 16], &length, id, cose].concat()
}

fn object(said: &[u8]) -> Vec<u8> {
    map(&[(text("fmt"), text("none")), (text("attStmt"), map(&[])), (text("authData"), bytes(said))])
}

fn registered(challenge: &Challenge, client: &Value, attestation: &[u8]) -> Result<Kept, &'static str> {
    let client_data = client.to_string();
    let registration = Registration { client_data: client_data.as_bytes(), attestation };
    register(&party(), challenge, &registration).map_err(|fault| fault.rule)
}

fn proved(
    signer: &Signer,
    count: u32,
    (challenge, client): (&Challenge, &Value),
    said: &[u8],
) -> Result<Shown, &'static str> {
    let client_data = client.to_string();
    let hash = Digest::of(client_data.as_bytes());
    let signature = signer.sign(&[said, hash.as_bytes()].concat());
    let known = Known { key: &signer.cose(), count, may_be_backed_up: false };
    let assertion = Assertion { client_data: client_data.as_bytes(), authenticator_data: said, signature: &signature };
    prove(&party(), challenge, &known, &assertion).map_err(|fault| fault.rule)
}

#[test]
fn a_key_of_each_algorithm_is_kept_and_shown() {
    for signer in Signer::all() {
        let challenge = Challenge::generate();
        let create = client_data("webauthn.create", &challenge);
        let kept = registered(&challenge, &create, &object(&made(USUAL, b"id", &signer.cose()))).unwrap();
        assert_eq!((kept.id.as_slice(), kept.key, kept.count), (&b"id"[..], signer.cose(), 3));
        let get = client_data("webauthn.get", &challenge);
        let shown = proved(&signer, 3, (&challenge, &get), &said("localhost", USUAL, 4)).unwrap();
        assert_eq!(shown, Shown { count: 4, backed_up: false, is_cloned: false });
    }
}

#[test]
fn what_is_wrong_with_the_page_is_refused_at_both() {
    let signer = Signer::all().remove(0);
    let challenge = Challenge::generate();
    for (name, value, rule) in [
        ("type", json!("webauthn.other"), "passkey.type"),
        ("challenge", json!(Challenge::generate().text()), "passkey.challenge"),
        ("challenge", json!(""), "passkey.challenge"),
        ("origin", json!("https://localhost"), "passkey.origin"),
        ("origin", json!("https://localhost:8443.evil.example"), "passkey.origin"),
        ("origin", json!("http://localhost:8443"), "passkey.origin"),
        ("crossOrigin", json!(true), "passkey.origin"),
        ("topOrigin", json!("https://evil.example"), "passkey.origin"),
        ("type", json!(null), "passkey.malformed"),
    ] {
        let mut create = client_data("webauthn.create", &challenge);
        let mut get = client_data("webauthn.get", &challenge);
        let attestation = object(&made(USUAL, b"id", &signer.cose()));
        let said = said("localhost", USUAL, 4);
        assert!(registered(&challenge, &create, &attestation).is_ok());
        assert!(proved(&signer, 3, (&challenge, &get), &said).is_ok());
        create[name] = value.clone();
        get[name] = value;
        assert_eq!(registered(&challenge, &create, &attestation), Err(rule), "{name}");
        assert_eq!(proved(&signer, 3, (&challenge, &get), &said), Err(rule), "{name}");
    }
    // One ceremony's word is not the other's.
    let get = client_data("webauthn.get", &challenge);
    let attestation = object(&made(USUAL, b"id", &signer.cose()));
    assert_eq!(registered(&challenge, &get, &attestation), Err("passkey.type"));
}

#[test]
fn what_is_wrong_with_the_authenticator_is_refused_at_both() {
    let signer = Signer::all().remove(0);
    let challenge = Challenge::generate();
    let (create, get) = (client_data("webauthn.create", &challenge), client_data("webauthn.get", &challenge));
    for (flags, rule) in [
        (VERIFIED, "passkey.presence"),
        (PRESENT, "passkey.verification"),
        (0, "passkey.presence"),
        (USUAL | 0x10, "passkey.malformed"),
        (USUAL | 0x80, "passkey.malformed"),
    ] {
        let attestation = object(&made(flags, b"id", &signer.cose()));
        assert_eq!(registered(&challenge, &create, &attestation), Err(rule), "{flags}");
        assert_eq!(proved(&signer, 3, (&challenge, &get), &said("localhost", flags, 4)), Err(rule), "{flags}");
    }
    assert_eq!(proved(&signer, 3, (&challenge, &get), &said("evil.example", USUAL, 4)), Err("passkey.origin"));
    assert_eq!(proved(&signer, 3, (&challenge, &get), &said("localhost", USUAL | 8, 4)), Err("passkey.backup"));
    let (right, none) = (made(USUAL, b"id", &signer.cose()), said("localhost", USUAL, 4));
    assert_eq!(registered(&challenge, &create, &object(&none)), Err("passkey.malformed"), "no key");
    assert_eq!(registered(&challenge, &create, &object(&[&right[..], &[0]].concat())), Err("passkey.malformed"));
    assert_eq!(registered(&challenge, &create, &[&object(&right)[..], &[0]].concat()), Err("passkey.malformed"));
    let extended = [&made(USUAL | 0x80, b"id", &signer.cose())[..], &map(&[(text("a"), integer(1))])].concat();
    assert!(registered(&challenge, &create, &object(&extended)).is_ok());
    let other = map(&[(integer(1), integer(2)), (integer(3), integer(-35)), (integer(-1), integer(2))]);
    assert_eq!(registered(&challenge, &create, &object(&made(USUAL, b"id", &other))), Err("passkey.algorithm"));
    assert_eq!(registered(&challenge, &create, &object(&made(USUAL, b"", &signer.cose()))), Err("passkey.malformed"));
}

#[test]
fn what_another_key_signed_or_something_else_is_refused() {
    for signer in Signer::all() {
        let challenge = Challenge::generate();
        let client = client_data("webauthn.get", &challenge).to_string();
        let said = said("localhost", USUAL, 4);
        let hash = Digest::of(client.as_bytes());
        let right = signer.sign(&[&said[..], hash.as_bytes()].concat());
        let rule = |key: &[u8], signature: &[u8]| {
            let known = Known { key, count: 0, may_be_backed_up: false };
            let assertion = Assertion { client_data: client.as_bytes(), authenticator_data: &said, signature };
            prove(&party(), &challenge, &known, &assertion).map_err(|fault| fault.rule).err()
        };
        assert_eq!(rule(&signer.cose(), &right), None);
        for at in 0..right.len() {
            let mut other = right.clone();
            other[at] ^= 1;
            assert_eq!(rule(&signer.cose(), &other), Some("passkey.signature"), "{at}");
        }
        assert_eq!(rule(&signer.cose(), &[]), Some("passkey.signature"));
        for other in Signer::all() {
            assert_eq!(rule(&other.cose(), &right), Some("passkey.signature"));
        }
    }
}

#[test]
fn a_count_that_does_not_grow_shows_a_clone_and_one_that_is_not_kept_does_not() {
    let signer = Signer::all().remove(1);
    let challenge = Challenge::generate();
    let get = client_data("webauthn.get", &challenge);
    for (known, count, cloned) in
        [(0, 0, false), (0, 1, false), (5, 6, false), (5, 5, true), (5, 4, true), (5, 0, true), (u32::MAX, 0, true)]
    {
        let shown = proved(&signer, known, (&challenge, &get), &said("localhost", USUAL, count)).unwrap();
        assert_eq!(shown.is_cloned, cloned, "{known} {count}");
    }
}

#[test]
fn a_host_without_a_name_has_no_passkeys() {
    for (authority, id, origin) in [
        ("localhost:8443", "localhost", "https://localhost:8443"),
        ("API.example.com", "api.example.com", "https://api.example.com"),
        ("api.example.com:443", "api.example.com", "https://api.example.com"),
    ] {
        assert_eq!(Party::of(authority), Some(Party { id: id.to_owned(), origin: origin.to_owned() }));
    }
    for authority in ["127.0.0.1:8443", "[::1]:8443", "", ":443", "a/b", "a@b:1"] {
        assert_eq!(Party::of(authority), None, "{authority}");
    }
}

#[test]
fn a_handle_says_the_tenant_and_the_account() {
    for slug in ["a", "acme", "acme-2", &"z9-".repeat(21)] {
        let tenant: TenantId = slug.parse().unwrap();
        let handle = user_handle(&tenant, &[7; 16]).unwrap();
        assert_eq!(handle.len(), 64);
        assert_eq!(whose_handle(&handle), Some((tenant, [7; 16])), "{slug}");
        assert_eq!(whose_handle(&handle[1..]), None);
        assert_eq!(whose_handle(&[&handle[..], &[0]].concat()), None);
    }
    assert_eq!(whose_handle(&[0xff; 64]), None);
    assert_eq!(whose_handle(b""), None);
}

proptest! {
    /// Whatever is sent, it is read or refused, and nothing is taken that is not there.
    #[test]
    fn no_bytes_upset_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let challenge = Challenge::generate();
        let create = client_data("webauthn.create", &challenge);
        prop_assert!(registered(&challenge, &create, &bytes).is_err());
        prop_assert!(registered(&challenge, &create, &object(&bytes)).is_err());
    }
}

#[test]
fn lengths_that_lie_and_depths_without_end_are_no_cbor() {
    let challenge = Challenge::generate();
    let create = client_data("webauthn.create", &challenge);
    for lie in [
        &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[0x9b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xbf, 0xff],
        &[0xc0, 0x00],
        &vec![0x81; 60_000],
        // A name twice.
        &[0xa2, 1, 1, 1, 2],
    ] {
        assert_eq!(registered(&challenge, &create, lie), Err("passkey.malformed"));
    }
}
