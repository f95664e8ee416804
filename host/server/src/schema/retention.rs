//! Of how long audit logs are kept.

use utoipa::ToSchema;

/// How long a log is kept.
#[derive(ToSchema)]
pub(crate) struct RetentionView {
    /// `tenant/acme` or `host`.
    log: String,
    /// For so many months.
    months: u32,
    /// The first entry whose content is kept; of those before it, hashes are.
    content_from: u64,
    /// What keeps all of it longer.
    holds: Vec<HoldView>,
    /// When it was last seen to what is past its term.
    last_run_ms: Option<i64>,
}

/// A legal hold.
#[derive(ToSchema)]
pub(crate) struct HoldView {
    id: String,
    since_ms: i64,
    /// Who placed it.
    by: String,
    /// Whether the operator did, who alone lifts it then.
    operator: bool,
    reason: String,
}
