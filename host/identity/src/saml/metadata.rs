//! What a provider says of itself (SAML metadata section 2), as an owner shows it or has it fetched.
//!
//! Its own signature is passed over: nothing here could say by whose key it should be. Who vouches for it is the owner who shows it, or
//! TLS to the address the owner named.

use url::Url;

use super::certificate::Certificate;
use super::ns;
use super::response::instant;
use super::xml::{Kind, attribute, children, is, parse, text};
use crate::sso_fault::{SsoFault, refuse};

const RULE: &str = "sso.metadata";
const REDIRECT: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
/// Characters of an entity id or an address, at most (core section 8.3.6).
const LONGEST: usize = 1024;
/// Certificates of a provider, at most.
pub(super) const MOST: usize = 10;

/// A provider, as far as it is asked for anything or believed.
#[derive(Debug, Clone)]
pub struct IdpMetadata {
    /// Who it is, exactly as its assertions say.
    pub entity_id: String,
    /// Where it takes requests by redirect.
    pub sso_url: String,
    /// By which it is believed.
    pub certificates: Vec<Certificate>,
}

impl IdpMetadata {
    /// From the three things there are to say, `certificates` as PEM or DER in base64.
    ///
    /// # Errors
    /// `sso.metadata` for an entity id or an address that is none, or no certificate or too many; `sso.certificate`.
    pub fn stated(entity_id: &str, sso_url: &str, certificates: &[String]) -> Result<Self, SsoFault> {
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= LONGEST && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
        };
        if !plain(entity_id) {
            return refuse(RULE, "an entity id is a URI, as the provider shows it");
        }
        let url = Url::parse(sso_url).ok().filter(|url| {
            let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
            url.scheme() == "https" && bare && plain(sso_url)
        });
        if url.is_none() {
            return refuse(RULE, "where people sign in is an https URL, as the provider shows it");
        }
        if certificates.is_empty() || certificates.len() > MOST {
            return refuse(RULE, "a provider has one to ten certificates that it signs with");
        }
        let certificates = certificates.iter().map(|text| Certificate::read(text)).collect::<Result<_, _>>()?;
        Ok(Self { entity_id: entity_id.to_owned(), sso_url: sso_url.to_owned(), certificates })
    }

    /// From a document of one entity, at `now_s`, in seconds since 1970.
    ///
    /// # Errors
    /// `sso.xml`; `sso.metadata` for what is not about one provider of SAML 2.0 that takes requests by redirect; `sso.certificate`.
    pub fn read(document: &str, now_s: i64) -> Result<Self, SsoFault> {
        let document = parse(document, Kind::Metadata)?;
        let entity = document.root_element();
        if !is(entity, ns::METADATA, "EntityDescriptor") {
            return refuse(RULE, "metadata is of one entity: an EntityDescriptor");
        }
        let mut found = children(entity, ns::METADATA, "IDPSSODescriptor").filter(|idp| {
            let protocols = attribute(*idp, "protocolSupportEnumeration").unwrap_or_default();
            protocols.split_ascii_whitespace().any(|protocol| protocol == ns::PROTOCOL)
        });
        let (Some(idp), None) = (found.next(), found.next()) else {
            return refuse(RULE, "the metadata is not of one provider of identities that speaks SAML 2.0");
        };
        for part in [entity, idp] {
            let Some(until) = attribute(part, "validUntil") else { continue };
            if instant(until).is_none_or(|until| until <= now_s) {
                return refuse(RULE, "the metadata is not good any more, by its own word");
            }
        }
        let service = children(idp, ns::METADATA, "SingleSignOnService")
            .find(|service| attribute(*service, "Binding") == Some(REDIRECT));
        let Some(sso_url) = service.and_then(|service| attribute(service, "Location")) else {
            return refuse(RULE, "the provider takes no requests by redirect (HTTP-Redirect)");
        };
        let mut certificates: Vec<String> = Vec::new();
        for key in children(idp, ns::METADATA, "KeyDescriptor") {
            if attribute(key, "use").is_some_and(|usage| usage != "signing") {
                continue;
            }
            for data in key.descendants().filter(|data| is(*data, ns::SIGNATURE, "X509Data")) {
                // Of a chain the first is the one whose key it is.
                let first = children(data, ns::SIGNATURE, "X509Certificate").next().and_then(text);
                certificates.extend(first.map(|text| text.split_ascii_whitespace().collect()));
            }
        }
        certificates.sort();
        certificates.dedup();
        Self::stated(attribute(entity, "entityID").unwrap_or_default(), sso_url, &certificates)
    }
}
