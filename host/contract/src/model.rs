//! The contract: what a plugin promises to do and asks to use.
//!
//! A [`Contract`] exists only checked: whoever holds one may rely on every name in it being declared, every field being
//! enforceable, and every schema being compiled.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use semver::Version;

use crate::caller::{Effect, Role, words};
use crate::foreign::{Call, World};
use crate::limits::LimitsRequest;
use crate::plugin_ref::PluginRef;
use crate::preview::Preview;
use crate::schema::Schema;
use crate::template::UrlTemplate;

/// The version of the contract format, the `contract = 1` of the first line.
pub const CONTRACT_VERSION: u32 = 1;

/// Kind of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Speaks to one outside system.
    Connector,
    /// Computes; has no network and keeps nothing.
    Action,
}

words!(PluginKind, "a kind", "connector or action", Connector = "connector", Action = "action");

/// Who a plugin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginMeta {
    /// Its name, a slug unique to the publisher.
    pub id: String,
    /// Its semantic version.
    pub version: Version,
    /// Connector or action plugin.
    pub kind: PluginKind,
    /// Its name for people.
    pub title: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// Who made it: a slug.
    pub publisher: String,
    /// What the component was made for, when that is not this host.
    pub world: Option<World>,
}

/// What may be done with a key. There is no way to read one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUse {
    /// The host puts it into requests of a rule.
    Inject,
    /// The plugin makes MACs with it.
    Sign,
    /// The plugin, or the host for a webhook, checks MACs with it.
    Verify,
    /// The plugin derives keys from it.
    Derive,
}

words!(
    KeyUse,
    "a use of a key",
    "inject, sign, verify or derive",
    Inject = "inject",
    Sign = "sign",
    Verify = "verify",
    Derive = "derive"
);

/// How a chain of derived keys goes, as in Signature Version 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeriveDecl {
    /// Steps from the secret to the key that signs; 1 to 8. Signing at any other depth is refused, because an HMAC is also
    /// the next key's bytes.
    pub depth: u8,
    /// Put before the secret in the first step.
    pub prefix: String,
}

/// A secret the tenant provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDecl {
    /// Its name in this contract, a slug.
    pub name: String,
    /// What it is for, shown to the tenant.
    pub purpose: String,
    /// What may be done with it; never empty.
    pub uses: BTreeSet<KeyUse>,
    /// Present if and only if `uses` has `derive`.
    pub derive: Option<DeriveDecl>,
}

/// A piece of an injected header value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InjectPart {
    /// Text as it stands.
    Text(String),
    /// The newest version of the key of this name.
    Key(String),
}

/// An injected header value, such as `Bearer {api-key}`: at least one key, visible ASCII around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectTemplate(pub(crate) Vec<InjectPart>);

impl InjectTemplate {
    /// Text and keys, in order.
    pub fn parts(&self) -> &[InjectPart] {
        &self.0
    }

    /// The names of the keys in it.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            InjectPart::Key(name) => Some(name.as_str()),
            InjectPart::Text(_) => None,
        })
    }
}

impl fmt::Display for InjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            InjectPart::Text(text) => f.write_str(text),
            InjectPart::Key(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// A header that the host adds to requests of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inject {
    /// Field name, in lower case.
    pub header: String,
    /// Its value.
    pub value: InjectTemplate,
}

/// A kind of request a connector may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// Its name in this contract, a slug.
    pub name: String,
    /// Upper-case methods (RFC 9110 §9.1); never empty.
    pub methods: Vec<String>,
    /// The URLs it covers.
    pub url: UrlTemplate,
    /// The query names allowed.
    pub query: Vec<String>,
    /// The header the host adds.
    pub inject: Option<Inject>,
    /// Bytes of a request body, at most.
    pub request_max: u64,
    /// Decoded bytes of an answer's body, at most.
    pub response_max: u64,
    /// The publisher's claim that its unsafe methods change nothing.
    pub safe: bool,
    /// Redirects followed, each authorised anew and without the injected header.
    pub redirects: u8,
}

/// Whether a method is safe by itself: GET or HEAD (RFC 9110 §9.2.1; OPTIONS and TRACE are left out, as no API needs them).
pub fn is_safe_method(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

impl HttpRule {
    /// Whether every method is safe by itself, without the publisher's claim.
    pub fn has_safe_methods(&self) -> bool {
        self.methods.iter().all(|method| is_safe_method(method))
    }
}

/// One operation of a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its name in this contract, a slug.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// How far it reaches.
    pub effect: Effect,
    /// What an API client or an agent must hold, `resource:action`.
    pub scope: String,
    /// The roles that may call it; never empty.
    pub roles: BTreeSet<Role>,
    /// The HTTP rules it may use, in order.
    pub http: Vec<String>,
    /// The keys it may open itself.
    pub keys: Vec<String>,
    /// How it calls a component made elsewhere; present for those alone.
    pub call: Option<Call>,
    /// What a human is shown before approving.
    pub preview: Option<Preview>,
    /// What it takes: a closed object.
    pub params: Schema,
    /// What it answers.
    pub result: Schema,
}

/// How senders sign their webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookScheme {
    /// Standard Webhooks 1.0.
    Standard,
    /// `Stripe-Signature`.
    Stripe,
    /// `X-Hub-Signature-256`.
    Github,
    /// `X-Shopify-Hmac-Sha256`.
    Shopify,
    /// `X-Slack-Signature`.
    Slack,
}

words!(
    WebhookScheme,
    "a webhook scheme",
    "standard, stripe, github, shopify or slack",
    Standard = "standard",
    Stripe = "stripe",
    Github = "github",
    Shopify = "shopify",
    Slack = "slack"
);

/// An inbound webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDecl {
    /// Its name in this contract, a slug.
    pub name: String,
    /// How the sender signs.
    pub scheme: WebhookScheme,
    /// The key, with use `verify`, that the signature is checked with.
    pub key: String,
}

/// An event the plugin may put into the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDecl {
    /// Its name, such as `refund.created`.
    pub event: String,
}

/// Storage of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvDecl {
    /// Bytes of all keys and values together, at most.
    pub max: u64,
}

/// A checked contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// Who the plugin is.
    pub plugin: PluginMeta,
    /// The secrets it asks the tenant for.
    pub keys: Vec<KeyDecl>,
    /// The requests it may make.
    pub http: Vec<Arc<HttpRule>>,
    /// What it can do; never empty.
    pub actions: Vec<Action>,
    /// The webhooks it takes.
    pub webhooks: Vec<WebhookDecl>,
    /// The audit events it may emit.
    pub audit: Vec<AuditDecl>,
    /// The storage it asks for.
    pub kv: Option<KvDecl>,
    /// What the tenant may set: a closed object.
    pub config: Option<Schema>,
    /// The limits it asks for.
    pub limits: LimitsRequest,
}

impl Contract {
    /// The action of this name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// The HTTP rule of this name.
    pub fn rule(&self, name: &str) -> Option<&HttpRule> {
        self.http.iter().find(|rule| rule.name == name).map(Arc::as_ref)
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&KeyDecl> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The plugin's full name.
    pub fn plugin_ref(&self) -> PluginRef {
        PluginRef {
            publisher: self.plugin.publisher.clone(),
            id: self.plugin.id.clone(),
            version: self.plugin.version.clone(),
        }
    }

    /// The action whose name is most like `name`, when one is like it at all.
    pub fn nearest_action(&self, name: &str) -> Option<&str> {
        nearest(name, self.actions.iter().map(|action| action.name.as_str()))
    }

    /// The tenant's config names that decide an origin, with the rules they decide for.
    pub fn origin_rules(&self) -> impl Iterator<Item = &HttpRule> {
        self.http.iter().map(Arc::as_ref).filter(|rule| !rule.url.origin_config().is_empty())
    }
}

/// The name most like `name` (Jaro-Winkler), when one is like it at all.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(64).collect();
    names
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name, known), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
