//! What a human's approval is bound to.

use crate::authorized::Authorized;
use crate::digest::Digest;
use crate::json::CanonicalJson;
use crate::model::CONTRACT_VERSION;

/// The hash a confirmation carries: over tenant, installation and its revision (which counts grant and config), digest,
/// contract version, action, canonical parameters, requester, role, policy version (the ceiling's fingerprint) and expiry
/// in milliseconds since 1970. Each part is length-prefixed. Whatever of these changes makes another hash, so an approval
/// of one cannot run the other.
pub fn confirmation_hash(authorized: &Authorized, params: &CanonicalJson, expires_ms: i64) -> Digest {
    let principal = authorized.caller().principal.to_string();
    Digest::of_parts(
        "opsiq confirmation 1",
        [
            authorized.tenant().as_str().as_bytes(),
            authorized.installation().as_str().as_bytes(),
            &authorized.revision().to_be_bytes(),
            authorized.digest().as_bytes(),
            &CONTRACT_VERSION.to_be_bytes(),
            authorized.action().name.as_bytes(),
            params.as_str().as_bytes(),
            principal.as_bytes(),
            authorized.caller().role.as_str().as_bytes(),
            authorized.effect().as_str().as_bytes(),
            authorized.ceiling().map_or(b"".as_slice(), |digest| digest.as_bytes()),
            &expires_ms.to_be_bytes(),
        ],
    )
}
