//! `keys`: use of secrets through handles. What a plugin holds is an index; the bytes stay here, in types that wipe
//! themselves, and no function answers them. A name that may not be opened gets one answer, whatever the reason.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use opsiq_contract::{Denial, GrantedKey, KeyUse};
use opsiq_egress::Injector;
use opsiq_vault::{MacAlgorithm, Secret, verify_any};
use wasmtime::component::Resource;

use crate::bindings::opsiq::plugin::keys::{Algorithm, Host, HostKey};
use crate::bindings::opsiq::plugin::types::Denial as ToldDenial;
use crate::state::State;

/// The live secrets of one installation, by the names the contract declares. Whether a call may use one is decided by
/// its authority, not by its being here.
#[derive(Default)]
pub struct KeySet {
    keys: BTreeMap<String, Vec<Secret>>,
}

impl KeySet {
    /// A set without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key: its live versions, newest first. A key without versions counts as absent.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, newest_first: Vec<Secret>) -> Self {
        if !newest_first.is_empty() {
            self.keys.insert(name.into(), newest_first);
        }
        self
    }

    fn versions(&self, name: &str) -> Option<&[Secret]> {
        self.keys.get(name).map(Vec::as_slice)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

impl Injector for KeySet {
    /// The newest version, for a rule that the egress policy has already chosen.
    fn secret(&self, key_name: &str) -> Option<Secret> {
        let newest = self.versions(key_name)?.first()?;
        Some(Secret::from(newest.expose().to_vec()))
    }
}

/// An opened key, as it stands in the table of one call.
#[allow(unreachable_pub, reason = "the generated bindings re-export it within this crate")]
#[derive(Debug)]
pub struct Handle {
    grant: GrantedKey,
    bytes: Bytes,
}

/// Where the bytes of a handle are.
#[derive(Debug)]
enum Bytes {
    /// The installation's own, by name.
    Declared,
    /// Derived from them: how many steps, and one for each version, newest first.
    Derived { steps: u8, versions: Vec<Secret> },
}

impl Handle {
    fn versions<'a>(&'a self, keys: &'a KeySet) -> &'a [Secret] {
        match &self.bytes {
            Bytes::Declared => keys.versions(&self.grant.name).unwrap_or_default(),
            Bytes::Derived { versions, .. } => versions,
        }
    }

    fn steps(&self) -> u8 {
        match self.bytes {
            Bytes::Declared => 0,
            Bytes::Derived { steps, .. } => steps,
        }
    }

    fn may(&self, needed: KeyUse) -> Result<(), Denial> {
        if self.grant.uses.contains(&needed) {
            return Ok(());
        }
        let name = &self.grant.name;
        Err(Denial::new(
            "key.use-not-declared",
            format!("key `{name}` is not declared for `{needed}`"),
            format!("add \"{needed}\" to `use` of [[key]] \"{name}\" in contract.toml"),
        ))
    }

    /// An HMAC under a key declared `derive` is itself the bytes of a derived key, so it signs at full depth only.
    fn at_signing_depth(&self) -> Result<(), Denial> {
        match &self.grant.derive {
            Some(derive) if self.steps() != derive.depth => Err(Denial::new(
                "key.not-derived",
                format!(
                    "key `{}` signs after {} derivations, not after {}",
                    self.grant.name,
                    derive.depth,
                    self.steps()
                ),
                "derive as often as the contract says before signing",
            )),
            _ => Ok(()),
        }
    }

    fn derived(&self, keys: &KeySet, algorithm: MacAlgorithm, data: &[u8]) -> Result<Self, Denial> {
        self.may(KeyUse::Derive)?;
        let name = &self.grant.name;
        let declared = self.grant.derive.as_ref().filter(|derive| self.steps() < derive.depth);
        let Some(derive) = declared else {
            return Err(Denial::new(
                "key.depth",
                format!("key `{name}` has no derivation after {} steps", self.steps()),
                format!("raise `depth` of `derive` of [[key]] \"{name}\" in contract.toml"),
            ));
        };
        let prefix = if self.steps() == 0 { derive.prefix.as_bytes() } else { b"" };
        let versions = self.versions(keys).iter().map(|secret| secret.derive(algorithm, prefix, data)).collect();
        Ok(Self { grant: self.grant.clone(), bytes: Bytes::Derived { steps: self.steps() + 1, versions } })
    }
}

fn mac(algorithm: Algorithm) -> MacAlgorithm {
    match algorithm {
        Algorithm::HmacSha256 => MacAlgorithm::HmacSha256,
        Algorithm::HmacSha1 => MacAlgorithm::HmacSha1,
    }
}

impl State {
    /// The one answer for a name that is not declared, not listed by the action, not granted or not set.
    fn open_key(&self, name: &str) -> Result<Handle, Denial> {
        let granted = self.authorized.keys().iter().find(|key| key.name == name);
        match granted {
            Some(grant) if self.keys.versions(name).is_some() => {
                Ok(Handle { grant: grant.clone(), bytes: Bytes::Declared })
            }
            _ => Err(Denial::new(
                "key.not-granted",
                "no key of that name may be opened by this action",
                "declare it as [[key]], list it in `keys` of the action, and have an owner or admin grant and set it",
            )),
        }
    }

    fn answer<T>(&mut self, result: Result<T, Denial>) -> Result<T, ToldDenial> {
        result.map_err(|denial| self.deny(denial))
    }
}

impl Host for State {}

impl HostKey for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Handle>, ToldDenial>> {
        self.enter(name.len())?;
        let opened = self.open_key(&name);
        match self.answer(opened) {
            Ok(handle) => Ok(Ok(self.hold(handle)?)),
            Err(told) => Ok(Err(told)),
        }
    }

    fn sign(
        &mut self,
        key: Resource<Handle>,
        algorithm: Algorithm,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, ToldDenial>> {
        self.enter(data.len())?;
        let keys = Arc::clone(&self.keys);
        let handle = self.table.get(&key)?;
        let signed = handle.may(KeyUse::Sign).and_then(|()| handle.at_signing_depth()).and_then(|()| {
            let newest = handle.versions(&keys).first();
            newest.map(|secret| secret.mac(mac(algorithm), &data)).ok_or_else(no_version)
        });
        Ok(self.answer(signed))
    }

    fn verify(
        &mut self,
        key: Resource<Handle>,
        algorithm: Algorithm,
        data: Vec<u8>,
        theirs: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, ToldDenial>> {
        self.enter(data.len() + theirs.len())?;
        let keys = Arc::clone(&self.keys);
        let handle = self.table.get(&key)?;
        let verified =
            handle.may(KeyUse::Verify).map(|()| verify_any(handle.versions(&keys), mac(algorithm), &data, &theirs));
        Ok(self.answer(verified))
    }

    fn derive(
        &mut self,
        key: Resource<Handle>,
        algorithm: Algorithm,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<Handle>, ToldDenial>> {
        self.enter(data.len())?;
        let keys = Arc::clone(&self.keys);
        let derived = self.table.get(&key)?.derived(&keys, mac(algorithm), &data);
        match self.answer(derived) {
            Ok(handle) => Ok(Ok(self.hold(handle)?)),
            Err(told) => Ok(Err(told)),
        }
    }

    fn drop(&mut self, key: Resource<Handle>) -> wasmtime::Result<()> {
        self.table.delete(key)?;
        Ok(())
    }
}

fn no_version() -> Denial {
    Denial::new("key.not-set", "the key has no live version", "an owner or admin sets it with `opsiq key set`")
}
