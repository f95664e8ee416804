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
use opsiq_audit::{Draft, Kind, Log, Op, field};
use opsiq_shield::ClientIp;
use opsiq_signing::{Jumped, KeyId, NotTaken, Origin, Presented, Reading, Refused, Request, Ticket};
use opsiq_vault::Secret;

use super::Door;
use super::refused::{network, used_first};
use super::reply::ReplySigner;
use crate::actor::Actor;
use crate::refusal::{Class, Refusal, Stage};

/// A signed request whose head is a client's for certain, and whose body has not come yet. So that no body is read for
/// nobody.
pub struct SignedHead {
    door: Door,
    presented: Presented,
    secret: Arc<Secret>,
    peer: ClientIp,
}

/// Names the client.
impl std::fmt::Debug for SignedHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedHead").field("key_id", &self.presented.key_id).finish_non_exhaustive()
    }
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
        self.signed_head(origin, parts, peer).await?.with_body(body).await
    }

    /// The same before the body came: whose head it is. Nothing is taken yet.
    ///
    /// # Errors
    /// As [`Door::signed`] for all but the body and what was taken before.
    pub async fn signed_head(&self, origin: &Origin, parts: &Parts, peer: ClientIp) -> Result<SignedHead, Refusal> {
        let mut claimed = None;
        match self.verified(origin, parts, &mut claimed).await {
            Ok((presented, secret)) => {
                let head = SignedHead { door: self.clone(), presented, secret, peer };
                match head.may_come() {
                    Ok(()) => Ok(head),
                    Err(refusal) => Err(head.recorded(refusal).await),
                }
            }
            Err(refusal) => {
                if refusal.class == Class::Unauthenticated {
                    self.core.proof_refused(Some(peer));
                }
                Err(self.recorded(Log::Host, draft(peer, "unknown", claimed.as_ref()), refusal, peer).await)
            }
        }
    }

    /// Everything about a request but its body, and whether it came before.
    async fn verified(
        &self,
        origin: &Origin,
        parts: &Parts,
        claimed: &mut Option<KeyId>,
    ) -> Result<(Presented, Arc<Secret>), Refusal> {
        let target_uri = origin.target_uri(&parts.uri).map_err(refused)?;
        let request = Request { method: &parts.method, target_uri: &target_uri, headers: &parts.headers, body: b"" };
        let presented = Presented::read_head(&request).map_err(refused)?;
        *claimed = Some(presented.key_id.clone());
        let now_ms = self.time().await?;
        presented.is_timely(now_ms).map_err(refused)?;
        let secret = self.secret_of(&presented.key_id, now_ms).await?;
        // Nobody knows the secret that stands in for one that is not there.
        let made = presented.is_made_with(secret.as_deref().unwrap_or(&self.core.nobodys));
        match (secret, made) {
            (Some(secret), Ok(())) => Ok((presented, secret)),
            _ => Err(refused(Refused::Mac)),
        }
    }

    /// The secret of a client that may sign now, if there is one.
    async fn secret_of(&self, key_id: &KeyId, now_ms: i64) -> Result<Option<Arc<Secret>>, Refusal> {
        let Some(tenant) = self.core.tenants.get(&key_id.tenant) else { return Ok(None) };
        let client = self.core.client(&tenant, &key_id.client).await?;
        Ok(client.and_then(|client| client.secret(key_id.version, now_ms)))
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

impl SignedHead {
    /// The client whose head it is.
    pub fn client(&self) -> Actor {
        let KeyId { tenant, client, .. } = &self.presented.key_id;
        Actor::client(tenant.clone(), client.clone()).from_address(self.peer)
    }

    /// Whose request it is, with this body. From here on the same request is never taken again.
    ///
    /// # Errors
    /// As [`Door::signed`] for the body, and what was taken before. A body may take a while, so its time is looked at anew.
    pub async fn with_body(self, body: &[u8]) -> Result<(Actor, ReplySigner), Refusal> {
        let KeyId { tenant, client, .. } = &self.presented.key_id;
        match self.taken(body).await {
            Ok(ticket) => {
                self.door.core.client_used(tenant, &self.presented.key_id.to_string(), client, self.peer).await;
                Ok((self.client(), ReplySigner::new(self.door.core.clone(), self.presented, self.secret, ticket)))
            }
            Err(refusal) => Err(self.recorded(refusal).await),
        }
    }

    /// Refuses what comes from an address that the tenant's list does not let come, before its body is read.
    fn may_come(&self) -> Result<(), Refusal> {
        let core = &self.door.core;
        let tenant = core.tenants.get(&self.presented.key_id.tenant);
        tenant.map_or(Ok(()), |tenant| core.tenants_list(&tenant, Some(self.peer)))
    }

    /// Puts a refusal on its tenant's record; answers it, or why it cannot be.
    async fn recorded(&self, refusal: Refusal) -> Refusal {
        let KeyId { tenant, client, .. } = &self.presented.key_id;
        let draft = draft(self.peer, &format!("client:{client}"), Some(&self.presented.key_id));
        self.door.recorded(Log::Tenant(tenant.clone()), draft, refusal, self.peer).await
    }

    /// Takes the request, once. Among nodes the row of its nonce decides, so that is durable before the request runs.
    async fn taken(&self, body: &[u8]) -> Result<Ticket, Refusal> {
        let Presented { key_id, nonce, created, .. } = &self.presented;
        self.presented.is_of(body).map_err(refused)?;
        let now_ms = self.door.time().await?;
        self.presented.is_timely(now_ms).map_err(refused)?;
        let core = &self.door.core;
        let nonces = core.window.nonces();
        if !core.store.is_shared() {
            return nonces.take(key_id, nonce, *created, now_ms).map_err(not_taken);
        }
        let row = nonces.take_shared(key_id, nonce, *created, now_ms).map_err(not_taken)?;
        let claim = Op::new(|tx| Box::pin(async move { Ok(tx.nonce_claim(&row).await?) }));
        let claimed = core.journal.commit(&Log::Tenant(key_id.tenant.clone()), Vec::new(), claim).await;
        claimed.map_err(|error| used_first(&error, not_taken(NotTaken::Replayed)))?;
        Ok(Ticket::WRITTEN)
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

fn not_taken(why: NotTaken) -> Refusal {
    let (class, code, fix) = match why {
        NotTaken::Replayed => {
            (Class::Unauthenticated, "signature.replayed", "sign each request anew, with a new nonce")
        }
        NotTaken::Forgotten => (Class::Unauthenticated, "signature.forgotten", "sign each request when it is sent"),
        NotTaken::Full { tenant: true } => (Class::Limited, "signature.too-many", "send fewer, and try again"),
        NotTaken::Full { tenant: false } => (Class::Busy, "signature.full", "try again in a minute"),
    };
    Refusal::new(class, Stage::Authenticate, code, why.to_string(), fix)
}

fn refused(error: Refused) -> Refusal {
    Refusal::new(Class::Unauthenticated, Stage::Authenticate, error.code(), error.to_string(), error.fix())
}
