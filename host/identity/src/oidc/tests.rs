//! A provider in memory, and all that it may not get away with.

use std::sync::Mutex;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKey, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use opsiq_vault::Secret;
use serde_json::{Map, Value, json};

use super::*;
use crate::SsoFault;

const ISSUER: &str = "https://id.example.com";
const NOW: i64 = 1_800_000_000;

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Keys {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKey,
}

impl Keys {
    fn new() -> Self {
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            rsa: RsaKey::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// Modulus and exponent, from RFC 8017's `RSAPublicKey` of 2048 bits.
    fn rsa_public(&self) -> (Vec<u8>, Vec<u8>) {
        let der = self.rsa.public_key().as_ref();
        (der[9..265].to_vec(), der[267..].to_vec())
    }

    fn set(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let (n, e) = self.rsa_public();
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(self.ed.public_key().as_ref()) },
            { "kty": "RSA", "kid": "rsa", "n": b64(&[&[0], n.as_slice()].concat()), "e": b64(&e) },
            { "kty": "RSA", "kid": "rs256", "alg": "RS256", "n": b64(&n), "e": b64(&e) },
            { "kty": "EC", "crv": "P-256", "kid": "enc", "use": "enc", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "oct", "kid": "oct", "k": b64(b"a secret that everybody is told") },
            { "kty": "EC", "crv": "P-256", "kid": "two", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "EC", "crv": "P-256", "kid": "two", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
            { "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
        ]})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let message = signed.as_bytes();
        let random = SystemRandom::new();
        let rsa = |encoding| {
            let mut signature = vec![0; 256];
            self.rsa.sign(encoding, &random, message, &mut signature).unwrap();
            signature
        };
        let signature = match header["alg"].as_str().unwrap_or_default() {
            "ES256" => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "HS256" => {
                // What everybody knows, as the key: the text that is published.
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.rsa.public_key().as_ref());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{signed}.{}", b64(&signature))
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "opsiq", "azp": "opsiq", "sub": "248289761001", "nonce": "n-1", "iat": NOW, "exp": NOW + 300,
        "auth_time": NOW - 5, "email": "Eve@Example.com", "email_verified": true, "amr": ["pwd"],
        "groups": ["ops", "all"], "realm_access": { "roles": ["boss"] },
    })
}

fn expected() -> Expected<'static> {
    Expected { issuer: ISSUER, client_id: "opsiq", nonce: "n-1", now_s: NOW, anew_since_s: None }
}

fn read(value: &Value) -> KeySet {
    KeySet::read(value.as_object().unwrap()).unwrap()
}

fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[test]
fn what_a_provider_signed_for_this_attempt_is_believed() {
    let keys = Keys::new();
    let set = read(&keys.set());
    for (alg, kid) in [("ES256", "ec"), ("EdDSA", "ed"), ("RS256", "rsa"), ("PS256", "rsa"), ("RS256", "rs256")] {
        let token = keys.sign(&json!({ "alg": alg, "kid": kid, "typ": "JWT" }), &claims());
        let believed = believe_token(&token, &set, &expected()).unwrap();
        assert_eq!(believed.sub(), "248289761001", "{alg}");
        assert_eq!(believed.verified_email().as_deref(), Some("eve@example.com"));
        assert_eq!(believed.values("groups"), ["ops", "all"]);
        assert_eq!(believed.values("/realm_access/roles"), ["boss"]);
        assert!(believed.values("/realm_access").is_empty() && believed.values("nothing").is_empty());
        assert_eq!(believed.signed_in_s(), Some(NOW - 5));
        assert!(!believed.had_second_factor());
    }
    let header = json!({ "alg": "ES256", "kid": "ec" });
    let several = keys.sign(&header, &with(&json!({ "amr": ["pwd", "mfa"], "aud": ["opsiq"] })));
    assert!(believe_token(&several, &set, &expected()).unwrap().had_second_factor());
    for unverified in [json!({ "email_verified": false }), json!({ "email_verified": null }), json!({ "email": "eve" })]
    {
        let token = keys.sign(&header, &with(&unverified));
        assert_eq!(believe_token(&token, &set, &expected()).unwrap().verified_email(), None);
    }
}

/// Row 21.
#[test]
fn what_was_not_is_refused_by_its_rule() {
    let keys = Keys::new();
    let set = read(&keys.set());
    let code = |token: &str, expected: &Expected<'_>| believe_token(token, &set, expected).unwrap_err().rule;
    for (header, rule) in [
        (json!({ "alg": "none", "kid": "ec" }), "sso.alg"),
        (json!({ "alg": "None", "kid": "ec" }), "sso.alg"),
        (json!({ "kid": "ec" }), "sso.alg"),
        (json!({ "alg": "HS256", "kid": "rsa" }), "sso.alg"),
        (json!({ "alg": "HS256", "kid": "oct" }), "sso.alg"),
        (json!({ "alg": "ES256K", "kid": "ec" }), "sso.alg"),
        (json!({ "alg": "RS256", "kid": "ec" }), "sso.alg"),
        (json!({ "alg": "ES256", "kid": "rsa" }), "sso.alg"),
        (json!({ "alg": "PS256", "kid": "rs256" }), "sso.alg"),
        (json!({ "alg": "ES256" }), "sso.kid"),
        (json!({ "alg": "ES256", "kid": "" }), "sso.kid"),
        (json!({ "alg": "ES256", "kid": "other" }), "sso.kid"),
        (json!({ "alg": "ES256", "kid": "enc" }), "sso.kid"),
        (json!({ "alg": "ES256", "kid": "two" }), "sso.kid"),
        (json!({ "alg": "ES256", "kid": "ec", "crit": ["exp"] }), "sso.header"),
        (json!({ "alg": "ES256", "kid": "ec", "typ": "at+jwt" }), "sso.header"),
    ] {
        assert_eq!(code(&keys.sign(&header, &claims()), &expected()), rule, "{header}");
    }
    let header = json!({ "alg": "ES256", "kid": "ec" });
    for (changes, rule) in [
        (json!({ "iss": null }), "sso.iss"),
        (json!({ "iss": "https://id.example.com/" }), "sso.iss"),
        (json!({ "iss": "https://evil.example.com" }), "sso.iss"),
        (json!({ "aud": null }), "sso.aud"),
        (json!({ "aud": "other" }), "sso.aud"),
        (json!({ "aud": [] }), "sso.aud"),
        (json!({ "aud": ["opsiq", "other"] }), "sso.aud"),
        (json!({ "azp": "other" }), "sso.azp"),
        (json!({ "azp": ["opsiq"] }), "sso.azp"),
        (json!({ "exp": null }), "sso.exp"),
        (json!({ "exp": NOW - 61 }), "sso.exp"),
        (json!({ "exp": "tomorrow" }), "sso.claims"),
        (json!({ "iat": null }), "sso.iat"),
        (json!({ "iat": NOW - 601 }), "sso.iat"),
        (json!({ "iat": NOW + 61 }), "sso.iat"),
        (json!({ "nbf": NOW + 61 }), "sso.nbf"),
        (json!({ "nonce": null }), "sso.nonce"),
        (json!({ "nonce": "n-2" }), "sso.nonce"),
        (json!({ "sub": null }), "sso.sub"),
        (json!({ "sub": "" }), "sso.sub"),
        (json!({ "sub": 7 }), "sso.sub"),
        (json!({ "sub": "x".repeat(256) }), "sso.sub"),
    ] {
        assert_eq!(code(&keys.sign(&header, &with(&changes)), &expected()), rule, "{changes}");
    }
    let anew = Expected { anew_since_s: Some(NOW), ..expected() };
    assert!(believe_token(&keys.sign(&header, &with(&json!({ "auth_time": NOW }))), &set, &anew).is_ok());
    for old in [json!({ "auth_time": NOW - 61 }), json!({ "auth_time": null })] {
        assert_eq!(code(&keys.sign(&header, &with(&old)), &anew), "sso.auth-time", "{old}");
    }
    let good = keys.sign(&header, &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let other = b64(with(&json!({ "sub": "root" })).to_string().as_bytes());
    let twice = claims().to_string().replacen('{', "{\"sub\":\"root\",", 1);
    for (token, rule) in [
        (format!("{head}.{other}.{signature}"), "sso.signature"),
        (format!("{signed}."), "sso.signature"),
        (format!("{signed}.{}", b64(&[0; 64])), "sso.signature"),
        (signed.to_owned(), "sso.token"),
        (String::new(), "sso.token"),
        (format!("{good}="), "sso.token"),
        (format!("{good}.{signature}"), "sso.token"),
        ("x".repeat(70_000), "sso.token"),
    ] {
        assert_eq!(code(&token, &expected()), rule, "{token:.80}");
    }
    // Claims that two readers would read differently, signed.
    let signed = format!("{head}.{}", b64(twice.as_bytes()));
    let signature = keys.ec.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    assert_eq!(code(&format!("{signed}.{}", b64(signature.as_ref())), &expected()), "sso.token");
}

fn about() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://id.example.com/authorize?tenant=1",
        "token_endpoint": "https://id.example.com/token",
        "jwks_uri": "https://keys.example.com/jwks",
        "userinfo_endpoint": "https://id.example.com/me",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

fn metadata(changes: &Value) -> Result<Metadata, SsoFault> {
    let mut about: Map<String, Value> = about().as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        about.insert(name.clone(), value.clone());
    }
    Metadata::read(ISSUER, &about)
}

#[test]
fn a_provider_that_is_another_or_knows_too_little_is_none() {
    assert_eq!(Metadata::address(ISSUER).unwrap().as_str(), "https://id.example.com/.well-known/openid-configuration");
    assert_eq!(
        Metadata::address("https://id.example.com/t/1/").unwrap().as_str(),
        "https://id.example.com/t/1/.well-known/openid-configuration"
    );
    assert!(metadata(&json!({})).is_ok());
    for bad in [
        json!({ "issuer": "https://id.example.com/" }),
        json!({ "token_endpoint": "http://id.example.com/token" }),
        json!({ "token_endpoint": "file:///etc/passwd" }),
        json!({ "jwks_uri": "https://user@id.example.com/jwks" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "authorization_endpoint": "https://id.example.com/#x" }),
        json!({ "response_types_supported": ["id_token"] }),
        json!({ "code_challenge_methods_supported": ["plain"] }),
        json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"] }),
    ] {
        assert_eq!(metadata(&bad).unwrap_err().rule, "sso.discovery", "{bad}");
    }
}

#[test]
fn the_browser_leaves_with_a_challenge_and_without_what_it_is_of() {
    let flow = Flow::begin();
    let scopes = ["email".to_owned()];
    let asking = Asking { client_id: "opsiq", redirect_uri: "https://host/return", scopes: &scopes, anew: false };
    let url = flow.leave(&metadata(&json!({})).unwrap(), &asking);
    let query: Map<String, Value> = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned().into())).collect();
    assert_eq!(query["tenant"], "1", "what the provider says itself stays");
    assert_eq!(query["scope"], "openid email");
    assert_eq!(query["code_challenge_method"], "S256");
    let challenge = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, flow.verifier.as_bytes());
    assert_eq!(query["code_challenge"], b64(challenge.as_ref()));
    assert!(!url.as_str().contains(&flow.verifier) && !query.contains_key("max_age"));
    let anew = flow.leave(&metadata(&json!({})).unwrap(), &Asking { anew: true, ..asking });
    assert!(anew.as_str().contains("prompt=login&max_age=0"));
    assert_ne!(Flow::begin().state, flow.state);
    assert_eq!(format!("{flow:?}"), "Flow([sealed])");
}

/// Answers from memory, and remembers what it was asked.
struct Way(Mutex<Vec<(String, String, String)>>, Value);

#[async_trait]
impl Fetch for Way {
    async fn fetch(&self, request: FetchRequest) -> Result<Fetched, String> {
        let authorization = request.headers.iter().find(|(name, _)| name == "authorization");
        let authorization = authorization.map(|(_, value)| value.clone()).unwrap_or_default();
        let body = String::from_utf8(request.body.unwrap_or_default()).unwrap();
        self.0.lock().unwrap().push((request.url.clone(), authorization, body));
        match &self.1[&request.url] {
            Value::Null => Ok(Fetched { status: 404, body: b"{}".to_vec() }),
            value => Ok(Fetched { status: 200, body: value.to_string().into_bytes() }),
        }
    }
}

#[tokio::test]
async fn a_code_is_redeemed_with_the_verifier_and_the_secret_where_it_belongs() {
    let answers = json!({
        "https://id.example.com/token": { "id_token": "a.b.c", "access_token": "at", "token_type": "Bearer" },
        "https://id.example.com/me": { "sub": "248289761001", "email": "other@example.com", "department": "ops" },
    });
    let (secret, flow) = (Secret::from(b"s:e c&ret".to_vec()), Flow::begin());
    let client = OidcClient { id: "opsiq", secret: &secret };
    let way = Way(Mutex::default(), answers);
    let header = metadata(&json!({})).unwrap();
    let tokens = Tokens::redeem(&way, &header, client, "https://host/return", &flow, "c-1").await.unwrap();
    assert_eq!(tokens.id_token.as_str(), "a.b.c");
    let methods = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    Tokens::redeem(&way, &metadata(&methods).unwrap(), client, "https://host/return", &flow, "c-1").await.unwrap();
    let asked = std::mem::take(&mut *way.0.lock().unwrap());
    assert_eq!(asked[0].1, format!("Basic {}", STANDARD.encode("opsiq:s%3Ae+c%26ret")));
    assert!(
        asked[0].2.contains(&format!("code_verifier={}", flow.verifier)) && !asked[0].2.contains("ret="),
        "{asked:?}"
    );
    assert!(asked[1].1.is_empty() && asked[1].2.ends_with("client_id=opsiq&client_secret=s%3Ae+c%26ret"), "{asked:?}");

    let keys = Keys::new();
    let token = keys.sign(&json!({ "alg": "ES256", "kid": "ec" }), &claims());
    let mut believed = believe_token(&token, &read(&keys.set()), &expected()).unwrap();
    tokens.add_userinfo(&way, &header, &mut believed).await.unwrap();
    assert_eq!(believed.values("department"), ["ops"]);
    assert_eq!(believed.verified_email().as_deref(), Some("eve@example.com"), "what is signed stands");
    assert_eq!(way.0.lock().unwrap()[0].1, "Bearer at");
    let token = keys.sign(&json!({ "alg": "ES256", "kid": "ec" }), &with(&json!({ "sub": "somebody" })));
    let mut other = believe_token(&token, &read(&keys.set()), &expected()).unwrap();
    let fault = tokens.add_userinfo(&way, &header, &mut other).await.unwrap_err();
    assert_eq!(fault.rule, "sso.userinfo", "an answer about somebody else");
    let gone = metadata(&json!({ "token_endpoint": "https://id.example.com/gone" })).unwrap();
    let refused = Tokens::redeem(&way, &gone, client, "https://host/return", &flow, "c-1").await;
    assert_eq!(refused.err().unwrap().rule, "sso.code");
}
