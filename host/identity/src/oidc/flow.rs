//! One attempt to sign in, from the leave to the return of the browser.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opsiq_vault::fresh;
use serde::{Deserialize, Serialize};
use url::Url;

use super::metadata::Metadata;

/// Random bytes of each value.
const RANDOM: usize = 32;

/// What an attempt is told by. To be kept from everybody but the browser that began it, and there only sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Flow {
    /// Comes back with the browser: that the answer is to this question (RFC 6749 section 10.12).
    pub state: String,
    /// Comes back in the token: that it was made for this attempt (Core section 15.5.2).
    pub nonce: String,
    /// Only its hash leaves before the code comes back: that a code is redeemed by who asked for it (RFC 7636).
    pub(super) verifier: String,
}

/// Does not show it.
impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flow([sealed])")
    }
}

/// What the provider is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// As whom.
    pub client_id: &'a str,
    /// Where the browser comes back.
    pub redirect_uri: &'a str,
    /// What is asked for beside `openid`.
    pub scopes: &'a [String],
    /// Whether the person is to sign in there anew, whatever the provider remembers.
    pub anew: bool,
}

impl Flow {
    /// A new one.
    pub fn begin() -> Self {
        Self { state: random(), nonce: random(), verifier: random() }
    }

    /// Where the browser is sent.
    pub fn leave(&self, metadata: &Metadata, asking: &Asking<'_>) -> Url {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()));
        let mut url = metadata.authorization_endpoint.clone();
        let mut scope = "openid".to_owned();
        for more in asking.scopes {
            scope.push(' ');
            scope.push_str(more);
        }
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", asking.client_id)
            .append_pair("redirect_uri", asking.redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", &self.state)
            .append_pair("nonce", &self.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if asking.anew {
            // The second asks for the time at which it was done (Core section 3.1.2.1).
            query.append_pair("prompt", "login").append_pair("max_age", "0");
        }
        drop(query);
        url
    }
}

fn random() -> String {
    let mut bytes = [0; RANDOM];
    fresh(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
