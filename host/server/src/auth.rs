//! Who calls. What proves it lives in rooms below; here is the place where a request meets the proof, and nothing behind
//! it is reached without.

use async_trait::async_trait;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use opsiq_contract::{Principal, TenantId};
use opsiq_gate::{Actor, Host, Refusal};
use opsiq_shield::ClientIp;

use crate::problem::Problem;

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over the network, from there.
    Network(ClientIp),
    /// Over the socket in the data directory, which only the host's own user and root reach.
    Operator,
}

/// A principal, and what signs the answer to it.
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// Signs the answer, when the request was signed.
    pub reply: Option<Box<dyn SignReply>>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("actor", &self.actor).finish_non_exhaustive()
    }
}

/// What the head of a request proves.
pub enum Head {
    /// Who sends it.
    Known(Caller),
    /// The same, if it has the body that its proof covers.
    Covering(Box<dyn Covers>),
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(caller) => f.debug_tuple("Known").field(caller).finish(),
            Self::Covering(_) => f.write_str("Covering"),
        }
    }
}

impl Head {
    /// Whose request it is, as far as its head says.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Known(caller) => caller.actor.clone(),
            Self::Covering(proof) => proof.claims(),
        }
    }
}

/// A proof that covers a body.
#[async_trait]
pub trait Covers: Send + Sync {
    /// Whose head it is. Whether the request is new is not known yet.
    fn claims(&self) -> Actor;

    /// Who sends the request, with this body.
    ///
    /// # Errors
    /// Another body than the one that is covered; a request that was taken before.
    async fn with_body(self: Box<Self>, body: &Bytes) -> Result<Caller, Refusal>;
}

/// Signs an answer.
#[async_trait]
pub trait SignReply: Send + Sync {
    /// Header fields that prove that this host answers this request so.
    ///
    /// # Errors
    /// When it cannot be signed; nothing but that is answered then.
    async fn sign(&self, status: StatusCode, body: &[u8]) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal>;

    /// Waits until the answer may begin that is given piece by piece, and so unsigned.
    ///
    /// # Errors
    /// When it may not.
    async fn settle(&self) -> Result<(), Refusal>;
}

/// Proves who calls over the network.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// What the head of a request proves, before its body is read. `authority` is what clients call this host, as the
    /// operator said and not only the request.
    ///
    /// # Errors
    /// Why it proves nobody, so that no body is read for nobody; in the class [`Denied`](opsiq_gate::Class::Denied) or
    /// [`Unauthenticated`](opsiq_gate::Class::Unauthenticated) at the stage
    /// [`Authenticate`](opsiq_gate::Stage::Authenticate) unless the store is away.
    async fn head(&self, host: &Host, parts: &Parts, client: ClientIp, authority: &str) -> Result<Head, Refusal>;
}

/// The header by which the operator acts as a user, over the operator's socket alone.
pub const AS: &str = "opsiq-as";

/// Who acts over the operator's socket: the operator, or the user named. Whoever reaches the socket could open the data
/// directory and act as anyone in it all the same.
pub(crate) fn over_socket(headers: &HeaderMap) -> Result<Actor, Problem> {
    let mut named = headers.get_all(AS).iter();
    let (Some(name), None) = (named.next(), named.next()) else {
        return if headers.contains_key(AS) { Err(not_a_user()) } else { Ok(Actor::operator()) };
    };
    let (tenant, user) = name.to_str().ok().and_then(|name| name.split_once('/')).ok_or_else(not_a_user)?;
    let tenant: TenantId = tenant.parse().map_err(|_| not_a_user())?;
    Ok(Actor::user(tenant, user))
}

fn not_a_user() -> Problem {
    Problem::malformed("caller.as", "opsiq-as names one user, as TENANT/USER")
}

/// The name of a principal, as the API shows it.
pub(crate) fn name(actor: &Actor) -> Option<&str> {
    match actor.principal() {
        Principal::User { name } => Some(name),
        Principal::Client { .. } | Principal::Operator => None,
    }
}
