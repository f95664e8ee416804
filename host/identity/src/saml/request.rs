//! What a provider is asked, and what it is told of this host.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};
use url::Url;

use super::ns;
use super::xml::escaped;

const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

/// What a provider names its people by. It is asked for that, and any other is refused: two ways of naming could give two people one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameIdFormat {
    /// A name made for this host, that no other person ever gets.
    #[default]
    Persistent,
    /// An e-mail address. The provider must not give one person's to another.
    Email,
    /// A name of the provider's own, such as a number of staff. The provider must not give one person's to another.
    Unspecified,
}

impl NameIdFormat {
    /// By its identifier (core section 8.3).
    pub(super) const fn uri(self) -> &'static str {
        match self {
            Self::Persistent => "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
            Self::Email => "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
            Self::Unspecified => "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        }
    }

    /// Its short name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Email => "email",
            Self::Unspecified => "unspecified",
        }
    }
}

/// A question to a provider.
#[derive(Debug, Clone, Copy)]
pub struct SamlAsking<'a> {
    /// Where it takes requests by redirect.
    pub sso_url: &'a str,
    /// As whom.
    pub sp: &'a str,
    /// Where the browser comes back.
    pub acs: &'a str,
    /// What the answer must name: an `NCName`.
    pub request: &'a str,
    /// What people are named by.
    pub name_id: NameIdFormat,
    /// Whether the person is to sign in there anew, whatever the provider remembers.
    pub anew: bool,
    /// Now, in seconds since 1970.
    pub now_s: i64,
}

impl SamlAsking<'_> {
    /// Where the browser is sent (bindings section 3.4.4.1). `None` where the provider's address is none, or there is no such time.
    pub fn url(&self) -> Option<String> {
        let mut url = Url::parse(self.sso_url).ok()?;
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(self.document()?.as_bytes()).ok()?;
        let request = STANDARD.encode(deflated.finish().ok()?);
        url.query_pairs_mut().append_pair("SAMLRequest", &request);
        Some(url.into())
    }

    fn document(&self) -> Option<String> {
        let at = jiff::Timestamp::from_second(self.now_s).ok()?;
        let anew = if self.anew { " ForceAuthn=\"true\"" } else { "" };
        let [id, to, acs, sp] = [self.request, self.sso_url, self.acs, self.sp].map(escaped);
        Some(format!(
            "<samlp:AuthnRequest xmlns:samlp=\"{}\" xmlns:saml=\"{}\" ID=\"{id}\" Version=\"2.0\" IssueInstant=\"{at}\" \
             Destination=\"{to}\" AssertionConsumerServiceURL=\"{acs}\" ProtocolBinding=\"{POST}\"{anew}>\
             <saml:Issuer>{sp}</saml:Issuer><samlp:NameIDPolicy Format=\"{}\" AllowCreate=\"true\"/></samlp:AuthnRequest>",
            ns::PROTOCOL,
            ns::ASSERTION,
            self.name_id.uri(),
        ))
    }
}

/// What a provider needs to know of this host: `sp` is its entity id, `acs` where responses are sent.
pub fn sp_metadata(sp: &str, acs: &str) -> String {
    let [sp, acs] = [sp, acs].map(escaped);
    let formats: String = [NameIdFormat::Persistent, NameIdFormat::Email, NameIdFormat::Unspecified]
        .map(|format| format!("<md:NameIDFormat>{}</md:NameIDFormat>", format.uri()))
        .concat();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<md:EntityDescriptor xmlns:md=\"{}\" entityID=\"{sp}\">\
         <md:SPSSODescriptor AuthnRequestsSigned=\"false\" WantAssertionsSigned=\"true\" \
         protocolSupportEnumeration=\"{}\">{formats}\
         <md:AssertionConsumerService Binding=\"{POST}\" Location=\"{acs}\" index=\"0\" isDefault=\"true\"/>\
         </md:SPSSODescriptor></md:EntityDescriptor>\n",
        ns::METADATA,
        ns::PROTOCOL,
    )
}
