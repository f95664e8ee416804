//! The user handle that a passkey keeps (Web Authentication section 5.4.3): 64 bytes that say whose account it opens, so that nobody
//! types a name. It says no name of a person: the tenant's slug, and the account's id.
//!
//! The letters of a slug are letters of base64url, so its 63 at most, filled up to 64 with one that no slug has, are 48 bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opsiq_contract::TenantId;

/// Letters of the longest slug, and one.
const SLUG: usize = 64;
/// What fills a slug up: in base64url, and in no slug.
const FILL: char = '_';
/// Bytes of the account's id.
const ACCOUNT: usize = 16;

/// The handle of an account; `account` is its UUID. `None` for what has no such form.
pub fn user_handle(tenant: &TenantId, account: &[u8; ACCOUNT]) -> Option<Vec<u8>> {
    let filled = format!("{:_<SLUG$}", tenant.as_str());
    let mut handle = URL_SAFE_NO_PAD.decode(filled).ok()?;
    handle.extend_from_slice(account);
    Some(handle)
}

/// The account that a handle says.
pub fn whose_handle(handle: &[u8]) -> Option<(TenantId, [u8; ACCOUNT])> {
    let (slug, account) = handle.split_at_checked(SLUG / 4 * 3)?;
    let tenant = URL_SAFE_NO_PAD.encode(slug);
    Some((tenant.trim_end_matches(FILL).parse().ok()?, account.try_into().ok()?))
}
