//! Rotating the root key.
//!
//! The new root key is on disk, or with the operator, before anything is put under it. Each wrapped key says which root
//! key it is under, so a host that is given both opens everything at any moment; the root check moves last. What is
//! derived for other purposes hangs on a secret inside the root check and stays the same.

use opsiq_audit::{Kind, Log, field};
use opsiq_vault::RootKey;
use serde::Serialize;

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::root::{self, NextRoot};

/// A rotation of the root key that ended.
#[derive(Debug, Clone, Serialize)]
pub struct RootRotated {
    /// The id of the root key before.
    pub from: String,
    /// The id of the root key that alone opens the data now.
    pub to: String,
    /// Keys of tenants put under it now.
    pub moved: u64,
    /// Its file, when the host put it there; else the operator gives it from now on.
    pub file: Option<std::path::PathBuf>,
}

impl Core {
    pub(crate) async fn rotate_root(&self, actor: &Actor) -> Result<RootRotated, Refusal> {
        let _turn = self.rotating.lock().await;
        match (&self.next_root, &self.root_file) {
            (Some(next), _) if next.key.id() == self.vault.root() => Err(Refusal::new(
                Class::Conflict,
                Stage::Admin,
                "root.same",
                format!("the next root key is {}, which is in use already", next.key.id()),
                "give a new one: opsiq keys generate FILE makes one",
            )),
            (Some(next), _) => {
                self.root_began(actor, &next.key).await?;
                self.put_under(actor, next).await
            }
            (None, Some(file)) => {
                // One is there already when an earlier run could not go on and this process still lives.
                let next = if let Some(next) = self.roots.waiting(file)? {
                    next
                } else {
                    let key = RootKey::generate();
                    self.root_began(actor, &key).await?;
                    self.roots.keep_beside(file, key)?
                };
                self.put_under(actor, &next).await
            }
            (None, None) => Err(Refusal::new(
                Class::Invalid,
                Stage::Admin,
                "root.next-missing",
                "the root key is given as text, so the next one must be given too",
                "opsiq keys generate FILE makes one; give its text in OPSIQ_ROOT_KEY_NEXT, or the file with \
                 --next-root-key-file",
            )),
        }
    }

    /// Ends a rotation that a process before this one began.
    pub(crate) async fn finish_root(&self, next: &NextRoot) -> Result<RootRotated, Refusal> {
        let _turn = self.rotating.lock().await;
        let actor = Actor::operator();
        self.tell_root(&actor, &format!("going on: to root key {}", next.key.id())).await?;
        self.put_under(&actor, next).await
    }

    async fn put_under(&self, actor: &Actor, next: &NextRoot) -> Result<RootRotated, Refusal> {
        let failed = |error| errors::store(Stage::Admin, &error);
        let from = self.store.root_check().await.map_err(failed)?.map(|check| check.root().to_string());
        let rewrapped = {
            // No key is wrapped by anybody else meanwhile, so none is left behind under the old root key.
            let _turn = self.wrapping.lock().await;
            self.vault.wrap_with(&next.key);
            // First, since once the check has moved a host may be given the new root key alone.
            self.reseal_epochs().await?;
            self.store.rewrap_keys(&self.vault, now_ms()).await.map_err(failed)?
        };
        if !rewrapped.stuck.is_empty() {
            let named = rewrapped.stuck.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Refusal::new(
                Class::Tampered,
                Stage::Admin,
                "keys.stuck",
                format!("keys of these tenants do not open, so the old root key is still needed: {named}"),
                "restore keys.db from a backup, then opsiq keys rotate --root; until then keep both root keys",
            ));
        }
        if let (Some(waiting), Some(file)) = (&next.beside, &self.root_file) {
            root::take_place(waiting, file)?;
        }
        self.vault.keep_one_root();
        let done = RootRotated {
            from: from.unwrap_or_default(),
            to: next.key.id().to_string(),
            moved: rewrapped.moved,
            file: next.beside.as_ref().and(self.root_file.clone()),
        };
        self.tell_root(actor, &format!("finished: {} keys put under root key {}", done.moved, done.to)).await?;
        Ok(done)
    }

    async fn root_began(&self, actor: &Actor, next: &RootKey) -> Result<(), Refusal> {
        self.tell_root(actor, &format!("began: from root key {} to root key {}", self.vault.root(), next.id())).await
    }

    async fn tell_root(&self, actor: &Actor, said: &str) -> Result<(), Refusal> {
        let draft = operator_draft(actor, Kind::Admin, "keys rotate");
        let draft = draft.field(field::OUTCOME, "ok").field(field::DETAIL, format!("root key: {said}"));
        self.record(Log::Host, vec![draft]).await
    }
}
