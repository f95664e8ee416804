//! Of people, their sessions and roles, and of API clients.

use utoipa::ToSchema;

/// An invitation, shown once.
#[derive(ToSchema)]
pub(crate) struct InvitationView {
    tenant: String,
    user: String,
    /// The token: whoever has it takes up the account. Null in an answer given again: it is shown once.
    token: Option<String>,
    expires_ms: i64,
    /// In an answer given again: what was shown once.
    #[schema(required = false)]
    withheld: Vec<String>,
}

/// Whom an invitation invites to what.
#[derive(ToSchema)]
pub(crate) struct InvitedView {
    tenant: String,
    title: String,
    user: String,
    role: String,
    expires_ms: i64,
}

/// What an authenticator is given.
#[derive(ToSchema)]
pub(crate) struct EnrolmentView {
    /// To be given back with the first code.
    pending: String,
    /// What it scans.
    uri: String,
    /// What is typed into one that cannot: base32.
    seed: String,
    /// The picture to scan.
    svg: String,
    expires_ms: i64,
}

/// An account that is taken up.
#[derive(ToSchema)]
pub(crate) struct EnrolledView {
    tenant: String,
    user: String,
    /// For when the authenticator is lost, each good once; shown once.
    recovery_codes: Vec<String>,
}

/// A login whose password was right.
#[derive(ToSchema)]
pub(crate) struct PendingView {
    /// To be given back with the code.
    pending: String,
    expires_ms: i64,
}

/// A person who is signed in.
#[derive(ToSchema)]
pub(crate) struct SignedInView {
    /// The session's token, for who sends it as bearer token; a browser has it as cookie.
    token: String,
    /// The token of this device, to be shown at the next login as `opsiq-device`.
    device: Option<String>,
    session: SessionView,
    recovery_codes_left: u64,
    /// Why it may be somebody else than the user; then what is grave asks for a second factor anew.
    signals: Vec<String>,
}

/// A session, without its token.
#[derive(ToSchema)]
pub(crate) struct SessionView {
    id: String,
    tenant: String,
    user: String,
    device: String,
    address: Option<String>,
    /// The provider they signed in at; null for a password.
    provider: Option<String>,
    created_ms: i64,
    seen_ms: i64,
    expires_ms: i64,
    /// When its user last showed a second factor.
    stepped_up_ms: i64,
    /// Whether it is the one that asks.
    current: bool,
}

/// How many ended.
#[derive(ToSchema)]
pub(crate) struct EndedView {
    ended: u64,
}

/// A custom role.
#[derive(ToSchema)]
pub(crate) struct RoleView {
    name: String,
    base: String,
    actions: Vec<String>,
    scopes: Vec<String>,
    acts: Vec<String>,
    confirm_writes: bool,
}

/// A provider of identities, and what is believed of it. Its client's secret is in no answer.
#[derive(ToSchema)]
pub(crate) struct SsoProviderView {
    name: String,
    /// `oidc` or `saml`.
    kind: String,
    /// Of `oidc`.
    issuer: Option<String>,
    /// Of `oidc`.
    client_id: Option<String>,
    /// Of `oidc`.
    scopes: Option<Vec<String>>,
    /// Of `saml`.
    entity_id: Option<String>,
    /// Of `saml`.
    sso_url: Option<String>,
    /// Of `saml`: DER in base64.
    certificates: Option<Vec<String>>,
    /// Of `saml`.
    metadata_url: Option<String>,
    /// Of `saml`.
    name_id: Option<NameIdWord>,
    /// Of `saml`.
    email: Option<String>,
    domains: Vec<String>,
    claim: Option<String>,
    roles: Vec<ClaimRole>,
    default_role: Option<String>,
    make_accounts: bool,
    enforced: bool,
    second_factor: bool,
    /// A short keyed fingerprint of the client's secret, where there is one.
    fingerprint: Option<String>,
    created_ms: i64,
}

/// What a provider of SAML names its people by.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema")]
pub(crate) enum NameIdWord {
    /// A name made for this host, that no other person ever gets.
    Persistent,
    /// An e-mail address.
    Email,
    /// A name of the provider's own.
    Unspecified,
}

/// The role of whoever has a value in the claim that says roles.
#[derive(ToSchema)]
pub(crate) struct ClaimRole {
    value: String,
    role: String,
}

/// A provider that answered, and published its keys.
#[derive(ToSchema)]
pub(crate) struct SsoCheckedView {
    name: String,
    issuer: String,
}

/// Where to sign in at the provider. The answer also sets a cookie, without which nobody comes back.
#[derive(ToSchema)]
pub(crate) struct SsoAwayView {
    url: String,
}

/// An API client.
#[derive(ToSchema)]
pub(crate) struct ClientView {
    name: String,
    role: String,
    scopes: Vec<String>,
    revoked: bool,
    created_ms: i64,
    keys: Vec<ClientKeyView>,
}

/// One version of a client's secret, never the secret.
#[derive(ToSchema)]
pub(crate) struct ClientKeyView {
    /// The id to sign under: `tenant/client/version`.
    key_id: String,
    /// `current` or `ending`.
    state: String,
    fingerprint: String,
    created_ms: i64,
    until_ms: Option<i64>,
}

/// A client with its new secret, shown once.
#[derive(ToSchema)]
pub(crate) struct NewClientView {
    client: ClientView,
    key_id: String,
    /// The bytes of this text are the key of HMAC-SHA256. Null in an answer given again: it is shown once.
    secret: Option<String>,
    /// In an answer given again: what was shown once.
    #[schema(required = false)]
    withheld: Vec<String>,
}
