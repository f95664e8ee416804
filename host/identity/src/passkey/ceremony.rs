//! The two ceremonies (Web Authentication sections 7.1 and 7.2): a key is made for an account, and a key is shown.

use opsiq_contract::Digest;
use subtle::ConstantTimeEq as _;

use super::authenticator::Said;
use super::cbor::{self, Item};
use super::client::{self, Ceremony};
use super::cose::PublicKey;
use super::fault::{PasskeyFault, fault, malformed};
use super::party::{Challenge, Party};

/// What a browser brings of a key that was made. Nothing of it is trusted.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// `response.clientDataJSON`.
    pub client_data: &'a [u8],
    /// `response.attestationObject`.
    pub attestation: &'a [u8],
}

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What the authenticator calls it, at most 1023 bytes.
    pub id: Vec<u8>,
    /// The public key, as the authenticator wrote it (COSE).
    pub key: Vec<u8>,
    /// How often it signed; 0 where that is not counted.
    pub count: u32,
    /// Whether it may be copied to other devices of its owner.
    pub may_be_backed_up: bool,
    /// Whether it was.
    pub backed_up: bool,
}

/// What a browser brings of a key that is shown. Nothing of it is trusted.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    /// `response.clientDataJSON`.
    pub client_data: &'a [u8],
    /// `response.authenticatorData`.
    pub authenticator_data: &'a [u8],
    /// `response.signature`.
    pub signature: &'a [u8],
}

/// What is known of the key.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The public key, as it was kept.
    pub key: &'a [u8],
    /// How often it signed, when last seen.
    pub count: u32,
    /// Whether it may be copied.
    pub may_be_backed_up: bool,
}

/// What a key that was shown says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// How often it signed.
    pub count: u32,
    /// Whether it was copied to other devices.
    pub backed_up: bool,
    /// Whether it signed less often than was seen already: then there are two of it (section 6.1.1).
    pub is_cloned: bool,
}

const KEY: Item<'_> = Item::Text("authData");

/// Believes that a key was made for `party` by somebody whom its authenticator verified, as an answer to `challenge`.
///
/// # Errors
/// The rule that was broken. Nothing is believed of which make the authenticator is.
pub fn register(party: &Party, challenge: &Challenge, registration: &Registration<'_>) -> Result<Kept, PasskeyFault> {
    client::check(registration.client_data, Ceremony::Create, challenge, party)?;
    let object = cbor::whole(registration.attestation).ok_or(malformed("what the authenticator answers is no CBOR"))?;
    let Some(Item::Bytes(bytes)) = object.get(&KEY) else {
        return Err(malformed("the authenticator answers without its own word"));
    };
    let said = Said::read(bytes)?;
    for_whom(&said, party)?;
    let made = said.made.as_ref().ok_or(malformed("no key was made"))?;
    Ok(Kept {
        id: made.id.to_vec(),
        key: made.written.to_vec(),
        count: said.count,
        may_be_backed_up: said.may_be_backed_up(),
        backed_up: said.is_backed_up(),
    })
}

/// Believes that a known key was shown to `party` by somebody whom its authenticator verified, as an answer to `challenge`.
///
/// # Errors
/// The rule that was broken. A key that was cloned is no error here, see [`Shown::is_cloned`]: its signature is right.
pub fn prove(
    party: &Party,
    challenge: &Challenge,
    known: &Known<'_>,
    assertion: &Assertion<'_>,
) -> Result<Shown, PasskeyFault> {
    client::check(assertion.client_data, Ceremony::Get, challenge, party)?;
    let said = Said::read(assertion.authenticator_data)?;
    for_whom(&said, party)?;
    let hash = Digest::of(assertion.client_data);
    let signed = [assertion.authenticator_data, hash.as_bytes()].concat();
    if !PublicKey::whole(known.key)?.signed(&signed, assertion.signature) {
        return Err(fault("passkey.signature", "its signature is not that of the key"));
    }
    // Only what is signed is compared with what is known.
    if said.may_be_backed_up() != known.may_be_backed_up {
        return Err(fault("passkey.backup", "whether it may be copied is not what it was"));
    }
    let counts = said.count != 0 || known.count != 0;
    Ok(Shown { count: said.count, backed_up: said.is_backed_up(), is_cloned: counts && said.count <= known.count })
}

/// Whether it is for this host, by a person who was there and verified.
fn for_whom(said: &Said<'_>, party: &Party) -> Result<(), PasskeyFault> {
    if !bool::from(said.party.ct_eq(Digest::of(party.id.as_bytes()).as_bytes())) {
        return Err(fault("passkey.origin", "it is for another site"));
    }
    if !said.is_present() {
        return Err(fault("passkey.presence", "nobody was there"));
    }
    if !said.is_verified() {
        return Err(fault(
            "passkey.verification",
            "its authenticator did not ask who was there: by PIN, finger or face",
        ));
    }
    Ok(())
}
