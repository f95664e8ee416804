//! A token that speaks PKCS #11 (OASIS, version 2.40 and later): a smart card, an HSM, or a program like `SoftHSM`. The module is
//! the maker's library, loaded when it is first needed and kept until the process ends.
//!
//! The key is an AES key of 256 bits that is marked sensitive and not extractable; `CKM_AES_GCM` with a nonce of ours closes
//! and opens (§2.12 of the current mechanisms). A token that insists on nonces of its own is not supported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use opsiq_contract::Digest;
use opsiq_vault::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Kms;
use crate::refusal::{Class, Refusal, Stage};

/// Longer files hold no PIN.
const MOST: u64 = 4096;
/// Bytes of a nonce, and bits of a tag.
const NONCE: usize = 12;
const TAG_BITS: u64 = 128;
/// Bytes of a key.
const KEY: u64 = 32;

/// Which token, and which key of it, as `[root]` of the operator's file names them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    /// The library of the token's maker.
    pub pkcs11_module: PathBuf,
    /// The token's label.
    pub pkcs11_token: String,
    /// The label of the AES key that closes the root key. `opsiq init`, and a rotation of the root key, make it when it is missing.
    pub pkcs11_key: String,
    /// A file that holds the PIN, where the environment does not.
    #[serde(default)]
    pub pkcs11_pin_file: Option<PathBuf>,
}

impl Token {
    /// As a section of the operator's file.
    pub(crate) fn section(&self) -> String {
        let text = |text: &str| toml::Value::from(text).to_string();
        let mut section = format!(
            "[root]\npkcs11-module = {}\npkcs11-token = {}\npkcs11-key = {}\n",
            text(&self.pkcs11_module.to_string_lossy()),
            text(&self.pkcs11_token),
            text(&self.pkcs11_key)
        );
        if let Some(file) = &self.pkcs11_pin_file {
            // Writing to a string does not fail.
            let _ = writeln!(section, "pkcs11-pin-file = {}", text(&file.to_string_lossy()));
        }
        section
    }
}

/// A token, ready to be asked.
pub(super) struct Pkcs11Token {
    token: Token,
    pin: Arc<Secret>,
}

impl Pkcs11Token {
    pub(super) fn new(token: Token, pin: Option<Arc<Secret>>) -> Result<Self, Refusal> {
        let pin = match (pin, &token.pkcs11_pin_file) {
            (Some(pin), _) => pin,
            (None, Some(file)) => Arc::new(read(file)?),
            (None, None) => {
                let message = format!("the PIN of the token {} is not given", token.pkcs11_token);
                let fix = "give it in OPSIQ_ROOT_PKCS11_PIN, or in a file that [root] pkcs11-pin-file names";
                return Err(Refusal::new(Class::Invalid, Stage::Admin, "root.pin", message, fix));
            }
        };
        Ok(Self { token, pin })
    }

    /// What tells this PIN of this token from others.
    fn tried(&self) -> Digest {
        let token = &self.token;
        let module = token.pkcs11_module.as_os_str().as_encoded_bytes();
        Digest::of_parts("opsiq/1/pkcs11-pin", [module, token.pkcs11_token.as_bytes(), self.pin.expose()])
    }

    /// A session of the token's user, in which what `work` does is done.
    fn with<T>(&self, writes: bool, work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, String> {
        // A token locks after a few wrong PINs, and a sealed host looks for its key every second.
        if refused().contains(&self.tried()) {
            return Err("the PIN is not the token's, and is not tried again".to_owned());
        }
        let done = || {
            let module = loaded(&self.token)?;
            let wanted = self.token.pkcs11_token.as_str();
            let mut slot = None;
            for one in module.get_slots_with_token()? {
                if module.get_token_info(one)?.label().trim_end() == wanted {
                    slot = Some(one);
                    break;
                }
            }
            let Some(slot) = slot else { return Ok(Err(format!("there is no token {wanted}"))) };
            let session = if writes { module.open_rw_session(slot)? } else { module.open_ro_session(slot)? };
            let pin = std::str::from_utf8(self.pin.expose()).unwrap_or_default();
            match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
                // Another session of this process has.
                Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                Err(error) => {
                    if let Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) = error
                    {
                        refused().insert(self.tried());
                    }
                    return Err(error);
                }
            }
            work(&session).map(Ok)
        };
        done().map_err(|error: Error| told(&error))?
    }
}

/// Names what is named in the configuration.
impl std::fmt::Debug for Pkcs11Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pkcs11Token").field(&self.token).finish()
    }
}

impl Kms for Pkcs11Token {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn shown(&self) -> String {
        format!("the key {} of the token {}", self.token.pkcs11_key, self.token.pkcs11_token)
    }

    fn key(&self) -> &str {
        &self.token.pkcs11_key
    }

    fn close(&self, plain: &[u8], about: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let mut nonce = vec![0; NONCE];
        opsiq_vault::fresh(&mut nonce);
        let closed = self.with(true, |session| {
            let key = match find(session, self.key())? {
                Some(key) => key,
                None => make(session, self.key())?,
            };
            let mut used = nonce.clone();
            session.encrypt(&Mechanism::AesGcm(GcmParams::new(&mut used, about, TAG_BITS.into())?), key, plain)
        })?;
        Ok((nonce, closed))
    }

    fn open(&self, key: &str, nonce: &[u8], closed: &[u8], about: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let opened = self.with(false, |session| {
            let Some(found) = find(session, key)? else { return Ok(None) };
            let mut nonce = nonce.to_vec();
            let mechanism = Mechanism::AesGcm(GcmParams::new(&mut nonce, about, TAG_BITS.into())?);
            session.decrypt(&mechanism, found, closed).map(|plain| Some(Zeroizing::new(plain)))
        })?;
        opened.ok_or_else(|| format!("it has no AES key {key}"))
    }
}

fn find(session: &Session, label: &str) -> Result<Option<ObjectHandle>, Error> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    Ok(session.find_objects(&wanted)?.first().copied())
}

/// A key that never leaves.
fn make(session: &Session, label: &str) -> Result<ObjectHandle, Error> {
    let wanted = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::ValueLen(KEY.into()),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &wanted)
}

/// PINs that tokens refused.
fn refused() -> MutexGuard<'static, BTreeSet<Digest>> {
    static REFUSED: Mutex<BTreeSet<Digest>> = Mutex::new(BTreeSet::new());
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The module, loaded once for the life of the process.
fn loaded(token: &Token) -> Result<Pkcs11, Error> {
    static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = loaded.get(&token.pkcs11_module) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(&token.pkcs11_module)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error),
    }
    loaded.insert(token.pkcs11_module.clone(), module.clone());
    Ok(module)
}

/// What went wrong, in words that hold nothing but the names of what was called.
fn told(error: &Error) -> String {
    match error {
        Error::LibraryLoading(_) => "the module cannot be loaded".to_owned(),
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            "the PIN is not the token's".to_owned()
        }
        Error::Pkcs11(RvError::PinLocked, _) => "the PIN is locked".to_owned(),
        Error::Pkcs11(RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::GeneralError, _) => {
            "what was closed does not open by it".to_owned()
        }
        Error::Pkcs11(error, called) => format!("{called:?} answers {error:?}"),
        _ => "the module does not do what is asked of it".to_owned(),
    }
}

fn read(file: &PathBuf) -> Result<Secret, Refusal> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(file).and_then(|file| file.take(MOST).read_to_string(&mut text));
    let cannot = |why: String| {
        let fix = "let the host read the file that [root] pkcs11-pin-file names, which holds the PIN alone";
        Refusal::new(Class::Unavailable, Stage::Admin, "root.pin", format!("{} {why}", file.display()), fix)
    };
    read.map_err(|error| cannot(format!("cannot be read: {}", error.kind())))?;
    Secret::verbatim(&text).map_err(|_| cannot("holds no PIN".to_owned()))
}
