//! The words of the host as types, and the one decision made of them.
//!
//! A plugin's [`Contract`] says what it does and what it asks for; the operator's [`Ceiling`] and the tenant's [`Grant`] say
//! how much of that is allowed; [`authority()`] intersects them with the caller's role and is the only maker of the
//! [`Authorized`] value that lets an action run. Everything here is pure: no I/O, no clock, no async. What is unknown,
//! missing or malformed is refused.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
#[cfg(test)]
mod authority_tests;
mod authorized;
mod caller;
mod canonical;
mod ceiling;
mod choose;
#[cfg(test)]
mod choose_tests;
pub mod component;
mod confirm;
mod custom_role;
mod denial;
pub mod diff;
mod digest;
mod error;
mod fairness;
mod foreign;
mod grant;
mod headers;
mod id;
mod installation;
mod json;
mod limits;
mod model;
mod plugin_ref;
mod preview;
#[cfg(test)]
mod preview_tests;
mod read;
mod schema;
mod standing;
mod template;
mod units;
mod visible;
mod write;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod sample;

pub use authority::{AuthorityRequest, Decision, Step, Verdict, authority, decide};
pub use authorized::{About, Authorized, DeniedRule, GrantedKey, GrantedRule};
pub use caller::{Caller, Effect, Principal, Role};
pub use ceiling::{Ceiling, DEFAULT_COMPONENT_BYTES, PluginCeiling, PrivateTarget};
pub use choose::choose;
pub use confirm::confirmation_hash;
pub use custom_role::CustomRole;
pub use denial::Denial;
pub use digest::Digest;
pub use error::{ContractError, ContractErrors};
pub use fairness::{Fairness, Level, SHARE_AXES, Share, ShareAxis, ShareSet, TenantFairness};
pub use foreign::{Call, CallTemplate, CommandCall, FilledRequest, RequestCall, World};
pub use grant::{Grant, GrantError, Permission, grant_command};
pub use headers::is_host_header;
pub use id::{IdError, InstallationId, InvocationId, TenantId, is_scope, is_slug};
pub use installation::{InstallState, Installation};
pub use json::{CanonicalJson, JsonError, MAX_DEPTH, MAX_NUMBER, parse_strict};
pub use limits::{AXES, Axis, HttpLimits, LimitSet, Limits, LimitsCeiling, LimitsRequest, Unit};
pub use model::{
    Action, AuditDecl, CONTRACT_VERSION, Contract, DeriveDecl, HttpRule, Inject, InjectPart, InjectTemplate, KeyDecl,
    KeyUse, KvDecl, PluginKind, PluginMeta, WebhookDecl, WebhookScheme, is_safe_method, nearest,
};
pub use plugin_ref::PluginRef;
pub use preview::{Argument, Preview, Rendered, render};
#[cfg(test)]
use read::read_value;
pub use schema::{Schema, SchemaError, Violation};
pub use standing::Standing;
pub use template::{Origin, ResolvedUrl, TemplateError, UrlTemplate, request_url};
pub use units::{parse_size, parse_time, show_about, show_size, show_time};
pub use visible::{Shown, is_hidden, visible};

/// Identifies a value of ours by its canonical JSON.
fn fingerprint(domain: &str, value: &impl serde::Serialize) -> Digest {
    // Serialisation of our own plain types does not fail; if it ever did, no two such values would be told apart, so the
    // error takes part in the hash.
    let text = serde_json::to_value(value).and_then(|value| canonical::canonical(&value));
    let text = text.unwrap_or_else(|error| error.to_string());
    Digest::of_parts(domain, [text.as_bytes()])
}
