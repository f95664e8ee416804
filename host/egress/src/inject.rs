//! Credentials put into a request by the host, after everything about it was decided.

use http::header::{HeaderName, HeaderValue};
use opsiq_contract::{Denial, Inject, InjectPart};
use opsiq_vault::{SECRET_MIN, Secret};

/// Opens the tenant's keys for injection. One is made per invocation, by whoever knows the installation.
pub trait Injector: Send + Sync {
    /// The newest live version of the key of this name, `None` when there is none. Asked only for keys that the chosen
    /// rule injects, after the destination was checked and connected to.
    fn secret(&self, key_name: &str) -> Option<Secret>;
}

/// There are none.
pub(crate) struct NoKeys;

impl Injector for NoKeys {
    fn secret(&self, _: &str) -> Option<Secret> {
        None
    }
}

/// A filled header, and the secrets in it, to be looked for in what comes back.
pub(crate) struct Injected {
    pub(crate) header: (HeaderName, HeaderValue),
    pub(crate) secrets: Vec<Secret>,
}

/// Fills the template of a rule.
///
/// # Errors
/// A denial when a key is missing, cannot stand in a header, or is too short to be found in what comes back.
pub(crate) fn fill(inject: &Inject, injector: &dyn Injector) -> Result<Injected, Denial> {
    let mut value = Vec::with_capacity(256);
    let mut secrets = Vec::new();
    for part in inject.value.parts() {
        match part {
            InjectPart::Text(text) => value.extend_from_slice(text.as_bytes()),
            InjectPart::Key(name) => {
                let secret = injector.secret(name).ok_or_else(|| {
                    Denial::new(
                        "http.key-missing",
                        format!("the key `{name}` that this rule injects has no live version"),
                        format!("set it: opsiq key set … {name}"),
                    )
                })?;
                if secret.expose().len() < SECRET_MIN {
                    return Err(Denial::new(
                        "http.key-unusable",
                        format!("the key `{name}` has fewer than {SECRET_MIN} bytes"),
                        "set a longer one",
                    ));
                }
                value.extend_from_slice(secret.expose());
                secrets.push(secret);
            }
        }
    }
    // Wiped on drop; the copy within the header value is freed with the connection.
    let value = Secret::from(value);
    let unusable = || {
        Denial::new(
            "http.key-unusable",
            format!("the keys for the header `{}` hold bytes that a header cannot carry", inject.header),
            "set the key again as visible ASCII without line breaks",
        )
    };
    let name = HeaderName::from_bytes(inject.header.as_bytes()).map_err(|_| unusable())?;
    let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_| unusable())?;
    // Kept out of Debug output and out of HPACK's tables (RFC 7541 section 7.1.3).
    value.set_sensitive(true);
    Ok(Injected { header: (name, value), secrets })
}
