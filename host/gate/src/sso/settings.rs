//! What an owner says of a provider. All of it is enforced at every sign-in.

use std::borrow::Cow;
use std::collections::BTreeSet;

use opsiq_identity::Believed;
use opsiq_identity::oidc::Metadata;
use opsiq_identity::saml::{Certificate, IdpMetadata, NameIdFormat};
use serde::{Deserialize, Serialize};

use crate::refusal::{Class, Refusal, Stage};

/// Domains, scopes or values, at most.
const MOST: usize = 100;
/// Characters of one, at most.
const LONGEST: usize = 200;

/// The role of whoever has a value in the claim that says roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRole {
    /// The value, exactly.
    pub value: String,
    /// A built-in role, or a custom one of the tenant.
    pub role: String,
}

/// A provider that speaks `OpenID` Connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OidcSettings {
    /// Who it is, exactly as its tokens say.
    pub issuer: String,
    /// What it calls this host.
    pub client_id: String,
    /// What it is asked for beside `openid`.
    pub scopes: Vec<String>,
}

/// A provider that speaks SAML 2.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamlSettings {
    /// Who it is, exactly as its assertions say.
    pub entity_id: String,
    /// Where it takes requests by redirect.
    pub sso_url: String,
    /// The certificates by which its signatures are believed, and no others: DER in base64.
    pub certificates: Vec<String>,
    /// Where it says these three things, if they came from there. It is asked again only when an owner checks or sets the provider.
    pub metadata_url: Option<String>,
    /// What it names its people by.
    pub name_id: NameIdFormat,
    /// The attribute that is somebody's e-mail address; by default those by which it is known.
    pub email: Option<String>,
}

/// How a provider is spoken to. Told apart by what each must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SsoProtocol {
    /// `OpenID` Connect.
    Oidc(OidcSettings),
    /// SAML 2.0.
    Saml(SamlSettings),
}

impl From<OidcSettings> for SsoProtocol {
    fn from(settings: OidcSettings) -> Self {
        Self::Oidc(settings)
    }
}

impl SsoProtocol {
    /// Its short name.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Oidc(_) => "oidc",
            Self::Saml(_) => "saml",
        }
    }

    /// Who says whom an identity is: what an identity is found by, together with its subject. The same text is two issuers where it is
    /// said in two ways.
    pub(crate) fn issuer(&self) -> Cow<'_, str> {
        match self {
            Self::Oidc(oidc) => Cow::Borrowed(&oidc.issuer),
            Self::Saml(saml) => Cow::Owned(format!("saml {}", saml.entity_id)),
        }
    }

    fn fault(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Oidc(oidc) => oidc.fault().map(Cow::Borrowed),
            Self::Saml(saml) => saml.fault(),
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Oidc(oidc) => format!("issuer {}, client {}", oidc.issuer, oidc.client_id),
            Self::Saml(saml) => format!(
                "saml entity {}, at {}, names {}, certificates [{}]",
                saml.entity_id,
                saml.sso_url,
                saml.name_id.word(),
                saml.fingerprints().join(" "),
            ),
        }
    }
}

impl OidcSettings {
    fn fault(&self) -> Option<&'static str> {
        let scope =
            |scope: &String| scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) && scope != "openid";
        if Metadata::address(&self.issuer).is_err() {
            return Some("an issuer is an https URL without query and fragment, as the provider shows it");
        }
        if self.scopes.len() > MOST || self.scopes.iter().chain([&self.client_id]).any(|text| is_odd(text)) {
            return Some(ODD);
        }
        (!self.scopes.iter().all(scope))
            .then_some("a scope is visible ASCII without spaces; `openid` is asked for anyway")
    }
}

impl SamlSettings {
    fn fault(&self) -> Option<Cow<'static, str>> {
        if self.email.as_deref().is_some_and(is_odd) || self.metadata_url.as_ref().is_some_and(|url| url.len() > 2048) {
            return Some(Cow::Borrowed(ODD));
        }
        IdpMetadata::stated(&self.entity_id, &self.sso_url, &self.certificates).err().map(|fault| fault.message)
    }

    /// SHA-256 of each certificate, in hexadecimal with colons.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates
            .iter()
            .filter_map(|text| Certificate::read(text).ok())
            .map(|read| read.fingerprint())
            .collect()
    }
}

/// A text that nobody means.
fn is_odd(text: &str) -> bool {
    text.is_empty() || text.len() > LONGEST
}

const ODD: &str = "a text is empty or too long, or a list has too many of them";

/// A provider, and what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SsoSettings {
    /// How it is spoken to.
    #[serde(flatten)]
    pub protocol: SsoProtocol,
    /// Domains of e-mail addresses whose people may sign in: the provider must vouch for an address in one of them. Empty for all
    /// whom the provider knows.
    pub domains: BTreeSet<String>,
    /// The claim or attribute that says roles: its name, or a JSON Pointer into the claims.
    pub claim: Option<String>,
    /// Roles by its values; the first that is there counts.
    pub roles: Vec<ClaimRole>,
    /// The role of who has none of these; without it, who has none of these does not get in.
    pub default_role: Option<String>,
    /// Whether who has no account yet gets one. Its role is the provider's to say, then and at every later sign-in.
    pub make_accounts: bool,
    /// Whether passwords open nothing in this tenant but the accounts of owners, who come back in by them.
    pub enforced: bool,
    /// Whether the provider asks everybody for a second factor, as the owner states. Without it, a sign-in counts for one factor, unless
    /// the provider says of it that it was several (`amr` has `mfa`; in SAML, the profile of REFEDS or Microsoft's method).
    pub second_factor: bool,
}

impl SsoSettings {
    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let fault = self.fault();
        fault.map_or(Ok(()), |fault| {
            Err(Refusal::new(Class::Invalid, Stage::Admin, "sso.settings", fault, "see opsiq sso set --help"))
        })
    }

    fn fault(&self) -> Option<Cow<'static, str>> {
        self.protocol.fault().or_else(|| self.fault_of_people().map(Cow::Borrowed))
    }

    fn fault_of_people(&self) -> Option<&'static str> {
        let texts = self.domains.iter().chain(&self.claim).chain(&self.default_role);
        let mut texts = texts.chain(self.roles.iter().flat_map(|mapped| [&mapped.value, &mapped.role]));
        let domain = |domain: &String| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            domain.contains('.') && domain.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
        };
        if [self.domains.len(), self.roles.len()].iter().any(|count| *count > MOST) || texts.any(|text| is_odd(text)) {
            return Some(ODD);
        }
        if !self.domains.iter().all(domain) {
            return Some("a domain is written in lower case and without @, such as example.com");
        }
        if self.claim.is_some() == self.roles.is_empty() {
            return Some("a claim says roles by its values: name both, or neither");
        }
        let pointer = self.claim.as_ref().is_some_and(|claim| claim.starts_with('/'));
        if pointer && matches!(self.protocol, SsoProtocol::Saml(_)) {
            return Some("an attribute of SAML is named as it is; a JSON Pointer leads nowhere in it");
        }
        if self.make_accounts && self.roles.is_empty() && self.default_role.is_none() {
            return Some("who gets an account gets a role: name a default role, or a claim that says one");
        }
        if self.make_accounts && self.domains.is_empty() && (self.roles.is_empty() || self.default_role.is_some()) {
            return Some(
                "everybody whom the provider knows would get an account: name domains, or a claim without a default role",
            );
        }
        None
    }

    /// Roles that it names.
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|mapped| mapped.role.as_str()).chain(self.default_role.as_deref())
    }

    /// Whether the provider must be asked for more than a token says.
    pub(crate) fn wants_more(&self, believed: &Believed) -> bool {
        let address = (self.make_accounts || !self.domains.is_empty()) && !believed.says("email");
        address || self.claim.as_ref().is_some_and(|claim| !believed.says(claim))
    }

    /// Whether one with this address may sign in.
    pub(crate) fn takes(&self, email: Option<&str>) -> bool {
        let domain = email.and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
        self.domains.is_empty() || domain.is_some_and(|domain| self.domains.contains(domain))
    }

    /// The role that the provider says somebody has, if any.
    pub(crate) fn role_of(&self, believed: &Believed) -> Option<&str> {
        let values = self.claim.as_ref().map(|claim| believed.values(claim)).unwrap_or_default();
        let mapped = self.roles.iter().find(|mapped| values.contains(&mapped.value.as_str()));
        mapped.map(|mapped| mapped.role.as_str()).or(self.default_role.as_deref())
    }

    /// For the log.
    pub(super) fn told(&self) -> String {
        let list = |all: &mut dyn Iterator<Item = &str>| all.collect::<Vec<_>>().join(" ");
        format!(
            "{}, domains [{}], claim {}, roles [{}], default {}, makes accounts {}, enforced {}, second factor {}",
            self.protocol.told(),
            list(&mut self.domains.iter().map(String::as_str)),
            self.claim.as_deref().unwrap_or("none"),
            self.roles.iter().map(|mapped| format!("{}={}", mapped.value, mapped.role)).collect::<Vec<_>>().join(" "),
            self.default_role.as_deref().unwrap_or("none"),
            self.make_accounts,
            self.enforced,
            self.second_factor,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oidc() -> OidcSettings {
        OidcSettings {
            issuer: "https://id.example.com".to_owned(),
            client_id: "opsiq".to_owned(),
            scopes: vec!["email".to_owned()],
        }
    }

    fn settings() -> SsoSettings {
        SsoSettings {
            protocol: SsoProtocol::Oidc(oidc()),
            domains: ["example.com".to_owned()].into(),
            claim: None,
            roles: Vec::new(),
            default_role: Some("support".to_owned()),
            make_accounts: true,
            enforced: false,
            second_factor: false,
        }
    }

    #[test]
    fn what_would_let_everybody_in_is_refused() {
        let faulty = |change: &dyn Fn(&mut SsoSettings)| {
            let mut changed = settings();
            change(&mut changed);
            changed.fault().is_some()
        };
        let mapped = ClaimRole { value: "ops".to_owned(), role: "admin".to_owned() };
        let map = |settings: &mut SsoSettings| {
            (settings.claim, settings.roles) = (Some("groups".to_owned()), vec![mapped.clone()]);
        };
        assert!(!faulty(&|_| {}) && !faulty(&map));
        assert!(faulty(&|settings| settings.domains.clear()), "the whole world");
        assert!(faulty(&|settings| (map(settings), settings.domains.clear()).0), "the same, by the default role");
        assert!(!faulty(&|settings| (map(settings), settings.domains.clear(), settings.default_role = None).0));
        assert!(faulty(&|settings| settings.default_role = None), "an account without a role");
        assert!(faulty(&|settings| settings.claim = Some("groups".to_owned())));
        assert!(faulty(&|settings| settings.roles.push(mapped.clone())));
        for issuer in
            ["", "id.example.com", "ftp://id.example.com", "https://id.example.com?x", "https://u@id.example.com"]
        {
            let changed = OidcSettings { issuer: issuer.to_owned(), ..oidc() };
            assert!(faulty(&|settings| settings.protocol = changed.clone().into()), "{issuer}");
        }
        for domain in ["", "Example.com", "@example.com", "example", "example..com"] {
            assert!(faulty(&|settings| settings.domains = [domain.to_owned()].into()), "{domain}");
        }
        let asked = OidcSettings { scopes: vec!["openid".to_owned()], ..oidc() };
        assert!(faulty(&|settings| settings.protocol = asked.clone().into()));
    }

    #[test]
    fn an_address_counts_by_its_whole_domain() {
        let settings = settings();
        assert!(settings.takes(Some("eve@example.com")));
        for other in [None, Some("eve@evil.example.com"), Some("eve@example.com.evil"), Some("example.com"), Some("@")]
        {
            assert!(!settings.takes(other), "{other:?}");
        }
    }
}
