//! What an owner says of a provider. All of it is enforced at every sign-in.

use std::collections::BTreeSet;

use opsiq_identity::oidc::{Believed, Metadata};
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

/// A provider that speaks `OpenID` Connect, and what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SsoSettings {
    /// Who it is, exactly as its tokens say.
    pub issuer: String,
    /// What it calls this host.
    pub client_id: String,
    /// What it is asked for beside `openid`.
    pub scopes: Vec<String>,
    /// Domains of e-mail addresses whose people may sign in: the provider must vouch for an address in one of them. Empty for all
    /// whom the provider knows.
    pub domains: BTreeSet<String>,
    /// The claim that says roles: its name, or a JSON Pointer into the claims.
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
    /// the provider says of it that it was several (`amr` has `mfa`).
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

    fn fault(&self) -> Option<&'static str> {
        let texts = self.scopes.iter().chain(&self.domains).chain(&self.claim).chain(&self.default_role);
        let texts =
            texts.chain(self.roles.iter().flat_map(|mapped| [&mapped.value, &mapped.role])).chain([&self.client_id]);
        let scope =
            |scope: &String| scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) && scope != "openid";
        let domain = |domain: &String| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            domain.contains('.') && domain.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
        };
        if Metadata::address(&self.issuer).is_err() {
            return Some("an issuer is an https URL without query and fragment, as the provider shows it");
        }
        if [self.scopes.len(), self.domains.len(), self.roles.len()].iter().any(|count| *count > MOST)
            || texts.into_iter().any(|text| text.is_empty() || text.len() > LONGEST)
        {
            return Some("a text is empty or too long, or a list has too many of them");
        }
        if !self.scopes.iter().all(scope) {
            return Some("a scope is visible ASCII without spaces; `openid` is asked for anyway");
        }
        if !self.domains.iter().all(domain) {
            return Some("a domain is written in lower case and without @, such as example.com");
        }
        if self.claim.is_some() == self.roles.is_empty() {
            return Some("a claim says roles by its values: name both, or neither");
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

    /// Whether the provider must be asked for more than the token says.
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
            "issuer {}, client {}, domains [{}], claim {}, roles [{}], default {}, makes accounts {}, enforced {}, second factor {}",
            self.issuer,
            self.client_id,
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

    fn settings() -> SsoSettings {
        SsoSettings {
            issuer: "https://id.example.com".to_owned(),
            client_id: "opsiq".to_owned(),
            scopes: vec!["email".to_owned()],
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
            assert!(faulty(&|settings| settings.issuer = issuer.to_owned()), "{issuer}");
        }
        for domain in ["", "Example.com", "@example.com", "example", "example..com"] {
            assert!(faulty(&|settings| settings.domains = [domain.to_owned()].into()), "{domain}");
        }
        assert!(faulty(&|settings| settings.scopes.push("openid".to_owned())));
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
