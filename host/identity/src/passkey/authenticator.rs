//! What an authenticator says, and signs (Web Authentication section 6.1): for whom, whether a person was there and verified, how
//! often it signed, and the key that it made.

use super::cbor;
use super::cose::PublicKey;
use super::fault::{PasskeyFault, malformed};

/// Bytes of a credential's id, at most (section 5.1.3).
const LONGEST_ID: usize = 1023;
/// Bytes before what is not always there.
const HEAD: usize = 32 + 1 + 4;
/// Bytes of what says which make it is.
const MODEL: usize = 16;

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENDED: u8 = 0x80;

/// Read wholly.
pub(super) struct Said<'a> {
    pub(super) party: &'a [u8],
    flags: u8,
    /// How often the key signed, as it says; 0 where it does not count.
    pub(super) count: u32,
    pub(super) made: Option<Made<'a>>,
}

/// A key that was made.
pub(super) struct Made<'a> {
    pub(super) id: &'a [u8],
    /// The key as it was written.
    pub(super) written: &'a [u8],
}

impl<'a> Said<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, PasskeyFault> {
        const SHORT: PasskeyFault = malformed("what its authenticator says is cut off");
        let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or(SHORT)?;
        let (party, tail) = head.split_at(32);
        let [flags, count @ ..] = tail else { return Err(SHORT) };
        let count = u32::from_be_bytes(count.try_into().map_err(|_| SHORT)?);
        let mut made = None;
        if flags & ATTESTED != 0 {
            let (_, after) = rest.split_at_checked(MODEL).ok_or(SHORT)?;
            let (length, after) = after.split_at_checked(2).ok_or(SHORT)?;
            let length = length.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
            let (id, after) = after.split_at_checked(length).ok_or(SHORT)?;
            if !(1..=LONGEST_ID).contains(&id.len()) {
                return Err(malformed("the id of its key has 1 to 1023 bytes"));
            }
            let (_, left) = PublicKey::first(after)?;
            made = Some(Made { id, written: &after[..after.len() - left.len()] });
            rest = left;
        }
        if flags & EXTENDED != 0 {
            match cbor::first(rest) {
                Some((cbor::Item::Map(_), left)) => rest = left,
                _ => return Err(malformed("what extends it is no map")),
            }
        }
        if !rest.is_empty() {
            return Err(malformed("its authenticator says more than there is to say"));
        }
        let said = Self { party, flags: *flags, count, made };
        if said.is_backed_up() && !said.may_be_backed_up() {
            return Err(malformed("its key is backed up and cannot be"));
        }
        Ok(said)
    }

    /// Whether a person was there.
    pub(super) fn is_present(&self) -> bool {
        self.flags & PRESENT != 0
    }

    /// Whether the authenticator knew them: by a PIN, a finger, a face.
    pub(super) fn is_verified(&self) -> bool {
        self.flags & VERIFIED != 0
    }

    /// Whether the key may leave the device for others of its owner.
    pub(super) fn may_be_backed_up(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    /// Whether it did.
    pub(super) fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}
