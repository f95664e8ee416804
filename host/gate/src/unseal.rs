//! From a closed data directory to an open vault, or to a refusal that names the key expected and the one found. Nothing
//! else has begun by then: no log, no listener, no change.

use opsiq_store::{Store, StoreError};
use opsiq_vault::{Vault, VaultError};

use crate::errors;
use crate::host::{HostOptions, RootSource};
use crate::refusal::{Class, Refusal, Stage};
use crate::root::{NextRoot, Roots};

/// An open vault, and what is known of root keys.
pub(crate) struct Unsealed {
    pub(crate) vault: Vault,
    /// The root key's file, when it came from one.
    pub(crate) root_file: Option<std::path::PathBuf>,
    /// The root key to rotate to, when the operator gave one.
    pub(crate) next: Option<NextRoot>,
    /// The root key of a rotation that began and did not end.
    pub(crate) unfinished: Option<NextRoot>,
}

/// Opens the vault of `store` with the root key that `options` name. While a rotation is half done both root keys are
/// needed, and either may be given as the first.
pub(crate) async fn unseal(store: &Store, options: &HostOptions) -> Result<Unsealed, Refusal> {
    let failed = |error: StoreError| errors::store(Stage::Admin, &error);
    let check = store.root_check().await.map_err(failed)?;
    let check = check.ok_or_else(|| failed(StoreError::NotInitialised(options.data.clone())))?;
    let begun = store.root_rotation().await.map_err(failed)?;
    let (first, root_file, next) = keys(options).map_err(|mut refusal| {
        refusal.message =
            format!("{}; the data expects root key {}, and none was found", refusal.message, check.root());
        refusal
    })?;
    let vault = Vault::open_with(&first, next.as_ref().map(|next| &next.key), &check).map_err(|error| match error {
        VaultError::WrongRoot { expected, found } => {
            let found = match &next {
                Some(next) => format!("the keys given are {found} and {}", next.key.id()),
                None => format!("the key given is {found}"),
            };
            let both =
                begun.map(|to| format!("; a rotation to root key {to} is unfinished, so that one is needed too"));
            wrong(format!("wrong root key: the data expects key {expected}, {found}{}", both.unwrap_or_default()))
        }
        error => errors::vault(Stage::Admin, &error),
    })?;
    if let Some(to) = begun.filter(|to| !vault.has_root(*to)) {
        return Err(wrong(format!(
            "a rotation from root key {} to root key {to} is unfinished: both are needed; the key given is {}",
            check.root(),
            first.id()
        )));
    }
    let (next, unfinished) = match (begun, next) {
        (Some(to), Some(next)) if next.key.id() == to => (None, Some(next)),
        (Some(_), _) => (None, Some(NextRoot { key: first, beside: None })),
        (None, Some(next)) if next.beside.is_some() => (None, Some(next)),
        (None, next) => (next, None),
    };
    if let Some(next) = next.as_ref().filter(|next| next.key.id() == vault.root()) {
        tracing::warn!(root = %next.key.id(), "the rotation to the next root key is done: give it alone from now on");
        vault.keep_one_root();
    }
    Ok(Unsealed { vault, root_file, next, unfinished })
}

type Keys = (opsiq_vault::RootKey, Option<std::path::PathBuf>, Option<NextRoot>);

fn keys(options: &HostOptions) -> Result<Keys, Refusal> {
    let roots = Roots::of(options)?;
    let (first, file) = roots.load(&options.root)?;
    let next = match (&options.next_root, &options.root) {
        (Some(next), _) => Some(NextRoot { key: roots.load(next)?.0, beside: None }),
        (None, RootSource::File(file)) => roots.waiting(file)?,
        (None, RootSource::Text(_)) => None,
    };
    Ok((first, file, next))
}

fn wrong(message: String) -> Refusal {
    Refusal::new(
        Class::Denied,
        Stage::Admin,
        "root.wrong",
        message,
        "give the root key this directory was made with; nothing opens without it. While a rotation is unfinished, give \
         the next one too: in OPSIQ_ROOT_KEY_NEXT, or its file with --next-root-key-file",
    )
}
