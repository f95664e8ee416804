//! What a caller says about an entry, before the log gives it a place and a time.

use std::fmt;

use opsiq_contract::{About, InvocationId};
use opsiq_vault::SubjectKey;

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
    /// The stage of a call that refused it or failed.
    pub const STAGE: &str = "stage";
    /// The effect a call may have.
    pub const EFFECT: &str = "effect";
    /// The name of an event that a plugin recorded.
    pub const EVENT: &str = "event";
    /// The id of a confirmation.
    pub const CONFIRMATION: &str = "confirmation";
    /// The key whose value was found: `installation/name`.
    pub const KEY: &str = "key";
    /// Where it was found.
    pub const PLACE: &str = "place";
    /// Who approved a call.
    pub const APPROVED_BY: &str = "approved_by";
    /// In which role.
    pub const APPROVED_AS: &str = "approved_as";

    /// The id of the request, as its answer says it.
    pub const REQUEST: &str = "request";

    /// All of them, in the order of a CSV export's columns.
    pub const COLUMNS: [&str; 12] =
        [ACTOR, ROLE, IP, ACTION, INSTALLATION, PLUGIN, PARAMS, RESPONSE, OUTCOME, RULE, DURATION_MS, DETAIL];

    /// What says who did what and how it went, in the host's own words: it stays when the data subject is erased. All
    /// else goes.
    const STAYS: [&str; 18] = [
        ACTOR,
        ROLE,
        IP,
        REQUEST,
        ACTION,
        INSTALLATION,
        PLUGIN,
        OUTCOME,
        RULE,
        DURATION_MS,
        STAGE,
        EFFECT,
        EVENT,
        CONFIRMATION,
        KEY,
        PLACE,
        APPROVED_BY,
        APPROVED_AS,
    ];

    /// Whether a field stays when the data subject is erased.
    pub(crate) fn stays(name: &str) -> bool {
        STAYS.contains(&name)
    }
}

/// The value of a field and how it may be shown.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) text: String,
    pub(crate) hidden: bool,
    /// Whom it is about, where that is somebody else than the entry.
    pub(crate) about: Option<SubjectKey>,
}

impl Value {
    fn shown(text: String) -> Self {
        Self { text, hidden: false, about: None }
    }
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
            self.put(at, name, Value::shown(text()));
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
/// the kind, the invocation, and which fields there are. A field set twice keeps the last value. What is about a data
/// subject is sealed under that subject's key as well.
#[derive(Clone)]
pub struct Draft {
    pub(crate) kind: Kind,
    pub(crate) invocation: Option<InvocationId>,
    pub(crate) fields: Fields,
    pub(crate) about: Option<SubjectKey>,
}

impl Draft {
    /// An entry of that kind without fields.
    pub fn new(kind: Kind) -> Self {
        Self { kind, invocation: None, fields: Fields::default(), about: None }
    }

    /// Names the invocation the entry belongs to.
    #[must_use]
    pub fn invocation(mut self, invocation: InvocationId) -> Self {
        self.invocation = Some(invocation);
        self
    }

    /// Says whose data the entry holds, if anybody's: all but who did what and how it went goes when they are erased.
    #[must_use]
    pub fn about(mut self, subject: Option<SubjectKey>) -> Self {
        self.about = subject;
        self
    }

    /// Sets a field that is about this subject, if any, whomever the entry is about.
    #[must_use]
    pub fn field_about(mut self, name: &'static str, value: impl Into<String>, subject: Option<SubjectKey>) -> Self {
        self.fields.set(name, Value { about: subject, ..Value::shown(value.into()) });
        self
    }

    /// Sets a field that owners see in lists and exports.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.set(name, Value::shown(value.into()));
        self
    }

    /// Sets a field that lists show as sealed and an export holds only when asked to reveal: what a schema marks secret or
    /// personal. It is committed to like any other.
    #[must_use]
    pub fn hidden(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.set(name, Value { hidden: true, ..Value::shown(value.into()) });
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
            .field("about", &self.about)
            .field("fields", &self.fields.0.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}
