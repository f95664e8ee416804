//! What a caller says about an entry, before the log gives it a place and a time.

use std::collections::BTreeMap;
use std::fmt;

use opsiq_contract::{Authorized, InvocationId};

use crate::kind::Kind;

/// Names of the fields that entries have. Others are allowed; these have a column of their own in a CSV export.
pub mod field {
    /// Who: `user:alice`, `operator`.
    pub const ACTOR: &str = "actor";
    /// With which role.
    pub const ROLE: &str = "role";
    /// From which address.
    pub const IP: &str = "ip";
    /// The action of a plugin, or the administrative act.
    pub const ACTION: &str = "action";
    /// The installation's name.
    pub const INSTALLATION: &str = "installation";
    /// `publisher/id@version`.
    pub const PLUGIN: &str = "plugin";
    /// The canonical parameters.
    pub const PARAMS: &str = "params";
    /// The answer.
    pub const RESPONSE: &str = "response";
    /// How it ended: `ok`, or the code of the failure.
    pub const OUTCOME: &str = "outcome";
    /// The rule that decided.
    pub const RULE: &str = "rule";
    /// How long it took, in milliseconds.
    pub const DURATION_MS: &str = "duration_ms";
    /// Anything else a reader should know.
    pub const DETAIL: &str = "detail";

    /// All of them, in the order of a CSV export's columns.
    pub const COLUMNS: [&str; 12] =
        [ACTOR, ROLE, IP, ACTION, INSTALLATION, PLUGIN, PARAMS, RESPONSE, OUTCOME, RULE, DURATION_MS, DETAIL];
}

/// The value of a field and how it may be shown.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) text: String,
    pub(crate) hidden: bool,
}

/// An entry to be: its kind, the invocation it belongs to, and named values. Values are sealed; what a log shows in clear is
/// the kind, the invocation, and which fields there are. A field set twice keeps the last value.
#[derive(Clone)]
pub struct Draft {
    pub(crate) kind: Kind,
    pub(crate) invocation: Option<InvocationId>,
    pub(crate) fields: BTreeMap<&'static str, Value>,
}

impl Draft {
    /// An entry of that kind without fields.
    pub fn new(kind: Kind) -> Self {
        Self { kind, invocation: None, fields: BTreeMap::new() }
    }

    /// An entry about an authorised call: who, with which role, which action of which installation and plugin.
    pub fn of(kind: Kind, authorized: &Authorized) -> Self {
        Self::new(kind).about(authorized)
    }

    /// Names the invocation the entry belongs to.
    #[must_use]
    pub fn invocation(mut self, invocation: InvocationId) -> Self {
        self.invocation = Some(invocation);
        self
    }

    /// Sets a field that owners see in lists and exports.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.insert(name, Value { text: value.into(), hidden: false });
        self
    }

    /// Sets a field that lists show as sealed and an export holds only when asked to reveal: what a schema marks secret or
    /// personal. It is committed to like any other.
    #[must_use]
    pub fn hidden(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.insert(name, Value { text: value.into(), hidden: true });
        self
    }

    /// Fills in what the authorisation says, where the draft says nothing else.
    fn about(mut self, authorized: &Authorized) -> Self {
        let caller = authorized.caller();
        self.invocation.get_or_insert_with(|| authorized.invocation().clone());
        for (name, value) in [
            (field::ACTOR, caller.principal.to_string()),
            (field::ROLE, caller.role.to_string()),
            (field::ACTION, authorized.action().name.clone()),
            (field::INSTALLATION, authorized.installation_name().to_string()),
            (field::PLUGIN, authorized.plugin().to_string()),
        ] {
            self.set_missing(name, value);
        }
        self
    }

    /// Sets a field unless it is set.
    pub(crate) fn set_missing(&mut self, name: &'static str, value: String) {
        self.fields.entry(name).or_insert(Value { text: value, hidden: false });
    }

    /// Takes over the fields of `other` that this draft does not set.
    pub(crate) fn fill(&mut self, other: &Self) {
        for (name, value) in &other.fields {
            self.fields.entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// Names the fields; values may be secret.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("kind", &self.kind)
            .field("invocation", &self.invocation)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .finish()
    }
}
