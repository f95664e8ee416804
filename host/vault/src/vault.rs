//! The vault: from the root key to everything else.

use opsiq_contract::TenantId;
use zeroize::Zeroizing;

use crate::cipher::{KEY, KeyWrap, derive_key, random};
use crate::error::Tampering;
use crate::tenant::{LiveKey, TenantVault};
use crate::wrapped::{KeyCheck, WrappedKey};
use crate::{KeyId, RootKey, Secret, VaultError};

/// The opened vault of an installation. It exists only once the root key has been proved right.
pub struct Vault {
    root: KeyId,
    wrap: KeyWrap,
    host: TenantVault,
    seed: Secret,
}

impl Vault {
    /// A new vault under `root`, and the check to store. Done once in an installation's life.
    pub fn create(root: &RootKey) -> (Self, KeyCheck) {
        let mut secrets = Box::new(Zeroizing::new([0; 3 * KEY]));
        random(secrets.as_mut_slice());
        let wrap = root.wrap();
        let id = KeyId::of("host", &secrets[..KEY]);
        let check = KeyCheck::wrap(&wrap, root.id(), id, &secrets);
        (Self::with(root.id(), wrap, &secrets), check)
    }

    /// Opens the vault with `root`.
    ///
    /// # Errors
    /// [`VaultError::WrongRoot`] naming the expected and the found key; [`VaultError::Key`] when the stored check was
    /// changed.
    pub fn open(root: &RootKey, check: &KeyCheck) -> Result<Self, VaultError> {
        if check.root() != root.id() {
            return Err(VaultError::WrongRoot { expected: check.root(), found: root.id() });
        }
        let wrap = root.wrap();
        let secrets = check.unwrap(&wrap).map_err(VaultError::Key)?;
        Ok(Self::with(root.id(), wrap, &secrets))
    }

    fn with(root: KeyId, wrap: KeyWrap, secrets: &[u8; 3 * KEY]) -> Self {
        let (key, rest) = secrets.split_at(KEY);
        let (index, seed) = rest.split_at(KEY);
        let host = TenantVault::new("", vec![LiveKey::new("host", key)], index);
        Self { root, wrap, host, seed: Secret::from(seed.to_vec()) }
    }

    /// The id of the root key in use.
    pub fn root(&self) -> KeyId {
        self.root
    }

    /// The first key of a new tenant, to store.
    pub fn new_tenant_key(&self, tenant: &TenantId) -> WrappedKey {
        let mut secrets = Box::new(Zeroizing::new([0; 2 * KEY]));
        random(secrets.as_mut_slice());
        self.wrap_tenant(tenant, 1, &secrets)
    }

    /// The key to follow `newest` when a tenant's key rotates. The seed of blind indexes goes on, so that what is
    /// found by them stays found.
    ///
    /// # Errors
    /// [`VaultError::Key`] when `newest` is not the tenant's own.
    pub fn successor(&self, tenant: &TenantId, newest: &WrappedKey) -> Result<WrappedKey, VaultError> {
        let mut secrets = newest.unwrap(&self.wrap, tenant.as_ref()).map_err(VaultError::Key)?;
        random(&mut secrets[..KEY]);
        Ok(self.wrap_tenant(tenant, newest.generation() + 1, &secrets))
    }

    fn wrap_tenant(&self, tenant: &TenantId, generation: u32, secrets: &Zeroizing<[u8; 2 * KEY]>) -> WrappedKey {
        let id = KeyId::of("tenant", &secrets[..KEY]);
        WrappedKey::wrap(&self.wrap, self.root, tenant.as_ref(), generation, id, secrets)
    }

    /// The vault of one tenant, from all its live keys in any order; the one of the highest generation seals.
    ///
    /// # Errors
    /// [`VaultError::NoKey`] without keys, [`VaultError::Key`] when one was changed or is another tenant's,
    /// [`VaultError::WrongRoot`] when one is wrapped by another root key.
    pub fn tenant(&self, tenant: &TenantId, keys: &[WrappedKey]) -> Result<TenantVault, VaultError> {
        let mut keys: Vec<&WrappedKey> = keys.iter().collect();
        keys.sort_by_key(|key| key.generation());
        let mut index: Option<Zeroizing<Vec<u8>>> = None;
        let mut live = Vec::with_capacity(keys.len());
        for key in keys {
            if key.root() != self.root {
                return Err(VaultError::WrongRoot { expected: key.root(), found: self.root });
            }
            let secrets = key.unwrap(&self.wrap, tenant.as_ref()).map_err(VaultError::Key)?;
            let (bytes, seed) = secrets.split_at(KEY);
            if index.get_or_insert_with(|| Zeroizing::new(seed.to_vec())).as_slice() != seed {
                return Err(VaultError::Key(Tampering::Changed));
            }
            live.push(LiveKey::new("tenant", bytes));
        }
        let index = index.ok_or_else(|| VaultError::NoKey(tenant.to_string()))?;
        Ok(TenantVault::new(tenant.as_ref(), live, &index))
    }

    /// The vault for content that belongs to no tenant.
    pub fn host(&self) -> TenantVault {
        self.host.clone()
    }

    /// A 256-bit key of the host's own for `purpose`: HKDF-SHA256, one key for each purpose. It outlives rotations of
    /// the root key.
    pub fn derive(&self, purpose: &'static str) -> Secret {
        Secret::from(derive_key(self.seed.expose(), &["opsiq/1/derive", purpose]).to_vec())
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault(under {})", self.root)
    }
}

#[cfg(test)]
mod tests;
