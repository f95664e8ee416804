//! Signs a request and verifies the signed reply: cargo run

use std::env;
use std::error::Error;
use std::fs;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httpsig::prelude::message_component::{HttpMessageComponent, HttpMessageComponentId};
use httpsig::prelude::{AlgorithmName, HttpSignatureBase, HttpSignatureHeaders, HttpSignatureParams, SharedKey};
use sha2::{Digest as _, Sha256};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// What binds a reply to its request.
const BOUND: [&str; 5] =
    ["\"@status\"", "\"content-digest\"", "\"@method\";req", "\"@target-uri\";req", "\"signature\";req"];

fn digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Covered components, each with its value, as lines of the text that is signed.
fn lines(components: &[(&str, &str)]) -> Result<Vec<HttpMessageComponent>, Box<dyn Error>> {
    let line = |(id, value): &(&str, &str)| Ok(HttpMessageComponent::try_from(format!("{id}: {value}").as_str())?);
    components.iter().map(line).collect()
}

/// A client that trusts the public roots, or those of the file named by OPSIQ_CA instead.
fn agent() -> Result<Agent, Box<dyn Error>> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(provider));
    if let Some(file) = env::var_os("OPSIQ_CA") {
        let mut roots = Vec::new();
        for item in parse_pem(&fs::read(file)?) {
            if let PemItem::Certificate(root) = item? {
                roots.push(root);
            }
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&roots));
    }
    Ok(Agent::config_builder().tls_config(tls.build()).http_status_as_error(false).build().into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (url, body) = (env::var("OPSIQ_URL")?, env::var("OPSIQ_BODY")?);
    let key_id = env::var("OPSIQ_KEY_ID")?;
    // The bytes of the text are the key.
    let key = SharedKey::HmacSha256(env::var("OPSIQ_CLIENT_SECRET")?.into_bytes());

    let content_digest = digest(body.as_bytes());
    let idempotency_key = format!("\"{}\"", uuid::Uuid::new_v4());
    let components = [
        ("\"@method\"", "POST"),
        ("\"@target-uri\"", url.as_str()),
        ("\"content-digest\"", content_digest.as_str()),
        ("\"idempotency-key\"", idempotency_key.as_str()),
    ];
    let covered: Result<Vec<_>, _> = components.iter().map(|(id, _)| HttpMessageComponentId::try_from(*id)).collect();
    let mut params = HttpSignatureParams::try_new(&covered?)?;
    params.set_random_nonce().set_keyid(&key_id).set_alg(&AlgorithmName::HmacSha256);
    let signed = HttpSignatureBase::try_new(&lines(&components)?, &params)?.build_signature_headers(&key, Some("sig"))?;
    let signature = signed.signature_header_value();

    let mut reply = agent()?
        .post(&url)
        .header("content-type", "application/json")
        .header("content-digest", &content_digest)
        .header("idempotency-key", &idempotency_key)
        .header("signature-input", signed.signature_input_header_value())
        .header("signature", &signature)
        .send(body.as_bytes())?;
    let answer = reply.body_mut().read_to_vec()?;
    let field = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok());
    let (Some(input), Some(mac), Some(told)) = (field("signature-input"), field("signature"), field("content-digest"))
    else {
        return Err(format!("{} {}", reply.status(), String::from_utf8_lossy(&answer)).into());
    };

    let all = HttpSignatureHeaders::try_parse(mac, input)?;
    let signed = all.values().next().ok_or("the reply is not signed")?;
    let status = reply.status().as_u16().to_string();
    let mut found = Vec::new();
    for id in &signed.signature_params().covered_components {
        let id = id.to_string();
        let value = match id.as_str() {
            "\"@status\"" => &status,
            "\"content-digest\"" => told,
            "\"@method\";req" => "POST",
            "\"@target-uri\";req" => &url,
            "\"signature\";req" => &signature,
            _ => return Err("the reply covers something unknown".into()),
        };
        found.push((id, value.to_owned()));
    }
    if !BOUND.iter().all(|bound| found.iter().any(|(id, _)| id == bound)) || told != digest(&answer) {
        return Err("the reply is not the host's answer to this request".into());
    }
    let found: Vec<(&str, &str)> = found.iter().map(|(id, value)| (id.as_str(), value.as_str())).collect();
    HttpSignatureBase::try_new(&lines(&found)?, signed.signature_params())?.verify_signature_headers(&key, signed)?;
    println!("{status} {}", String::from_utf8_lossy(&answer));
    Ok(())
}
