//! Of addresses, and of signs that an account is not used by its user.

use utoipa::ToSchema;

/// A rule about addresses.
#[derive(ToSchema)]
pub(crate) struct RuleView {
    network: String,
    /// `allow` or `block`.
    verdict: String,
    note: String,
    by: String,
    created_ms: i64,
}

/// What became of a change of rules.
#[derive(ToSchema)]
pub(crate) struct FirewallChanged {
    networks: Vec<String>,
    /// How many rules the list has now.
    rules: u64,
}

/// Whether an address may come.
#[derive(ToSchema)]
pub(crate) struct CheckView {
    address: String,
    permitted: bool,
    steps: Vec<CheckStep>,
}

/// What one list says of it.
#[derive(ToSchema)]
pub(crate) struct CheckStep {
    /// `operator` or `tenant`.
    list: String,
    permitted: bool,
    rule: Option<String>,
    said: String,
}

/// The score of a network.
#[derive(ToSchema)]
pub(crate) struct ScoreView {
    network: String,
    points: u32,
    reasons: Vec<Scored>,
}

/// A part of a score.
#[derive(ToSchema)]
pub(crate) struct Scored {
    /// `odd-headers`, `failed-sign-in`, `many-accounts`, `unknown-path`, `refused-proof` or `beyond-limit`.
    signal: String,
    points: u32,
}

/// A sign that an account may not be used by its user.
#[derive(ToSchema)]
pub(crate) struct SignalView {
    /// The number of its entry in the audit log.
    seq: u64,
    time_ms: i64,
    /// `user:NAME` or `client:NAME`.
    account: String,
    /// `new-device`, `new-network`, `pace`, `two-places`, `many-accounts`, `cloned-passkey`.
    reasons: Vec<String>,
    address: Option<String>,
    device: Option<String>,
    session: Option<String>,
}
