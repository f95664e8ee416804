//! What is sealed inside the store's documents, and the place each is bound to. One file, because these shapes outlive
//! every process: a field added here needs a default.

use std::collections::BTreeSet;

use opsiq_contract::{Digest, Grant, InstallState, PluginRef, Principal, Rendered, Role};
use opsiq_identity::{PasswordHash, Seed};
use opsiq_shield::ClientIp;
use opsiq_vault::{Apart, KeyId, Place};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::refusal::Refusal;
use crate::repeat::KeptAnswer;
use crate::replay::Replay;
use crate::sso::SsoSettings;

/// Of a tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TenantDoc {
    pub(crate) title: String,
    /// Whether a risky write needs a person other than its requester.
    pub(crate) second_person: bool,
    /// Since and until when its owners take out what is theirs, after which its keys are destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled: Option<Cancelled>,
}

/// A tenant that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cancelled {
    pub(crate) at_ms: i64,
    pub(crate) until_ms: i64,
}

/// What stands in the place of a tenant's document once its erasure has begun. Sealed by the host, since the tenant's own
/// keys go; nobody else can make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) begun_ms: i64,
    /// When its keys were gone.
    pub(crate) erased_ms: Option<i64>,
}

impl Tombstone {
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "tenant", row, column: "tombstone", version }
    }
}

impl TenantDoc {
    pub(crate) fn place(version: u64) -> Place<'static> {
        Place { table: "tenant", row: &[], column: "doc", version }
    }
}

/// Of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UserDoc {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Repeats the column, so that a disabled user cannot be enabled by editing the database.
    pub(crate) enabled: bool,
    /// The id of the custom role that narrows their role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom: Option<String>,
    /// Whether a provider's word made the account: then its word also says the role, at every sign-in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_provider: bool,
}

impl UserDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "app_user", row, column: "doc", version }
    }
}

/// Of an API client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClientDoc {
    pub(crate) name: String,
    /// What it may do at most.
    pub(crate) role: Role,
    pub(crate) scopes: BTreeSet<String>,
    /// One that is revoked stays so.
    pub(crate) enabled: bool,
    /// Versions of its secret that are accepted, oldest first. A row of a secret that is not here is of no use.
    pub(crate) keys: Vec<ClientKeyDoc>,
    /// The newest version there ever was.
    pub(crate) newest: u64,
    /// The ids of the users who were told a secret of it, each when it was made; `None` where that was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told: Option<BTreeSet<String>>,
}

/// Of one version of a client's secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClientKeyDoc {
    pub(crate) version: u64,
    pub(crate) fingerprint: String,
    pub(crate) created_ms: i64,
    /// Until when it is accepted beside a newer one; `None` for the newest.
    pub(crate) until_ms: Option<i64>,
}

impl ClientDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "api_client", row, column: "doc", version }
    }
}

/// The place of a version of a client's secret. `row` is the client's id.
pub(crate) fn client_key_place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
    Place { table: "api_client_key", row, column: "secret", version }
}

/// What a user signs in with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CredentialDoc {
    /// None for who signs in at a provider, and shows a code here.
    pub(crate) password: Option<PasswordHash>,
    pub(crate) seed: Seed,
    /// Keyed hashes, in hex, of the recovery codes that are left.
    pub(crate) recovery: Vec<String>,
}

impl CredentialDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "credential", row, column: "doc", version }
    }
}

/// Of a passkey.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PasskeyDoc {
    /// What its person calls it.
    pub(crate) name: String,
    /// Whose, by name.
    pub(crate) owner: String,
    /// The name of this host that it is bound to.
    pub(crate) site: String,
    /// What its authenticator calls it.
    #[serde(with = "crate::door::base64url")]
    pub(crate) credential: Vec<u8>,
    /// The public key (COSE).
    #[serde(with = "crate::door::base64url")]
    pub(crate) key: Vec<u8>,
    /// How often it signed, when last seen.
    pub(crate) count: u32,
    pub(crate) may_be_backed_up: bool,
    pub(crate) backed_up: bool,
    /// When it was last shown.
    pub(crate) used_ms: Option<i64>,
    /// When it turned out that there are two of it; then it opens nothing.
    pub(crate) cloned_ms: Option<i64>,
}

impl PasskeyDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "passkey", row, column: "doc", version }
    }
}

/// Of an invitation. `created_ms` is the version of its place, as of the two below.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InvitationDoc {
    /// Whom it invites, by name.
    pub(crate) name: String,
    /// The principal that invited.
    pub(crate) by: String,
}

impl InvitationDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], created_ms: i64) -> Place<'a> {
        Place { table: "invitation", row, column: "doc", version: unsigned(created_ms) }
    }
}

/// Of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionDoc {
    /// Whose, by name.
    pub(crate) name: String,
    /// What the device says it is.
    pub(crate) device: String,
    /// From where it was begun.
    pub(crate) address: Option<ClientIp>,
    /// The name of the provider they signed in at; `None` for a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
}

impl SessionDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], created_ms: i64) -> Place<'a> {
        Place { table: "user_session", row, column: "doc", version: unsigned(created_ms) }
    }
}

/// Of a known device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeviceDoc {
    /// What it says it is.
    pub(crate) device: String,
    /// From where it was first signed in.
    pub(crate) address: Option<ClientIp>,
}

impl DeviceDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], created_ms: i64) -> Place<'a> {
        Place { table: "known_device", row, column: "doc", version: unsigned(created_ms) }
    }
}

/// Of a provider of identities.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SsoProviderDoc {
    pub(crate) name: String,
    /// Of the client's secret.
    pub(crate) fingerprint: String,
    #[serde(flatten)]
    pub(crate) settings: SsoSettings,
}

impl SsoProviderDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "sso_provider", row, column: "doc", version }
    }
}

/// The place of what proves the host to a provider. `row` is the provider's id.
pub(crate) fn sso_secret_place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
    Place { table: "sso_provider", row, column: "secret", version }
}

/// Of an identity at a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SsoIdentityDoc {
    pub(crate) issuer: String,
    pub(crate) sub: String,
    /// Whose account it is, by name.
    pub(crate) name: String,
}

impl SsoIdentityDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], created_ms: i64) -> Place<'a> {
        Place { table: "sso_identity", row, column: "doc", version: unsigned(created_ms) }
    }
}

/// Of a rule about addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AddressRuleDoc {
    /// Why.
    pub(crate) note: String,
    /// The principal that placed it.
    pub(crate) by: String,
}

impl AddressRuleDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], created_ms: i64) -> Place<'a> {
        Place { table: "address_rule", row, column: "doc", version: unsigned(created_ms) }
    }
}

/// The place of a custom role.
pub(crate) fn role_place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
    Place { table: "custom_role", row, column: "doc", version }
}

/// A time as a version: none here is before 1970.
fn unsigned(time_ms: i64) -> u64 {
    u64::try_from(time_ms).unwrap_or(0)
}

/// Of an installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InstallationDoc {
    pub(crate) name: String,
    pub(crate) plugin: PluginRef,
    pub(crate) digest: Digest,
    pub(crate) grant: Grant,
    pub(crate) config: Value,
    /// Repeats the column, so that a paused installation cannot be resumed by editing the database.
    pub(crate) state: InstallState,
    /// How many changes of the row changed nothing of what runs. Confirmations are bound to the others alone, so that an
    /// upgrade that is only held voids none.
    #[serde(default)]
    pub(crate) notes: u64,
    /// A version that asks for more, until an owner or admin accepts or rejects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<Held>,
}

/// An upgrade that waits to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) plugin: PluginRef,
    pub(crate) digest: Digest,
    /// What was shown last, and of what: see [`crate::difference`].
    pub(crate) difference: Digest,
    pub(crate) asked_by: Principal,
    pub(crate) asked_ms: i64,
}

impl InstallationDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], revision: u64) -> Place<'a> {
        Place { table: "installation", row, column: "doc", version: revision }
    }
}

/// Of a quarantine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct QuarantineDoc {
    pub(crate) reason: String,
    /// The principal that placed it.
    pub(crate) by: String,
}

impl QuarantineDoc {
    /// `row` is kind and value.
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "quarantine", row, column: "doc", version }
    }
}

/// Beside the secret of a key's version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyDoc {
    pub(crate) fingerprint: String,
}

/// The place of a key's secret (`column` = `secret`) or its document (`doc`). `row` is installation and name.
pub(crate) fn key_place<'a>(row: &'a [&'a str], column: &'static str, version: u64) -> Place<'a> {
    Place { table: "installation_key", row, column, version }
}

/// Of a confirmation: what was asked, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConfirmationDoc {
    pub(crate) request: Request,
    pub(crate) decided_by: Option<String>,
    /// `ok` or the code it failed with, once it ran.
    pub(crate) outcome: Option<String>,
}

impl ConfirmationDoc {
    pub(crate) fn place<'a>(row: &'a [&'a str], version: u64) -> Place<'a> {
        Place { table: "confirmation", row, column: "doc", version }
    }
}

/// Exactly what a person is asked to approve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) installation_name: String,
    pub(crate) plugin: PluginRef,
    pub(crate) connector: String,
    pub(crate) action: String,
    pub(crate) action_title: String,
    #[serde(flatten)]
    pub(crate) told: Kept<Told>,
    pub(crate) requester: Principal,
    pub(crate) scopes: Option<BTreeSet<String>>,
    pub(crate) role: Role,
    /// The caller's idempotency key, which the call claimed.
    pub(crate) replay: Option<Replay>,
}

/// What of a request goes when the data subject it is about is erased.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Canonical parameters: the bytes that run.
    pub(crate) params: String,
    /// What the person is shown of them.
    pub(crate) shown: Rendered,
    /// The hash of all the request is bound to, the parameters among it.
    pub(crate) hash: Digest,
}

impl Told {
    /// It is sealed once: later versions of the document repeat it as it is.
    pub(crate) fn place<'a>(row: &'a [&'a str]) -> Place<'a> {
        Place { table: "confirmation", row, column: "told", version: 0 }
    }
}

/// A part of a document: under a subject's key when it is about one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Kept<T> {
    /// About a subject.
    Apart { apart: Apart<T> },
    /// About nobody.
    Here(T),
}

impl<T> Kept<T> {
    /// The key of the subject it is about.
    pub(crate) fn about(&self) -> Option<KeyId> {
        match self {
            Self::Apart { apart } => apart.key_id(),
            Self::Here(_) => None,
        }
    }
}

/// How an invocation ended, as stored for its idempotency key to be answered again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredEnd {
    /// With a result: canonical JSON.
    Done(String),
    /// Without one.
    Failed(Box<Refusal>),
    /// Either, about a data subject.
    About(Apart<StoredEnd>),
    /// The answer to an administrative request.
    Reply(Box<KeptAnswer>),
}

/// The place of the stored answer of `row`, an invocation.
pub(crate) fn answer_place<'a>(row: &'a [&'a str]) -> Place<'a> {
    Place { table: "idempotency", row, column: "answer", version: 0 }
}
