//! Who asks: whoever reaches the operator's socket, a program by its key, or a person by their session. A key or a token
//! comes from a file of this user's alone, from standard input or from the environment, never from an argument.

use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use opsiq_contract::{Principal, TenantId};
use opsiq_gate::ShownOnce;
use opsiq_signing::{Bound, KeyId, Reading, Request, SIGNATURE, sign_request, verify_reply};
use opsiq_vault::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

use super::address::Address;
use super::kept::{self, Kept};
use crate::acting::Acting;
use crate::failure::{Exit, Failure};
use crate::secret;

/// The variables that hold a key in parts, as `opsiq signature` reads them.
const KEY_ID: &str = "OPSIQ_KEY_ID";
const SECRET: &str = "OPSIQ_CLIENT_SECRET";
/// Names a user over the operator's socket.
const AS: HeaderName = HeaderName::from_static(opsiq_server::AS);
/// Random bytes of a nonce.
const NONCE: usize = 24;
/// Bytes of a key's file, at most.
const KEY_MOST: u64 = 64 << 10;

/// Who asks, and what proves it.
#[derive(Clone)]
pub(crate) enum Proof {
    /// Over the operator's socket: a user of a tenant, or the operator.
    Socket(Option<(TenantId, String)>),
    /// A program signs each request.
    Key(KeyId, Arc<Secret>),
    /// A person's session.
    Session(Arc<Kept>),
    /// Nobody yet, who signs in.
    Nobody,
}

/// What the answer to a signed request is held against.
pub(super) struct Expected {
    key_id: KeyId,
    secret: Arc<Secret>,
    bound: Bound,
}

impl Proof {
    /// What there is to prove to a server at `address` who acts.
    pub(crate) fn find(address: &Address, acting: &Acting, key_file: Option<&Path>) -> Result<Self, Failure> {
        let named = acting.anyone()?;
        let named = match (named.tenant(), named.principal()) {
            (Some(tenant), Principal::User { name }) => Some((tenant.clone(), name.clone())),
            _ => None,
        };
        if let Address::Socket(_) = address {
            return Ok(Self::Socket(named));
        }
        if let Some((tenant, user)) = named {
            return Ok(Self::Session(Arc::new(kept::of(address, &tenant, &user)?)));
        }
        if let Some((key_id, secret)) = key(key_file)? {
            return Ok(Self::Key(key_id, Arc::new(secret)));
        }
        Ok(Self::Session(Arc::new(kept::only(address)?)))
    }

    /// The tenant of who asks; none for the operator.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Socket(named) => named.as_ref().map(|(tenant, _)| tenant),
            Self::Key(key_id, _) => Some(&key_id.tenant),
            Self::Session(kept) => Some(&kept.tenant),
            Self::Nobody => None,
        }
    }

    /// Adds what proves it to a request's header; answers what its reply must be signed with, if it must be.
    pub(super) fn add(
        &self,
        method: &Method,
        target_uri: &str,
        headers: &mut HeaderMap,
        body: &[u8],
    ) -> Result<Option<Expected>, Failure> {
        let field = |text: &str| HeaderValue::from_str(text).map_err(|error| Failure::internal("no header", &error));
        match self {
            Self::Nobody | Self::Socket(None) => Ok(None),
            Self::Socket(Some((tenant, user))) => {
                headers.insert(AS, field(&format!("{tenant}/{user}"))?);
                Ok(None)
            }
            Self::Session(kept) => {
                let token = kept.token.as_ref().map(ShownOnce::expose).unwrap_or_default();
                let mut bearer = field(&Zeroizing::new(format!("Bearer {token}")))?;
                bearer.set_sensitive(true);
                headers.insert(AUTHORIZATION, bearer);
                Ok(None)
            }
            Self::Key(key_id, secret) => {
                let mut nonce = [0; NONCE];
                opsiq_vault::fresh(&mut nonce);
                let request = Request { method, target_uri, headers, body };
                let now_s = Reading::now().wall_ms / 1000;
                let signed = sign_request(&request, key_id, secret, now_s, &hex::encode(nonce)).map_err(|error| {
                    Failure::new(Exit::Invalid, error.code(), "this request cannot be signed").detail(error.to_string())
                })?;
                headers.extend(signed);
                let signature = headers.get(SIGNATURE).and_then(|signature| signature.to_str().ok());
                let bound = Bound {
                    method: method.as_str().to_owned(),
                    target_uri: target_uri.to_owned(),
                    signature: signature.unwrap_or_default().to_owned(),
                };
                Ok(Some(Expected { key_id: key_id.clone(), secret: secret.clone(), bound }))
            }
        }
    }
}

impl Expected {
    /// Refuses a reply that is not the host's to this request.
    pub(super) fn verify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), Failure> {
        verify_reply(&self.secret, &self.key_id, &self.bound, status, headers, body).map(drop).map_err(|error| {
            Failure::new(Exit::Tampered, "reply.signature", "the answer is not what the host signed")
                .detail(format!("{error} ({})", error.code()))
                .fix("something between here and the host changed it, or it is another host")
        })
    }
}

/// The key in a file, on standard input or in the environment, if there is one.
fn key(file: Option<&Path>) -> Result<Option<(KeyId, Secret)>, Failure> {
    if let Some(path) = file {
        return read(path).map(Some);
    }
    match (std::env::var(KEY_ID), std::env::var(SECRET)) {
        (Ok(id), Ok(text)) => Ok(Some((key_id(&id)?, secret::verbatim(&Zeroizing::new(text))?))),
        _ => Ok(None),
    }
}

/// A key's file: its id and its secret, a line each, or what `client create -o json` printed.
fn read(path: &Path) -> Result<(KeyId, Secret), Failure> {
    let mut text = Zeroizing::new(String::new());
    if path == Path::new("-") {
        std::io::stdin().lock().take(KEY_MOST).read_to_string(&mut text).map_err(|_| no_key(path))?;
    } else {
        let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        let mode = file.metadata().map_err(|error| Failure::file("read", path, &error))?.mode();
        if mode & 0o077 != 0 {
            return Err(exposed("key.exposed", path));
        }
        file.take(KEY_MOST).read_to_string(&mut text).map_err(|_| no_key(path))?;
    }
    if let Ok(printed) = serde_json::from_str::<Value>(&text) {
        let made = printed.get("data").unwrap_or(&printed);
        let part = |name: &str| made.get(name).and_then(Value::as_str).ok_or_else(|| no_key(path));
        return Ok((key_id(part("key_id")?)?, secret::verbatim(part("secret")?)?));
    }
    let mut lines = text.lines();
    match (lines.next(), lines.next(), lines.next()) {
        (Some(id), Some(secret), None) => Ok((key_id(id.trim())?, secret::verbatim(secret.trim())?)),
        _ => Err(no_key(path)),
    }
}

fn no_key(path: &Path) -> Failure {
    Failure::new(Exit::Invalid, "key.file", format!("{} holds no key of a client", path.display()))
        .fix("its id on the first line and its secret on the second, or what opsiq client create -o json printed")
}

/// A file with a secret in it that others may read.
pub(super) fn exposed(code: &'static str, path: &Path) -> Failure {
    Failure::new(Exit::Refused, code, format!("others may read {}", path.display()))
        .fix(format!("chmod 600 {}", path.display()))
}

fn key_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|error: opsiq_signing::Refused| {
        Failure::new(Exit::Invalid, error.code(), "the key's id is none").detail(error.to_string())
    })
}
