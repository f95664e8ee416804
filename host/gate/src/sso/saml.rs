//! What a provider of SAML says of itself: read when an owner says so, and kept as it was then. A key that a provider changes counts when an
//! owner has looked at it.

use opsiq_identity::SsoFault;
use opsiq_identity::oidc::{Fetch, FetchRequest};
use opsiq_identity::saml::{IdpMetadata, NameIdFormat};

use super::said::Way;
use super::settings::SamlSettings;
use crate::core::now_ms;

/// Where what a provider says of itself is from.
#[derive(Debug, Clone)]
pub enum SamlFrom {
    /// Its metadata, an XML document of one entity.
    Metadata(String),
    /// Where its metadata is, asked by the host's guarded way out.
    Url(String),
    /// Its three parts, the last as PEM or as DER in base64.
    Stated {
        /// Who it is.
        entity_id: String,
        /// Where it takes requests by redirect.
        sso_url: String,
        /// By which it is believed.
        certificates: Vec<String>,
    },
}

/// Reads it.
pub(super) async fn read(way: &Way, from: SamlFrom) -> Result<SamlSettings, SsoFault> {
    let (said, metadata_url) = match from {
        SamlFrom::Metadata(document) => (IdpMetadata::read(&document, now_ms() / 1000)?, None),
        SamlFrom::Url(url) => (fetched(way, &url).await?, Some(url)),
        SamlFrom::Stated { entity_id, sso_url, certificates } => {
            (IdpMetadata::stated(&entity_id, &sso_url, &certificates)?, None)
        }
    };
    let certificates = said.certificates.iter().map(|certificate| certificate.base64()).collect();
    let IdpMetadata { entity_id, sso_url, .. } = said;
    Ok(SamlSettings { entity_id, sso_url, certificates, metadata_url, name_id: NameIdFormat::default(), email: None })
}

async fn fetched(way: &Way, url: &str) -> Result<IdpMetadata, SsoFault> {
    let headers = vec![("accept".to_owned(), "application/samlmetadata+xml, application/xml, text/xml".to_owned())];
    let fetched = way.fetch(FetchRequest { url: url.to_owned(), headers, body: None }).await;
    let fetched = fetched.map_err(|why| SsoFault::new("sso.unreachable", format!("the provider's metadata: {why}")))?;
    if fetched.status != 200 {
        let message = format!("the provider's metadata is answered with status {}", fetched.status);
        return Err(SsoFault::new("sso.metadata", message));
    }
    let document = String::from_utf8(fetched.body)
        .map_err(|_| SsoFault::new("sso.metadata", "the provider's metadata is not in UTF-8"))?;
    IdpMetadata::read(&document, now_ms() / 1000)
}

/// Who the provider says it is, where it can be asked, and says what it said when it was set.
pub(super) async fn checked(way: &Way, saml: &SamlSettings) -> Result<String, SsoFault> {
    let Some(url) = &saml.metadata_url else {
        let message = "the provider was set up without an address of its metadata, so there is nothing to ask: its next sign-in tells";
        return Err(SsoFault::new("sso.metadata", message));
    };
    let said = fetched(way, url).await?;
    let certificates: Vec<_> = said.certificates.iter().map(|certificate| certificate.base64()).collect();
    if (&said.entity_id, &said.sso_url, &certificates) != (&saml.entity_id, &saml.sso_url, &saml.certificates) {
        let message =
            "the provider's metadata is not what it was when it was set up: look at it, and set it up with it";
        return Err(SsoFault::new("sso.metadata", message));
    }
    Ok(said.entity_id)
}
