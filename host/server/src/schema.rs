//! The shapes of answers for the `OpenAPI` document. The values themselves are the gate's, written as they are; what stands
//! here mirrors them field by field, and the tests compare every answer of the running server with it.
#![allow(dead_code, reason = "read by the derive that makes schemas of them, and never made")]

mod people;
mod retention;
mod shield;

use serde_json::Value;
use utoipa::ToSchema;

pub(crate) use self::people::*;
pub(crate) use self::retention::*;
pub(crate) use self::shield::*;

/// Why a request is not answered with what it asked for (RFC 9457).
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// `urn:opsiq:problem:` and the rule.
    r#type: String,
    /// A short title for people.
    title: String,
    /// The status.
    status: u16,
    /// What happened, in a sentence.
    detail: String,
    /// The stable code of the rule that refused, such as `role.not-allowed`.
    rule: String,
    /// What kind of refusal it is, such as `denied`.
    class: String,
    /// The stage that refused, such as `params`.
    stage: String,
    /// What would allow it, and who may; empty when nothing would.
    fix: String,
    /// The id of the request, as in the log.
    request: String,
    /// Where the input is off its schema.
    #[schema(required = false)]
    faults: Vec<Fault>,
    /// The invocation this ended.
    #[schema(required = false)]
    invocation: Option<String>,
    /// Whether an effect may have happened outside although there is no answer.
    #[schema(required = false)]
    effect_possible: bool,
    /// Seconds after which to try again.
    #[schema(required = false)]
    retry_after: u32,
}

/// One place that is off its schema.
#[derive(ToSchema)]
pub(crate) struct Fault {
    /// JSON Pointer; empty for the whole.
    path: String,
    /// What is wrong there.
    message: String,
}

/// A tenant.
#[derive(ToSchema)]
pub(crate) struct TenantView {
    id: String,
    title: String,
    /// Whether a risky write needs a person other than its requester.
    second_person: bool,
    created_ms: i64,
    /// `active`, `cancelled` or `erased`.
    standing: String,
    /// The end of a cancelled tenant's export window.
    until_ms: Option<i64>,
    /// When an erased tenant's keys were destroyed.
    erased_ms: Option<i64>,
}

/// A registered plugin.
#[derive(ToSchema)]
pub(crate) struct CatalogueEntry {
    /// `publisher/id@version`.
    plugin: String,
    digest: String,
    title: String,
    summary: String,
    /// `connector` or `action`.
    kind: String,
    /// Bytes of the component.
    size: u64,
    registered_ms: i64,
}

/// An installation.
#[derive(ToSchema)]
pub(crate) struct InstallationView {
    id: String,
    name: String,
    /// `publisher/id@version`.
    plugin: String,
    digest: String,
    title: String,
    /// `enabled`, `paused` or `quarantined`.
    state: String,
    /// Why nothing of it runs although it is enabled.
    quarantine: Option<QuarantineView>,
    /// Grows with each change of what runs.
    revision: u64,
    /// Granted keys that are not set yet; while there is one, no action runs.
    needs_keys: Vec<String>,
    /// The config; fields marked secret or pii are redacted.
    #[schema(value_type = Object)]
    config: Value,
    /// What is granted.
    allowed: Vec<String>,
    /// What the contract asks for and the tenant withholds.
    withheld: Vec<String>,
    /// Writes the tenant raised to wait for a person.
    confirm: Vec<String>,
    held: Option<HeldUpgrade>,
    actions: Vec<ActionView>,
    created_ms: i64,
}

/// An upgrade that waits to be accepted.
#[derive(ToSchema)]
pub(crate) struct HeldUpgrade {
    plugin: String,
    digest: String,
    /// The hash of the difference that was shown last.
    difference: String,
    asked_by: String,
    asked_ms: i64,
}

/// One action as an installation offers it.
#[derive(ToSchema)]
pub(crate) struct ActionView {
    name: String,
    title: String,
    /// `read`, `write` or `risky-write`.
    effect: String,
    /// What a program must hold.
    scope: String,
    /// Roles that may run it.
    roles: Vec<String>,
    /// Whether the grant includes it.
    allowed: bool,
    preview: Option<String>,
    /// JSON Schema of its parameters.
    #[schema(value_type = Object)]
    params: Value,
    /// JSON Schema of its result.
    #[schema(value_type = Object)]
    result: Value,
}

/// One action of one installation.
#[derive(ToSchema)]
pub(crate) struct Offered {
    installation: String,
    action: ActionView,
}

/// What installing would allow, or what an installation may do.
#[derive(ToSchema)]
pub(crate) struct InstallPlan {
    plugin: String,
    digest: String,
    title: String,
    summary: String,
    /// What to know before the asks.
    notes: Vec<String>,
    /// The asks, worst risk first.
    groups: Vec<AskGroup>,
    /// Limits in force: name and value with unit.
    limits: Vec<Vec<String>>,
    /// Keys to be set before any action can run.
    needs_keys: Vec<String>,
    /// JSON Schema of the config.
    #[schema(value_type = Option<Object>)]
    config_schema: Option<Value>,
}

/// Asks of one risk.
#[derive(ToSchema)]
pub(crate) struct AskGroup {
    risk: String,
    title: String,
    asks: Vec<AskItem>,
}

/// One thing asked for.
#[derive(ToSchema)]
pub(crate) struct AskItem {
    /// The name to withhold or allow it by.
    item: String,
    text: String,
    detail: String,
    granted: bool,
}

/// What an upgrade would change.
#[derive(ToSchema)]
pub(crate) struct UpgradePlan {
    from: String,
    plugin: String,
    digest: String,
    title: String,
    groups: Vec<ChangeGroup>,
    /// Whether it asks for more than was granted.
    asks_more: bool,
    withheld: Vec<String>,
    needs_keys: Vec<String>,
    #[schema(value_type = Option<Object>)]
    config_schema: Option<Value>,
    config_faults: Vec<Fault>,
    /// What accepting is bound to.
    difference: String,
}

/// Changes of one weight.
#[derive(ToSchema)]
pub(crate) struct ChangeGroup {
    risk: String,
    title: String,
    changes: Vec<UpgradeChange>,
}

/// One change.
#[derive(ToSchema)]
pub(crate) struct UpgradeChange {
    item: String,
    text: String,
}

/// What asking for an upgrade came to.
#[derive(ToSchema)]
pub(crate) struct Upgrade {
    /// `current`, `switched` or `held`.
    status: String,
    /// What changed, or would.
    #[schema(required = false)]
    plan: UpgradePlan,
    installation: InstallationView,
}

/// A key, never its value.
#[derive(ToSchema)]
pub(crate) struct KeyView {
    name: String,
    purpose: String,
    /// `inject`, `sign`, `verify`, `derive`.
    uses: Vec<String>,
    granted: bool,
    /// `installed`, `held` or `nowhere`: which contract declares it.
    declared: String,
    /// Newest first; empty while it is not set.
    versions: Vec<KeyVersionView>,
}

/// One version of a key.
#[derive(ToSchema)]
pub(crate) struct KeyVersionView {
    version: u64,
    /// `current`, `verifying` or `retired`.
    state: String,
    fingerprint: String,
    created_ms: i64,
}

/// What a run used.
#[derive(ToSchema)]
pub(crate) struct Meter {
    cpu_us: u64,
    wall_us: u64,
    peak_memory_bytes: u64,
    host_calls: u64,
    hostcall_bytes: u64,
    egress_requests: u64,
    egress_bytes: u64,
    log_lines: u64,
    fuel: Option<u64>,
}

/// A finished call.
#[derive(ToSchema)]
pub(crate) struct CallDone {
    /// `done`.
    status: String,
    /// The id in the audit log.
    invocation: String,
    effect: String,
    /// Whether this is the stored answer to an earlier call.
    replayed: bool,
    /// Valid against the action's schema.
    result: Value,
    /// Whether fields of it are not shown.
    redacted: bool,
    meter: Meter,
}

/// A call that waits for a person.
#[derive(ToSchema)]
pub(crate) struct CallPending {
    /// `pending`.
    status: String,
    confirmation: ConfirmationView,
}

/// What a call would meet.
#[derive(ToSchema)]
pub(crate) struct Explanation {
    steps: Vec<ExplainStep>,
    /// `pass`, `wait` or `refuse`.
    verdict: String,
}

/// One stage of it.
#[derive(ToSchema)]
pub(crate) struct ExplainStep {
    stage: String,
    rule: String,
    verdict: String,
    detail: String,
    /// What would change it.
    change: String,
}

/// A confirmation, as a person must see it before deciding.
#[derive(ToSchema)]
pub(crate) struct ConfirmationView {
    /// Also the id of the invocation.
    id: String,
    state: String,
    installation: String,
    plugin: String,
    connector: String,
    action: String,
    action_title: String,
    preview: String,
    arguments: Vec<Argument>,
    /// The hash of all it is bound to.
    hash: Option<String>,
    requester: String,
    role: String,
    requested_ms: i64,
    expires_ms: i64,
    decided_by: Option<String>,
    outcome: Option<String>,
}

/// One argument.
#[derive(ToSchema)]
pub(crate) struct Argument {
    path: String,
    value: String,
    /// Characters that are not shown.
    cut: u64,
}

/// An entry of the audit log.
#[derive(ToSchema)]
pub(crate) struct AuditEntry {
    /// Its number, from 0.
    seq: u64,
    time_ms: i64,
    /// Whether the clock stood before the previous entry's time.
    clock_held: bool,
    kind: String,
    invocation: Option<String>,
    /// Its fields, as texts.
    #[schema(value_type = Object)]
    fields: Value,
}

/// A signed head of the log.
#[derive(ToSchema)]
pub(crate) struct Checkpoint {
    checkpoint: String,
}

/// A public key.
#[derive(ToSchema)]
pub(crate) struct AuditKey {
    key: String,
}

/// A user.
#[derive(ToSchema)]
pub(crate) struct UserView {
    name: String,
    /// `owner`, `admin` or `support`.
    role: String,
    /// The custom role that narrows it.
    custom: Option<String>,
    enabled: bool,
    /// Whether they took up their account.
    enrolled: bool,
    /// Grows by one with each change of role or state; what its `ETag` names.
    revision: u64,
    created_ms: i64,
}

/// What is known of a data subject.
#[derive(ToSchema)]
pub(crate) struct SubjectView {
    /// A keyed hash.
    subject: String,
    key: Option<String>,
    since_ms: Option<i64>,
    erased: Vec<ErasedKey>,
}

/// A destroyed key of a subject.
#[derive(ToSchema)]
pub(crate) struct ErasedKey {
    key: String,
    erased_ms: i64,
}

/// What runs and what may not.
#[derive(ToSchema)]
pub(crate) struct ControlView {
    calls: Vec<CallView>,
    quarantines: Vec<QuarantineView>,
}

/// A call that runs or waits.
#[derive(ToSchema)]
pub(crate) struct CallView {
    invocation: String,
    tenant: String,
    installation: String,
    name: Option<String>,
    plugin: String,
    action: String,
    by: Option<String>,
    state: Value,
    since_ms: i64,
    age_ms: u64,
    cpu_us: u64,
    memory_bytes: u64,
    host_calls: u64,
    egress_requests: u64,
    egress_bytes: u64,
}

/// A quarantine in force.
#[derive(ToSchema)]
pub(crate) struct QuarantineView {
    selector: String,
    tenant: Option<String>,
    by: String,
    reason: String,
    since_ms: i64,
}

/// What became of an order to stop.
#[derive(ToSchema)]
pub(crate) struct Stopped {
    selector: String,
    calls: u64,
    ended: u64,
}

/// What became of an order to quarantine.
#[derive(ToSchema)]
pub(crate) struct Placed {
    quarantine: QuarantineView,
    new: bool,
    calls: u64,
    ended: u64,
    tenants: u64,
}

/// What calls used.
#[derive(ToSchema)]
pub(crate) struct TotalsView {
    tenant: Option<String>,
    installation: Option<String>,
    plugin: Option<String>,
    running: u64,
    queued: u64,
    calls: u64,
    failed: u64,
    refused: u64,
    cancelled: u64,
    cpu_us: u64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    host_calls: u64,
    egress_requests: u64,
    egress_bytes: u64,
}

/// Whether the host is sealed.
#[derive(ToSchema)]
pub(crate) struct SealView {
    sealed: bool,
}
