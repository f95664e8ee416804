//! The front door for programs: who signed a request, and that it is taken once. Stage 2 of DESIGN §6.
//!
//! What a front door does with a signed request:
//!
//! ```no_run
//! # use opsiq_gate::{Call, Host, Origin, Refusal};
//! # use opsiq_shield::ClientIp;
//! # async fn serve(host: Host, origin: Origin, parts: http::request::Parts, body: Vec<u8>, peer: ClientIp, call: Call)
//! #     -> Result<(), Refusal> {
//! let (actor, reply) = host.door().signed(&origin, &parts, &body, peer).await?; // a refusal: 401, 429 or 503
//! let answer = host.invoke(&actor, call).await; // or any other act
//! # let _ = answer;
//! # let (status, body) = (http::StatusCode::OK, b"{}");
//! let fields = reply.sign(status, body).await?; // a refusal: 503, and nothing else is answered
//! # let _ = fields; Ok(()) }
//! ```
//!
//! What fails closed: a form, time or digest that is not right; a clock that jumped; a nonce that was, or may have been, taken; no room to
//! remember one; and a nonce that cannot be made durable, without which nothing is answered. An unknown tenant, client or version, a
//! revoked client, an ended secret and a wrong MAC are one answer, for which the same work is done.
//!
//! Refusals are on record as those for want of room are: the first at once, and how many more in the minute after. One that names
//! no client for certain goes to the host's log.

use std::sync::Arc;

use http::request::Parts;
use opsiq_audit::{Draft, Kind, Log, field};
use opsiq_shield::ClientIp;
use opsiq_signing::{Jumped, KeyId, NotTaken, Origin, Presented, Reading, Refused, Request, Ticket};
use opsiq_vault::Secret;

use super::Door;
use super::refused::network;
use super::reply::ReplySigner;
use crate::actor::Actor;
use crate::refusal::{Class, Refusal, Stage};

/// A request that is somebody's, for certain.
struct Verified {
    presented: Presented,
    secret: Arc<Secret>,
    now_ms: i64,
}

impl Door {
    /// Whose signed request this is, and what signs the reply. `origin` is the address that clients reach this host by, of which
    /// the front door knows for certain, and not what `Host` says; `body` is the body's bytes before anything is decoded; `peer` goes
    /// on record. From here on the same request is never taken again.
    ///
    /// # Errors
    /// [`Class::Unauthenticated`] (HTTP 401) for whatever is wrong with the signature, and a request that was
    /// taken before; [`Class::Limited`] (429) when the tenant sent too many in the window; [`Class::Busy`] (503) when all
    /// tenants did; [`Class::Unavailable`] (503) when the clock jumped, or the store or the log is away.
    pub async fn signed(
        &self,
        origin: &Origin,
        parts: &Parts,
        body: &[u8],
        peer: ClientIp,
    ) -> Result<(Actor, ReplySigner), Refusal> {
        let mut claimed = None;
        match self.verified(origin, parts, body, &mut claimed).await {
            Ok(verified) => match self.may_come(&verified, peer).and_then(|()| self.taken(&verified)) {
                Ok(ticket) => {
                    let key_id = &verified.presented.key_id;
                    self.core.client_used(&key_id.tenant, &key_id.to_string(), &key_id.client, peer).await;
                    let actor = Actor::client(key_id.tenant.clone(), key_id.client.clone()).from_address(peer);
                    Ok((actor, ReplySigner::new(self.core.clone(), verified.presented, verified.secret, ticket)))
                }
                Err(refusal) => {
                    let key_id = &verified.presented.key_id;
                    let draft = draft(peer, &format!("client:{}", key_id.client), Some(key_id));
                    Err(self.recorded(Log::Tenant(key_id.tenant.clone()), draft, refusal, peer).await)
                }
            },
            Err(refusal) => {
                if refusal.class == Class::Unauthenticated {
                    self.core.proof_refused(Some(peer));
                }
                Err(self.recorded(Log::Host, draft(peer, "unknown", claimed.as_ref()), refusal, peer).await)
            }
        }
    }

    /// Everything about a request but whether it came before.
    async fn verified(
        &self,
        origin: &Origin,
        parts: &Parts,
        body: &[u8],
        claimed: &mut Option<KeyId>,
    ) -> Result<Verified, Refusal> {
        let target_uri = origin.target_uri(&parts.uri).map_err(refused)?;
        let request = Request { method: &parts.method, target_uri: &target_uri, headers: &parts.headers, body };
        let presented = Presented::read(&request).map_err(refused)?;
        *claimed = Some(presented.key_id.clone());
        let now_ms = self.time().await?;
        presented.is_timely(now_ms).map_err(refused)?;
        let secret = self.secret_of(&presented.key_id, now_ms).await?;
        // Nobody knows the secret that stands in for one that is not there.
        let made = presented.is_made_with(secret.as_deref().unwrap_or(&self.core.nobodys));
        match (secret, made) {
            (Some(secret), Ok(())) => Ok(Verified { presented, secret, now_ms }),
            _ => Err(refused(Refused::Mac)),
        }
    }

    /// The secret of a client that may sign now, if there is one.
    async fn secret_of(&self, key_id: &KeyId, now_ms: i64) -> Result<Option<Arc<Secret>>, Refusal> {
        let Some(tenant) = self.core.tenants.get(&key_id.tenant) else { return Ok(None) };
        let client = self.core.client(&tenant, &key_id.client).await?;
        Ok(client.and_then(|client| client.secret(key_id.version, now_ms)))
    }

    /// Refuses what comes from an address that the tenant's list does not let come, before it is taken.
    fn may_come(&self, verified: &Verified, peer: ClientIp) -> Result<(), Refusal> {
        let tenant = self.core.tenants.get(&verified.presented.key_id.tenant);
        tenant.map_or(Ok(()), |tenant| self.core.tenants_list(&tenant, Some(peer)))
    }

    /// Takes the request, once.
    fn taken(&self, verified: &Verified) -> Result<Ticket, Refusal> {
        let Presented { key_id, nonce, created, .. } = &verified.presented;
        self.core.window.nonces().take(key_id, nonce, *created, verified.now_ms).map_err(|error| {
            let (class, code, fix) = match error {
                NotTaken::Replayed => {
                    (Class::Unauthenticated, "signature.replayed", "sign each request anew, with a new nonce")
                }
                NotTaken::Forgotten => {
                    (Class::Unauthenticated, "signature.forgotten", "sign each request when it is sent")
                }
                NotTaken::Full { tenant: true } => (Class::Limited, "signature.too-many", "send fewer, and try again"),
                NotTaken::Full { tenant: false } => (Class::Busy, "signature.full", "try again in a minute"),
            };
            Refusal::new(class, Stage::Authenticate, code, error.to_string(), fix)
        })
    }

    /// What time it is, unless the clock jumped, which is an alarm.
    async fn time(&self) -> Result<i64, Refusal> {
        let jumped = match self.core.clock.time(Reading::now()) {
            Ok(now_ms) => return Ok(now_ms),
            Err(jumped) => jumped,
        };
        let Jumped { by_ms, first } = jumped;
        if first {
            tracing::error!(by_ms, "the clock of the host jumped; signed requests are refused until it is right again");
            let draft = Draft::new(Kind::Refused)
                .field(field::ACTOR, "host")
                .field(field::ACTION, "clock")
                .field(field::OUTCOME, "refused")
                .field(field::RULE, "clock.jumped")
                .field(field::DETAIL, format!("by {by_ms} ms; signed requests are refused until it is right again"));
            self.core.record(Log::Host, vec![draft]).await?;
        }
        Err(Refusal::new(
            Class::Unavailable,
            Stage::Authenticate,
            "clock.jumped",
            "the clock of the host jumped, so no signature can be held against it",
            "the operator sets the clock right; otherwise it is trusted again five minutes after it jumped",
        ))
    }

    /// Puts a refusal on record; answers it, or why it cannot be.
    async fn recorded(&self, log: Log, draft: Draft, refusal: Refusal, peer: ClientIp) -> Refusal {
        let recorded = self.core.record_refused_knock(log, draft, &refusal, &network(Some(peer))).await;
        recorded.err().unwrap_or(refusal)
    }
}

fn draft(peer: ClientIp, who: &str, key_id: Option<&KeyId>) -> Draft {
    let draft = Draft::new(Kind::Refused)
        .field(field::ACTOR, who)
        .field(field::IP, peer.to_string())
        .field(field::ACTION, "authenticate");
    match key_id {
        Some(key_id) => draft.field(field::DETAIL, format!("named the key {key_id}")),
        None => draft,
    }
}

fn refused(error: Refused) -> Refusal {
    Refusal::new(Class::Unauthenticated, Stage::Authenticate, error.code(), error.to_string(), error.fix())
}
