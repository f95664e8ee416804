//! Stage 6: idempotency. One client's key names one call for a day: the same call again gets the same answer, another
//! call under it is refused, and a call whose end is unknown stays unknown, because running it again could do twice what
//! must happen once.

use opsiq_audit::OpError;
use opsiq_contract::{CanonicalJson, InstallationId, InvocationId, Principal, TenantId};
use opsiq_store::Store;
use opsiq_store::{Claim, IdempotencyKey, WriteTx};
use opsiq_vault::{Sealed, SubjectKey, TenantVault};
use serde::{Deserialize, Serialize};

use crate::docs::{StoredEnd, answer_place};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::repeat::Repeatable;
use crate::state::TenantState;
use crate::subjects;

/// How long a key holds its call, in milliseconds, counted from the call, or from the last moment its confirmation can
/// be approved.
pub(crate) const KEPT_MS: i64 = 24 * 3600 * 1000;

/// A caller's idempotency key and the call it stands for, as blind indexes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Replay {
    client: [u8; 32],
    key: [u8; 32],
    call: [u8; 32],
}

/// The key is held by this or another call.
#[derive(Debug, thiserror::Error)]
#[error("the idempotency key is held by a call")]
pub(crate) struct Taken(pub(crate) Claim<StoredEnd>);

impl Replay {
    /// The key `text` of `principal` for one call.
    pub(crate) fn new(
        vault: &TenantVault,
        principal: &Principal,
        text: &str,
        installation: &InstallationId,
        action: &str,
        params: &CanonicalJson,
    ) -> Result<Self, Refusal> {
        let call = [installation.as_str(), action, params.as_str()].map(str::as_bytes);
        Self::of(vault, principal, text, "idempotency call", call)
    }

    /// The same for an administrative request. It is none of a call: the two are told apart by domain.
    pub(crate) fn of_request(
        vault: &TenantVault,
        principal: &Principal,
        asked: &Repeatable<'_>,
    ) -> Result<Self, Refusal> {
        let request = [asked.method.as_bytes(), asked.target.as_bytes(), asked.body];
        Self::of(vault, principal, asked.key, "idempotency request", request)
    }

    fn of(
        vault: &TenantVault,
        principal: &Principal,
        text: &str,
        domain: &'static str,
        parts: [&[u8]; 3],
    ) -> Result<Self, Refusal> {
        if text.is_empty() || text.len() > 255 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refusal::new(
                Class::Invalid,
                Stage::Replay,
                "idempotency.malformed",
                "an idempotency key is 1 to 255 visible ASCII characters",
                "use a UUID",
            ));
        }
        let mut call = Vec::new();
        for part in parts {
            call.extend_from_slice(&(part.len() as u64).to_be_bytes());
            call.extend_from_slice(part);
        }
        Ok(Self {
            client: vault.blind_index("idempotency client", principal.to_string().as_bytes()),
            key: vault.blind_index("idempotency key", text.as_bytes()),
            call: vault.blind_index(domain, &call),
        })
    }

    /// As the store knows it.
    pub(crate) fn stored<'a>(&'a self, tenant: &'a TenantId) -> IdempotencyKey<'a> {
        IdempotencyKey { tenant, client_index: &self.client, key_index: &self.key }
    }

    /// The hash that tells one call from another.
    pub(crate) fn call(&self) -> &[u8; 32] {
        &self.call
    }

    /// What makes the key passed upstream: the same for every try of one client under one key.
    pub(crate) fn upstream(&self) -> String {
        format!("key {}{}", hex::encode(self.client), hex::encode(self.key))
    }

    /// Claims the key for `invocation` until `expires_ms`, or stops the transaction with [`Taken`].
    pub(crate) async fn claim(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        invocation: &InvocationId,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<(), OpError> {
        match tx.idempotency_claim(self.stored(tenant), &self.call, invocation, now_ms, expires_ms).await? {
            Claim::New => Ok(()),
            taken => Err(OpError::refused(Taken(taken))),
        }
    }
}

/// Seals how an invocation ended, to be answered again; under the key of the subject it is about as well.
pub(crate) fn seal_end(
    tenant: &TenantState,
    invocation: &InvocationId,
    end: StoredEnd,
    about: Option<&SubjectKey>,
) -> Result<Sealed<StoredEnd>, Refusal> {
    let row = [invocation.as_str()];
    let place = answer_place(&row);
    let kept = match about {
        None => Ok(end),
        Some(key) => key.seal(&place, &end).map(StoredEnd::About),
    };
    let sealed = kept.and_then(|kept| tenant.vault.seal(&place, &kept));
    sealed.map_err(|error| errors::vault(Stage::Outcome, &error))
}

/// Opens how an invocation ended.
///
/// # Errors
/// What does not open, and what was about a subject who is erased.
pub(crate) async fn open_end(
    store: &Store,
    tenant: &TenantState,
    invocation: &InvocationId,
    sealed: &Sealed<StoredEnd>,
) -> Result<StoredEnd, Refusal> {
    let row = [invocation.as_str()];
    let place = answer_place(&row);
    let failed = |error| errors::vault(Stage::Replay, &error);
    let apart = match tenant.vault.open(&place, sealed).map_err(failed)? {
        StoredEnd::About(apart) => apart,
        end => return Ok(end),
    };
    let key = apart.key_id().ok_or_else(|| errors::internal(Stage::Replay, "a stored answer names no key"))?;
    match tenant.subject_by_id(store, key).await? {
        Some(key) => key.open(&place, &apart).map_err(failed),
        None => Err(subjects::erased(Stage::Replay)),
    }
}

/// The refusal of a call under a key that another call holds.
pub(crate) fn other_params() -> Refusal {
    Refusal::new(
        Class::Invalid,
        Stage::Replay,
        "idempotency.other-params",
        "this idempotency key was used for another call",
        "use a new key for a new call",
    )
}

/// The refusal while the first call still runs.
pub(crate) fn in_flight() -> Refusal {
    Refusal::new(
        Class::Conflict,
        Stage::Replay,
        "idempotency.in-flight",
        "a call with this idempotency key is running",
        "ask again with the same key in a moment",
    )
}

/// The answer to a call whose first try was interrupted.
pub(crate) fn unknown_end(invocation: &InvocationId) -> Refusal {
    let mut refusal = Refusal::new(
        Class::Conflict,
        Stage::Replay,
        "idempotency.unknown",
        "the host stopped while a call with this idempotency key ran: whether it took effect is unknown",
        "look in the outside system whether it did (reconcile), then call with a new key if it did not",
    )
    .of(invocation);
    refusal.effect_possible = true;
    refusal
}

#[cfg(test)]
mod tests {
    use opsiq_vault::{RootKey, Vault};

    use super::*;

    #[test]
    fn a_key_tells_clients_and_calls_apart() {
        let (vault, _) = Vault::create(&RootKey::generate());
        let tenant: TenantId = "acme".parse().unwrap();
        let key = vault.new_tenant_key(&tenant);
        let vault = vault.tenant(&tenant, &[key]).unwrap();
        let installation: InstallationId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let params = |text: &str| CanonicalJson::parse(text.as_bytes(), 8).unwrap();
        let user = |name: &str| Principal::User { name: name.to_owned() };
        let of = |who: &str, key: &str, action: &str, text: &str| {
            Replay::new(&vault, &user(who), key, &installation, action, &params(text))
        };
        let first = of("alice", "k", "refund", "{\"id\":1}").unwrap();
        let again = of("alice", "k", "refund", "{ \"id\" : 1 }").unwrap();
        assert_eq!((first.client, first.key, first.call), (again.client, again.key, again.call));
        assert_ne!(first.call, of("alice", "k", "refund", "{\"id\":2}").unwrap().call);
        assert_ne!(first.call, of("alice", "k", "cancel", "{\"id\":1}").unwrap().call);
        assert_ne!(first.client, of("bob", "k", "refund", "{\"id\":1}").unwrap().client);
        assert_ne!(first.key, of("alice", "l", "refund", "{\"id\":1}").unwrap().key);
        for bad in ["", "a b", "ä", "a\n", &"k".repeat(256)] {
            assert!(of("alice", bad, "refund", "{}").is_err(), "{bad:?}");
        }
    }
}
