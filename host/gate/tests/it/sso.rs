//! Signing in at a provider, through two nodes: what one sends away the other takes back, and what came back to one is spent for all.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use opsiq_gate::{Door, Host, OidcSettings, SsoAnswer, SsoEntered, SsoLeave, SsoSettings};
use opsiq_vault::Secret;
use serde_json::{Value, json};

use crate::nodes::two_with;
use crate::people::{knock, now};
use crate::world::acme;

const AT: &str = "https://localhost/v1/login/sso/acme/corp";

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A provider that redeems any code, as often as it is shown, for a token with the nonce it was told last.
struct Corp {
    issuer: String,
    nonce: Arc<Mutex<String>>,
}

impl Corp {
    fn start(listener: TcpListener) -> Self {
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (nonce, key) = (Arc::default(), EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
        let (told, said) = (Arc::clone(&nonce), issuer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who connects and goes away has asked nothing.
                let _ = answer(stream, &said, &key, &told);
            }
        });
        Self { issuer, nonce }
    }

    fn settings(&self) -> SsoSettings {
        SsoSettings {
            protocol: OidcSettings { issuer: self.issuer.clone(), client_id: "opsiq".to_owned(), scopes: Vec::new() }
                .into(),
            domains: ["example.com".to_owned()].into(),
            claim: None,
            roles: Vec::new(),
            default_role: Some("support".to_owned()),
            make_accounts: true,
            enforced: false,
            second_factor: true,
        }
    }
}

fn answer(mut stream: TcpStream, url: &str, key: &EcdsaKeyPair, nonce: &Mutex<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let point = key.public_key().as_ref();
    let body = match line.split(' ').nth(1).unwrap_or_default() {
        "/jwks" => json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "k", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
        ]}),
        "/token" => {
            let header = json!({ "alg": "ES256", "kid": "k" }).to_string();
            let claims = json!({
                "iss": url, "aud": "opsiq", "sub": "eve", "nonce": *nonce.lock().unwrap(), "iat": now(), "exp": now() + 300,
                "email": "eve@example.com", "email_verified": true,
            });
            let signed = format!("{}.{}", b64(header.as_bytes()), b64(claims.to_string().as_bytes()));
            let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            json!({ "id_token": format!("{signed}.{}", b64(signature.as_ref())), "token_type": "Bearer" })
        }
        _ => json!({
            "issuer": url, "authorization_endpoint": format!("{url}/a"), "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"),
        }),
    };
    let body = Value::to_string(&body);
    write!(stream, "HTTP/1.1 200 x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn param(url: &str, name: &str) -> String {
    let value = url.split(['?', '&']).find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    value.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_back_to_one_node_is_spent_for_all() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let opened = format!("[[sso.private-target]]\ncidr = \"127.0.0.1/32\"\nport = {port}\ntls = false\n");
    let Some(nodes) = two_with(&opened).await else { return };
    let corp = Corp::start(listener);
    let secret = Secret::from(b"the client's secret".to_vec());
    nodes.first.sso().set(&acme("olga"), "corp", corp.settings(), Some(secret)).await.unwrap();
    let doors = [nodes.first.door(), nodes.second.door()];
    // The second node hears of it within a second.
    let leave = SsoLeave { tenant: "acme", provider: "corp", at: AT, anew: false, invitation: None };
    let away = loop {
        if let Ok(away) = doors[1].sso_leave(&knock(), &leave).await {
            break away;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    corp.nonce.lock().unwrap().clone_from(&param(&away.url, "nonce"));
    let state = param(&away.url, "state");
    let back = async |door: Door| {
        let answer = SsoAnswer { code: Some("c-1"), state: Some(&state), ..SsoAnswer::default() };
        door.sso_return(&knock(), ("acme", "corp"), &answer, Some(away.kept.expose())).await
    };
    let many = join_all((0..10).map(|at| back(doors[at % 2].clone()))).await;
    let entered: Vec<_> = many.iter().filter_map(|done| done.as_ref().ok()).collect();
    let [SsoEntered::SignedIn(signed_in)] = entered.as_slice() else { panic!("{} of ten got in", entered.len()) };
    assert_eq!(signed_in.session.user, "eve@example.com");
    assert!(many.iter().filter_map(|done| done.as_ref().err()).all(|refusal| refusal.code == "sso.failed"));
    for host in [&nodes.first, &nodes.second] {
        let acts = async |host: &Host| host.door().session(signed_in.token.expose(), None).await;
        assert!(acts(host).await.is_ok(), "the session is everybody's");
    }
    // A change on one node ends it on the other within a second.
    nodes.second.sso().remove(&acme("olga"), "corp").await.unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while nodes.first.door().session(signed_in.token.expose(), None).await.is_ok() {
        assert!(std::time::Instant::now() < until);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    nodes.close().await;
}
