//! The vault: from the root key to everything else.

use std::sync::{Arc, PoisonError, RwLock};

use opsiq_contract::TenantId;
use zeroize::Zeroizing;

use crate::cipher::{KEY, KeyWrap, derive_key, random};
use crate::epoch::{epochs_root, open_ring, seal_ring};
use crate::error::Tampering;
use crate::live::LiveKey;
use crate::tenant::TenantVault;
use crate::wrapped::{KeyCheck, WrappedKey};
use crate::{KeyId, RootKey, Secret, VaultError};

/// The opened vault of an installation. It exists only once the root key has been proved right.
pub struct Vault {
    /// Never empty. The last one wraps; all unwrap, so that a rotation of the root key may be half done.
    roots: RwLock<Vec<Arc<OpenRoot>>>,
    host: TenantVault,
    seed: Secret,
}

/// A root key, ready.
struct OpenRoot {
    id: KeyId,
    wrap: KeyWrap,
}

impl OpenRoot {
    fn of(root: &RootKey) -> Arc<Self> {
        Arc::new(Self { id: root.id(), wrap: root.wrap() })
    }
}

impl Vault {
    /// A new vault under `root`, and the check to store. Done once in an installation's life.
    pub fn create(root: &RootKey) -> (Self, KeyCheck) {
        let mut secrets = Box::new(Zeroizing::new([0; 3 * KEY]));
        random(secrets.as_mut_slice());
        let root = OpenRoot::of(root);
        let id = KeyId::of("host", &secrets[..KEY]);
        let check = KeyCheck::wrap(&root.wrap, root.id, id, &secrets);
        (Self::with(vec![root], &secrets), check)
    }

    /// Opens the vault with `root`.
    ///
    /// # Errors
    /// [`VaultError::WrongRoot`] naming the expected and the found key; [`VaultError::Key`] when the stored check was
    /// changed.
    pub fn open(root: &RootKey, check: &KeyCheck) -> Result<Self, VaultError> {
        Self::open_with(root, None, check)
    }

    /// Opens the vault with whichever of two root keys the check was made with, as when a rotation of the root key may be
    /// half done. The other one unwraps as well; it wraps nothing until [`Vault::wrap_with`].
    ///
    /// # Errors
    /// As [`Vault::open`]; the key found is `root`.
    pub fn open_with(root: &RootKey, next: Option<&RootKey>, check: &KeyCheck) -> Result<Self, VaultError> {
        let mut roots: Vec<_> = std::iter::once(root).chain(next).map(OpenRoot::of).collect();
        roots.sort_by_key(|root| root.id == check.root());
        let wraps = roots.last().filter(|wraps| wraps.id == check.root());
        let wraps = wraps.ok_or(VaultError::WrongRoot { expected: check.root(), found: root.id() })?;
        let secrets = check.unwrap(&wraps.wrap).map_err(VaultError::Key)?;
        Ok(Self::with(roots, &secrets))
    }

    fn with(roots: Vec<Arc<OpenRoot>>, secrets: &[u8; 3 * KEY]) -> Self {
        let (key, rest) = secrets.split_at(KEY);
        let (index, seed) = rest.split_at(KEY);
        let host = TenantVault::new("", vec![LiveKey::new("host", key)], index);
        Self { roots: RwLock::new(roots), host, seed: Secret::from(seed.to_vec()) }
    }

    /// The id of the root key that wraps.
    pub fn root(&self) -> KeyId {
        self.wraps().id
    }

    /// Whether what `root` wrapped can be unwrapped.
    pub fn has_root(&self, root: KeyId) -> bool {
        self.unwraps(root).is_ok()
    }

    /// Wraps by `next` from now on. What earlier root keys wrapped still opens, until [`Vault::keep_one_root`].
    pub fn wrap_with(&self, next: &RootKey) {
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        roots.retain(|root| root.id != next.id());
        roots.push(OpenRoot::of(next));
    }

    /// Forgets every root key but the one that wraps.
    pub fn keep_one_root(&self) {
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        let others = roots.len() - 1;
        roots.drain(..others);
    }

    /// The same key wrapped by the root key that wraps now; `None` when it already is.
    ///
    /// # Errors
    /// [`VaultError::Key`] when it was changed or is another tenant's, [`VaultError::WrongRoot`] when its root key is not
    /// here.
    pub fn rewrap(&self, tenant: &TenantId, key: &WrappedKey) -> Result<Option<WrappedKey>, VaultError> {
        let wraps = self.wraps();
        if key.root() == wraps.id {
            return Ok(None);
        }
        let secrets = key.unwrap(&self.unwraps(key.root())?.wrap, tenant.as_ref()).map_err(VaultError::Key)?;
        let again = WrappedKey::wrap(&wraps.wrap, wraps.id, tenant.as_ref(), key.generation(), key.id(), &secrets);
        Ok(Some(again))
    }

    /// The same check wrapped by the root key that wraps now; `None` when it already is. To be done last: from then on only
    /// that root key opens the vault.
    ///
    /// # Errors
    /// As [`Vault::rewrap`].
    pub fn rewrap_check(&self, check: &KeyCheck) -> Result<Option<KeyCheck>, VaultError> {
        let wraps = self.wraps();
        if check.root() == wraps.id {
            return Ok(None);
        }
        let secrets = check.unwrap(&self.unwraps(check.root())?.wrap).map_err(VaultError::Key)?;
        Ok(Some(KeyCheck::wrap(&wraps.wrap, wraps.id, check.id(), &secrets)))
    }

    fn wraps(&self) -> Arc<OpenRoot> {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        roots.last().expect("a vault is opened with one root key at least").clone()
    }

    fn unwraps(&self, id: KeyId) -> Result<Arc<OpenRoot>, VaultError> {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        let found = roots.iter().find(|root| root.id == id).cloned();
        drop(roots);
        found.ok_or_else(|| VaultError::WrongRoot { expected: id, found: self.root() })
    }

    /// Seals a ring of epoch keys with the root key that wraps now.
    pub fn seal_epochs(&self, ring: &[u8]) -> Vec<u8> {
        let root = self.wraps();
        seal_ring(&root.wrap, root.id, ring)
    }

    /// Opens a ring of epoch keys that any of the root keys here sealed.
    ///
    /// # Errors
    /// [`VaultError::WrongRoot`] when its root key is not here, [`VaultError::Epochs`] when it was changed.
    pub fn open_epochs(&self, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        open_ring(&self.unwraps(epochs_root(stored)?)?.wrap, stored)
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
    /// [`VaultError::Key`] when `newest` is not the tenant's own, [`VaultError::WrongRoot`] when its root key is not here.
    pub fn successor(&self, tenant: &TenantId, newest: &WrappedKey) -> Result<WrappedKey, VaultError> {
        let root = self.unwraps(newest.root())?;
        let mut secrets = newest.unwrap(&root.wrap, tenant.as_ref()).map_err(VaultError::Key)?;
        random(&mut secrets[..KEY]);
        Ok(self.wrap_tenant(tenant, newest.generation() + 1, &secrets))
    }

    fn wrap_tenant(&self, tenant: &TenantId, generation: u32, secrets: &Zeroizing<[u8; 2 * KEY]>) -> WrappedKey {
        let (id, root) = (KeyId::of("tenant", &secrets[..KEY]), self.wraps());
        WrappedKey::wrap(&root.wrap, root.id, tenant.as_ref(), generation, id, secrets)
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
            let root = self.unwraps(key.root())?;
            let secrets = key.unwrap(&root.wrap, tenant.as_ref()).map_err(VaultError::Key)?;
            let (bytes, seed) = secrets.split_at(KEY);
            if index.get_or_insert_with(|| Zeroizing::new(seed.to_vec())).as_slice() != seed {
                return Err(VaultError::Key(Tampering::Changed));
            }
            live.push(LiveKey::new("tenant", bytes));
        }
        let index = index.ok_or_else(|| VaultError::NoKey(tenant.to_string()))?;
        Ok(TenantVault::new(tenant.as_ref(), live, &index))
    }

    /// Brings an open vault of `tenant`, under all who hold a clone of it, to these live keys: whatever is sealed from now on
    /// is sealed by the newest of them.
    ///
    /// # Errors
    /// As [`Vault::tenant`]; nothing is changed then. [`VaultError::Key`] when `open` is another tenant's.
    pub fn renew(&self, tenant: &TenantId, open: &TenantVault, keys: &[WrappedKey]) -> Result<(), VaultError> {
        let fresh = self.tenant(tenant, keys)?;
        if open.adopt(fresh) { Ok(()) } else { Err(VaultError::Key(Tampering::Changed)) }
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
        write!(f, "Vault(under {})", self.root())
    }
}

#[cfg(test)]
mod tests;
