//! Who may call: the Standard Webhooks signature over the raw body, checked by the scheme's reference library.
//!
//! The scheme signs `webhook-id`, `webhook-timestamp` and the body, and refuses a timestamp more than five minutes
//! off. It does not sign the path, so serve it over TLS anywhere but on loopback.

use http::HeaderMap;
use standardwebhooks::Webhook;

/// The secrets that count at the moment.
pub(crate) struct Signatures(Vec<Webhook>);

impl Signatures {
    /// Reads one secret, or several separated by white space.
    pub(crate) fn new(secrets: &str) -> Result<Self, String> {
        let read: Vec<_> = secrets
            .split_whitespace()
            .map(|secret| {
                // Shorter than 24 bytes is less than the scheme's specification allows.
                match Webhook::new(secret) {
                    Ok(webhook) if secret.starts_with("whsec_") && secret.len() >= "whsec_".len() + 32 => Ok(webhook),
                    _ => Err("a secret is `whsec_` and the base64 of at least 24 bytes".to_owned()),
                }
            })
            .collect::<Result<_, _>>()?;
        if read.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        Ok(Self(read))
    }

    /// Whether one of the secrets signed this body, lately; otherwise why the last one says no.
    pub(crate) fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
        let mut refusal = String::new();
        for webhook in &self.0 {
            match webhook.verify(body, headers) {
                Ok(()) => return Ok(()),
                Err(error) => refusal = error.to_string(),
            }
        }
        Err(refusal)
    }
}
