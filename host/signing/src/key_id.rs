//! Whose key signed.

use std::fmt;
use std::str::FromStr;

use opsiq_contract::{TenantId, is_slug};

use crate::error::Refused;

/// Names one version of one client's secret: `tenant/client/version`, as in `acme/till/3`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    /// The tenant.
    pub tenant: TenantId,
    /// The client's name: a slug.
    pub client: String,
    /// Which of its secrets, from 1.
    pub version: u64,
}

impl FromStr for KeyId {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        const FORM: Refused = Refused::Form("keyid must be TENANT/CLIENT/VERSION");
        let mut parts = text.split('/');
        let (Some(tenant), Some(client), Some(digits), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM);
        };
        let version: u64 = digits.parse().map_err(|_| FORM)?;
        // One spelling each: no sign, no leading zero.
        if version == 0 || version.to_string() != digits || !is_slug(client) {
            return Err(FORM);
        }
        Ok(Self { tenant: tenant.parse().map_err(|_| FORM)?, client: client.to_owned(), version })
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.client, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        let id: KeyId = "acme/till/12".parse().unwrap();
        assert_eq!((id.tenant.as_ref(), id.client.as_str(), id.version), ("acme", "till", 12));
        assert_eq!(id.to_string(), "acme/till/12");
        for bad in [
            "",
            "acme",
            "acme/till",
            "acme/till/0",
            "acme/till/01",
            "acme/till/+1",
            "acme/till/1/",
            "acme/till/1/2",
            "/till/1",
            "acme//1",
            "Acme/till/1",
            "acme/Till/1",
            "acme/till/-1",
            "acme/till/99999999999999999999",
            " acme/till/1",
        ] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }
}
