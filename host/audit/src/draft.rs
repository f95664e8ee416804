//! What a caller says about an entry, before the log gives it a place and a time.

use std::fmt;

use opsiq_contract::{About, InvocationId};

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

/// Named values in order of their names. An entry has about a dozen, so they stand in one row.
#[derive(Clone, Default)]
pub(crate) struct Fields(Vec<(&'static str, Value)>);

/// Fields there is room for at once.
const USUAL: usize = 12;

impl Fields {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (*other).cmp(name))
    }

    fn put(&mut self, at: usize, name: &'static str, value: Value) {
        if self.0.capacity() == 0 {
            self.0.reserve_exact(USUAL);
        }
        self.0.insert(at, (name, value));
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.place(name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.put(at, name, value),
        }
    }

    fn set_missing(&mut self, name: &'static str, text: impl FnOnce() -> String) {
        if let Err(at) = self.place(name) {
            self.put(at, name, Value { text: text(), hidden: false });
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl IntoIterator for Fields {
    type Item = (&'static str, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// An entry to be: its kind, the invocation it belongs to, and named values. Values are sealed; what a log shows in clear is
/// the kind, the invocation, and which fields there are. A field set twice keeps the last value.
#[derive(Clone)]
pub struct Draft {
    pub(crate) kind: Kind,
    pub(crate) invocation: Option<InvocationId>,
    pub(crate) fields: Fields,
}

impl Draft {
    /// An entry of that kind without fields.
    pub fn new(kind: Kind) -> Self {
        Self { kind, invocation: None, fields: Fields::default() }
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
        self.fields.set(name, Value { text: value.into(), hidden: false });
        self
    }

    /// Sets a field that lists show as sealed and an export holds only when asked to reveal: what a schema marks secret or
    /// personal. It is committed to like any other.
    #[must_use]
    pub fn hidden(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.set(name, Value { text: value.into(), hidden: true });
        self
    }

    /// Fills in who called, with which role, which action of which installation and plugin, where the draft says nothing
    /// else.
    pub(crate) fn fill(&mut self, about: &About) {
        let (caller, installation) = (about.caller(), about.installation());
        self.fields.set_missing(field::ACTOR, || caller.principal.to_string());
        self.fields.set_missing(field::ROLE, || caller.role.as_str().to_owned());
        self.fields.set_missing(field::ACTION, || about.action().name.clone());
        self.fields.set_missing(field::INSTALLATION, || installation.name.clone());
        self.fields.set_missing(field::PLUGIN, || installation.plugin.to_string());
    }

    /// Sets a field unless it is set.
    pub(crate) fn set_missing(&mut self, name: &'static str, value: String) {
        self.fields.set_missing(name, || value);
    }
}

/// Names the fields; values may be secret.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("kind", &self.kind)
            .field("invocation", &self.invocation)
            .field("fields", &self.fields.0.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}
