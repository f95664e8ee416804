//! Which calls, installations or plugins an order is about: as somebody writes it, and as it is kept.

use std::fmt;
use std::str::FromStr;

use opsiq_contract::{Digest, Installation, InstallationId, InvocationId, PluginRef, TenantId, is_slug};

/// What an order is about, as written: `all`, `tenant:acme`, `installation:acme/shop` (`installation:shop` by a user of the
/// tenant), `publisher:opsiq`, `plugin:opsiq/orders`, `plugin:opsiq/orders@0.1.0`, `digest:sha256:…`, `call:INVOCATION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Everything of whoever asks: of the host, or of the tenant.
    All,
    /// Everything of a tenant.
    Tenant(TenantId),
    /// One installation, by name or id.
    Installation(Option<TenantId>, String),
    /// Everything of a publisher.
    Publisher(String),
    /// Every version of a plugin: publisher and id.
    Plugin(String, String),
    /// One version of a plugin.
    Version(PluginRef),
    /// One component.
    Digest(Digest),
    /// One running call.
    Call(InvocationId),
}

/// The text selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` selects nothing: all, tenant:NAME, installation:TENANT/NAME, publisher:NAME, plugin:PUBLISHER/ID[@VERSION], \
     digest:sha256:HEX, or call:INVOCATION"
)]
pub struct NoSelection(String);

impl FromStr for Selection {
    type Err = NoSelection;

    fn from_str(text: &str) -> Result<Self, NoSelection> {
        let none = || NoSelection(text.chars().take(100).collect());
        if text == "all" {
            return Ok(Self::All);
        }
        let (kind, value) = text.split_once(':').ok_or_else(none)?;
        let slug = |value: &str| if is_slug(value) { Ok(value.to_owned()) } else { Err(none()) };
        Ok(match kind {
            "tenant" => Self::Tenant(value.parse().map_err(|_| none())?),
            "installation" => match value.split_once('/') {
                Some((tenant, name)) => Self::Installation(Some(tenant.parse().map_err(|_| none())?), name.to_owned()),
                None if value.is_empty() => return Err(none()),
                None => Self::Installation(None, value.to_owned()),
            },
            "publisher" => Self::Publisher(slug(value)?),
            "plugin" if value.contains('@') => Self::Version(value.parse().map_err(|_| none())?),
            "plugin" => {
                let (publisher, id) = value.split_once('/').ok_or_else(none)?;
                Self::Plugin(slug(publisher)?, slug(id)?)
            }
            "digest" => Self::Digest(value.parse().map_err(|_| none())?),
            "sha256" => Self::Digest(text.parse().map_err(|_| none())?),
            "call" => Self::Call(value.parse().map_err(|_| none())?),
            _ => return Err(none()),
        })
    }
}

/// What a quarantine covers and what an order to stop selects, names resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    All,
    Tenant(TenantId),
    Installation(TenantId, InstallationId),
    Publisher(String),
    Plugin(String, String),
    Digest(Digest),
}

impl Selector {
    /// The kind, as stored and written.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Tenant(_) => "tenant",
            Self::Installation(..) => "installation",
            Self::Publisher(_) => "publisher",
            Self::Plugin(..) => "plugin",
            Self::Digest(_) => "digest",
        }
    }

    /// Which one of that kind.
    pub(crate) fn value(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Tenant(tenant) => tenant.to_string(),
            Self::Installation(tenant, id) => format!("{tenant}/{id}"),
            Self::Publisher(publisher) => publisher.clone(),
            Self::Plugin(publisher, id) => format!("{publisher}/{id}"),
            Self::Digest(digest) => digest.to_string(),
        }
    }

    /// One as stored; `None` for what no host wrote.
    pub(crate) fn stored(kind: &str, value: &str) -> Option<Self> {
        let pair = || value.split_once('/');
        let selector = match kind {
            "all" => Self::All,
            "tenant" => Self::Tenant(value.parse().ok()?),
            "installation" => Self::Installation(pair()?.0.parse().ok()?, pair()?.1.parse().ok()?),
            "publisher" => Self::Publisher(value.to_owned()),
            "plugin" => Self::Plugin(pair()?.0.to_owned(), pair()?.1.to_owned()),
            "digest" => Self::Digest(value.parse().ok()?),
            _ => return None,
        };
        (selector.value() == value).then_some(selector)
    }

    /// Whether it covers everything of a plugin's bytes, whoever installed them.
    pub(crate) fn covers_plugin(&self, plugin: &PluginRef, digest: &Digest) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(_) | Self::Installation(..) => false,
            Self::Publisher(publisher) => plugin.publisher == *publisher,
            Self::Plugin(publisher, id) => plugin.publisher == *publisher && plugin.id == *id,
            Self::Digest(its) => its == digest,
        }
    }

    /// Whether it covers an installation.
    pub(crate) fn covers(&self, installation: &Installation) -> bool {
        match self {
            Self::Tenant(tenant) => installation.tenant == *tenant,
            Self::Installation(tenant, id) => installation.tenant == *tenant && installation.id == *id,
            _ => self.covers_plugin(&installation.plugin, &installation.digest),
        }
    }
}

/// As it is written.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            _ => write!(f, "{}:{}", self.kind(), self.value()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn every_kind_is_read_and_others_are_not() {
        let digest = Digest::of(b"x");
        for text in [
            "all",
            "tenant:acme",
            "installation:acme/shop",
            "installation:shop",
            "publisher:opsiq",
            "plugin:opsiq/orders",
            "plugin:opsiq/orders@0.1.0",
            &format!("digest:{digest}"),
            &digest.to_string(),
            "call:01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(text.parse::<Selection>().is_ok(), "{text}");
        }
        for text in [
            "",
            "everything",
            "tenant:",
            "tenant:A b",
            "plugin:orders",
            "digest:abc",
            "call:1",
            "installation:",
            "user:a",
        ] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_stored_reads_back_and_nothing_else() {
        for selector in [
            Selector::All,
            Selector::Tenant("acme".parse().unwrap()),
            Selector::Installation("acme".parse().unwrap(), ID.parse().unwrap()),
            Selector::Publisher("opsiq".to_owned()),
            Selector::Plugin("opsiq".to_owned(), "orders".to_owned()),
            Selector::Digest(Digest::of(b"x")),
        ] {
            assert_eq!(Selector::stored(selector.kind(), &selector.value()), Some(selector));
        }
        assert_eq!(Selector::stored("all", "x"), None);
        assert_eq!(Selector::stored("installation", "acme"), None);
    }

    #[test]
    fn each_covers_its_own() {
        let plugin: PluginRef = "opsiq/orders@0.1.0".parse().unwrap();
        let digest = Digest::of(b"x");
        let covers = |selector: Selector| selector.covers_plugin(&plugin, &digest);
        assert!(covers(Selector::All) && covers(Selector::Publisher("opsiq".to_owned())));
        assert!(covers(Selector::Plugin("opsiq".to_owned(), "orders".to_owned())) && covers(Selector::Digest(digest)));
        assert!(!covers(Selector::Publisher("other".to_owned())) && !covers(Selector::Digest(Digest::of(b"y"))));
        assert!(!covers(Selector::Plugin("other".to_owned(), "orders".to_owned())));
        assert!(!covers(Selector::Tenant("acme".parse().unwrap())));
    }
}
