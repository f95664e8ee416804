//! What a browser says about a ceremony (Web Authentication section 5.8.1), which the authenticator signs together with its own word.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::fault::{PasskeyFault, fault, malformed};
use super::party::{Challenge, Party};

/// Which ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ceremony {
    Create,
    Get,
}

/// Browsers may add members (section 5.8.1.2); those that are known are there once.
#[derive(Deserialize)]
struct Said {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: Option<bool>,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<Value>,
}

/// Checks that it is about this ceremony, with this challenge, on a page of this host that stands in no other's frame.
pub(super) fn check(said: &[u8], ceremony: Ceremony, challenge: &Challenge, party: &Party) -> Result<(), PasskeyFault> {
    let said: Said =
        serde_json::from_slice(said).map_err(|_| malformed("what the browser says about it is no JSON"))?;
    let expected = match ceremony {
        Ceremony::Create => "webauthn.create",
        Ceremony::Get => "webauthn.get",
    };
    if said.r#type != expected {
        return Err(fault("passkey.type", "it is an answer to something else"));
    }
    let shown = URL_SAFE_NO_PAD.decode(&said.challenge).unwrap_or_default();
    if !bool::from(shown.as_slice().ct_eq(challenge.bytes())) {
        return Err(fault("passkey.challenge", "it answers another challenge"));
    }
    if said.origin != party.origin {
        return Err(fault("passkey.origin", "it was shown to another site"));
    }
    if said.cross_origin == Some(true) || said.top_origin.is_some() {
        return Err(fault("passkey.origin", "it was shown inside a page of another site"));
    }
    Ok(())
}
