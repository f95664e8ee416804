//! What `[server]` says of certificates that an authority issues by itself.

use std::path::PathBuf;

use rustls::pki_types::DnsName;
use url::Url;

use super::Values;
use super::keys::{Form, Key};

/// An authority that issues this host's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeSettings {
    /// Its directory (RFC 8555 section 7.1.1).
    pub directory: String,
    /// Whom it writes to: `mailto:ADDRESS`.
    pub contact: String,
    /// The root that its own certificate comes from, PEM, when that is none of the web's.
    pub root: Option<PathBuf>,
}

const DIRECTORY: &str = "acme-directory";
const CONTACT: &str = "acme-contact";
const TERMS: &str = "acme-accept-terms";
const ROOT: &str = "acme-root";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: DIRECTORY,
        form: Form::Acme,
        default: "",
        doc: "The directory of an ACME authority that issues the certificate for tls-names, such as https://acme-v02.api.letsencrypt.org/directory. It must reach `listen` on port 443 of each name.",
    },
    Key { name: CONTACT, form: Form::Acme, default: "", doc: "Whom the authority writes to: a mail address." },
    Key {
        name: TERMS,
        form: Form::Flag,
        default: "false",
        doc: "`true` says that you accept the authority's terms of service. Nothing is asked of it before.",
    },
    Key {
        name: ROOT,
        form: Form::Path,
        default: "",
        doc: "The root certificate, PEM, that the authority's own server is trusted by, instead of the web's roots.",
    },
];

impl Values<'_> {
    /// The authority, if there is one. `files` is whether certificates come from files.
    pub(super) fn acme(&mut self, files: bool) -> Option<AcmeSettings> {
        let root = self.path(ROOT);
        let accepted = match self.text(TERMS) {
            "true" => true,
            "false" => false,
            _ => {
                self.wrong(TERMS, "must be true or false");
                return None;
            }
        };
        let (directory, contact) = (self.text(DIRECTORY).to_owned(), self.text(CONTACT).to_owned());
        if directory.is_empty() {
            for (name, said) in [(CONTACT, !contact.is_empty()), (TERMS, accepted), (ROOT, root.is_some())] {
                if said {
                    self.wrong(name, "says nothing without acme-directory");
                }
            }
            return None;
        }
        let https = |url: &Url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
        if !Url::parse(&directory).is_ok_and(|url| https(&url)) {
            self.wrong(DIRECTORY, "must be the https URL of a directory, without a user or password");
        }
        if files {
            self.wrong(DIRECTORY, "a certificate comes from files or from an authority: leave out tls-certificate");
        }
        if !accepted {
            self.wrong(TERMS, "must be true: read the terms that the directory names, and accept them");
        }
        let mail = contact.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty());
        if !mail || !contact.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'?') {
            self.wrong(CONTACT, "must be one mail address, such as ops@example.com");
        }
        // What TLS-ALPN-01 proves is a name, and one at a time (RFC 8737 section 3).
        let names = self.text("tls-names").split([' ', ',']).filter(|name| !name.is_empty());
        if names.clone().any(|name| name.parse::<std::net::IpAddr>().is_ok() || DnsName::try_from(name).is_err()) {
            self.wrong("tls-names", "an ACME authority issues for host names alone, without `*`: name those");
        }
        Some(AcmeSettings { directory, contact: format!("mailto:{contact}"), root })
    }
}
