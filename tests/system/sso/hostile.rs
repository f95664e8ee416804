//! A provider that answers as the test wants: well, or in every way that must open nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::browser::param;
use crate::upstream::{Reply, Request, Upstream};

pub(super) const SECRET: &str = "c4n4ry-of-the-client";

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What one code is good for.
struct Code {
    challenge: String,
    redirect: String,
    token: String,
}

struct Shared {
    key: EcdsaKeyPair,
    codes: Mutex<HashMap<String, Code>>,
    /// Changes to what it says of itself.
    about: Mutex<Value>,
    /// Whether a code is good as often as it is shown.
    careless: Mutex<bool>,
}

pub(super) struct Provider {
    pub(super) upstream: Upstream,
    shared: Arc<Shared>,
}

impl Provider {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            codes: Mutex::default(),
            about: Mutex::new(json!({})),
            careless: Mutex::new(false),
        });
        let answering = shared.clone();
        Self { upstream: Upstream::start(move |request| answering.answer(request)), shared }
    }

    pub(super) fn issuer(&self) -> String {
        self.upstream.url()
    }

    pub(super) fn says(&self, about: Value) {
        *self.shared.about.lock().unwrap() = about;
    }

    pub(super) fn is_careless(&self) {
        *self.shared.careless.lock().unwrap() = true;
    }

    /// Claims of a token that is as it should be, for whoever was sent to this URL.
    pub(super) fn claims(&self, away: &str, sub: &str) -> Value {
        json!({
            "iss": self.issuer(), "aud": "opsiq", "sub": sub, "nonce": param(away, "nonce"), "iat": now(), "exp": now() + 300,
            "auth_time": now(), "email": format!("{sub}@example.com"), "email_verified": true, "groups": ["staff"],
        })
    }

    /// A code for a token that says this.
    pub(super) fn code(&self, away: &str, claims: &Value) -> String {
        self.code_for(away, self.sign(&json!({ "alg": "ES256", "kid": "k1" }), claims))
    }

    /// A code for that text.
    pub(super) fn code_for(&self, away: &str, token: String) -> String {
        let mut codes = self.shared.codes.lock().unwrap();
        let code = format!("code-{}", param(away, "nonce"));
        let (challenge, redirect) = (param(away, "code_challenge"), param(away, "redirect_uri"));
        assert_eq!(param(away, "code_challenge_method"), "S256");
        codes.insert(code.clone(), Code { challenge, redirect, token });
        code
    }

    /// Signs under a header, as far as its way is one.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let signature = match header["alg"].as_str().unwrap_or_default() {
            "ES256" => self.shared.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            // With what everybody knows as the key.
            "HS256" => {
                let public = hmac::Key::new(hmac::HMAC_SHA256, self.shared.key.public_key().as_ref());
                hmac::sign(&public, signed.as_bytes()).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{signed}.{}", b64(&signature))
    }
}

impl Shared {
    fn answer(&self, request: &Request) -> Reply {
        let url = format!("http://{}", request.header("host").unwrap());
        match request.target.as_str() {
            "/.well-known/openid-configuration" => {
                let mut about = json!({
                    "issuer": url, "authorization_endpoint": format!("{url}/authorize"),
                    "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/jwks"),
                });
                for (name, value) in self.about.lock().unwrap().as_object().unwrap() {
                    about[name] = value.clone();
                }
                Reply::json(200, &about)
            }
            "/jwks" => {
                let point = self.key.public_key().as_ref();
                let key = |kid: &str| json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": b64(&point[1..33]), "y": b64(&point[33..]) });
                Reply::json(200, &json!({ "keys": [key("k1"), key("k2")] }))
            }
            "/token" => self.token(request),
            _ => Reply::json(404, &json!({})),
        }
    }

    /// As strict about codes, verifiers and secrets as a provider must be.
    fn token(&self, request: &Request) -> Reply {
        let form = format!("?{}", String::from_utf8(request.body.clone()).unwrap());
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("opsiq:{SECRET}")));
        let mut codes = self.codes.lock().unwrap();
        let name = param(&form, "code");
        let careless = *self.careless.lock().unwrap();
        let token = codes.get(&name).and_then(|code| {
            let verifier = param(&form, "code_verifier");
            let challenge = b64(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref());
            let good = challenge == code.challenge && param(&form, "redirect_uri") == code.redirect;
            ((good || careless) && request.header("authorization") == Some(&basic)).then(|| code.token.clone())
        });
        if !careless {
            codes.remove(&name);
        }
        match token {
            Some(token) => {
                Reply::json(200, &json!({ "id_token": token, "access_token": "at", "token_type": "Bearer" }))
            }
            None => Reply::json(400, &json!({ "error": "invalid_grant" })),
        }
    }
}
