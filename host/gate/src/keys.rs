//! A tenant's secrets for one installation. A value goes in once and never comes out again: not to its owner, not in a
//! list, not in an error. What can be seen of it is a fingerprint.

use std::sync::Arc;

use opsiq_audit::{Draft, Kind, Op, field};
use opsiq_contract::{Contract, KeyDecl, KeyUse, Role, nearest, visible};
use opsiq_store::{KeyState as RowState, KeyVersionRow};
use opsiq_vault::{SECRET_MIN, Secret};
use serde::{Deserialize, Serialize};

use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::docs::{KeyDoc, key_place};
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::Installed;

/// The life of one version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// The newest: signs, is injected, verifies.
    Current,
    /// Older: only verifies, until retired.
    Verifying,
    /// Does nothing any more.
    Retired,
}

/// One version of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyVersionView {
    /// Counts from 1.
    pub version: u64,
    /// What it still does.
    pub state: KeyState,
    /// A short keyed fingerprint, to tell versions apart.
    pub fingerprint: String,
    /// When it was set, in milliseconds since 1970.
    pub created_ms: i64,
}

/// Which contract declares a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Declared {
    /// That of the version that runs.
    Installed,
    /// Only that of the upgrade that waits to be accepted, for which it can be set already.
    Held,
    /// None any more. Nothing can use it; it can be retired.
    Nowhere,
}

/// A key of an installation, never its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyView {
    /// The name the contract declares.
    pub name: String,
    /// What for, as the contract says it.
    pub purpose: String,
    /// What the plugin may have the host do with it.
    pub uses: Vec<KeyUse>,
    /// Whether the grant includes it.
    pub granted: bool,
    /// Which contract declares it.
    pub declared: Declared,
    /// Its versions, newest first; empty while it is not set.
    pub versions: Vec<KeyVersionView>,
}

/// Keys of installations. See [`Host::keys`](crate::Host::keys).
#[derive(Clone)]
pub struct Keys {
    pub(crate) core: Arc<Core>,
}

/// Those who may put in and retire secrets.
const MAY: &[Role] = &[Role::Owner, Role::Admin];

/// Most live versions of a key: the one that signs and those that still verify.
const LIVE_MOST: usize = 4;

impl Keys {
    /// Puts in a key that has no live version. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation or key; a key that is set; a secret that is too short.
    pub async fn set(&self, actor: &Actor, installation: &str, key: &str, secret: Secret) -> Result<KeyView, Refusal> {
        self.put(actor, "key set", installation, key, secret).await
    }

    /// Puts in a new version, which signs and is injected from now on. Older ones still verify until retired. For
    /// owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation or key; a key that is not set; a secret that is too short or in use.
    pub async fn rotate(
        &self,
        actor: &Actor,
        installation: &str,
        key: &str,
        secret: Secret,
    ) -> Result<KeyView, Refusal> {
        self.put(actor, "key rotate", installation, key, secret).await
    }

    /// Ends a version: it verifies nothing any more, and its bytes are destroyed. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation, key or live version.
    pub async fn retire(&self, actor: &Actor, installation: &str, key: &str, version: u64) -> Result<KeyView, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "key retire";
        let about = format!("{}/{}", visible(installation, 64).text, visible(key, 64).text);
        self.core
            .act(&person, MAY, act, &about, async {
                let installed = self.core.installed(&person.tenant, installation).await?;
                let (tenant, id) = (person.tenant.id.clone(), installed.installation.id.clone());
                let live = self.core.key_rows(&person.tenant, &id).await?;
                if !live.iter().any(|(row, _)| row.name == key) {
                    self.declared(&installed, key).await?;
                }
                if !live.iter().any(|(row, _)| row.name == key && row.version == version && row.state == RowState::Live)
                {
                    return Err(Refusal::new(
                        Class::NotFound,
                        Stage::Admin,
                        "key.version-unknown",
                        format!("key `{key}` has no live version {version}"),
                        format!("see opsiq key list {}", installed.installation.name),
                    ));
                }
                let draft = done(&person, act, &installed, format!("key {key}, version {version}"));
                let name = key.to_owned();
                let change = Op::new(move |tx| {
                    Box::pin(async move { Ok(tx.key_version_retire(&tenant, &id, &name, version).await?) })
                });
                self.core.change(&person.tenant, vec![draft], change).await?;
                self.view(&person, installation, key).await
            })
            .await
    }

    /// The keys the contract declares and their versions, never their values. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation.
    pub async fn list(&self, actor: &Actor, installation: &str) -> Result<Vec<KeyView>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, MAY, "key list", &visible(installation, 64).text, async {
                let installed = self.core.installed(&person.tenant, installation).await?;
                self.views(&person, &installed).await
            })
            .await
    }

    async fn put(
        &self,
        actor: &Actor,
        act: &'static str,
        installation: &str,
        key: &str,
        secret: Secret,
    ) -> Result<KeyView, Refusal> {
        let person = self.core.person(actor).await?;
        let about = format!("{}/{}", visible(installation, 64).text, visible(key, 64).text);
        self.core
            .act(&person, MAY, act, &about, async {
                let installed = self.core.installed(&person.tenant, installation).await?;
                self.declared(&installed, key).await?;
                let row = self.next(&person, &installed, key, &secret, act == "key rotate").await?;
                let draft = done(&person, act, &installed, format!("key {key}, version {}", row.version));
                let change = Op::new(move |tx| Box::pin(async move { Ok(tx.key_version_insert(&row).await?) }));
                self.core.change(&person.tenant, vec![draft], change).await?;
                self.view(&person, installation, key).await
            })
            .await
    }

    /// The row of a key's next version.
    async fn next(
        &self,
        person: &Person,
        installed: &Installed,
        key: &str,
        secret: &Secret,
        rotate: bool,
    ) -> Result<KeyVersionRow<KeyDoc>, Refusal> {
        let name = &installed.installation.name;
        let refuse =
            |class, code, message: String, fix: String| Err(Refusal::new(class, Stage::Admin, code, message, fix));
        if secret.expose().len() < SECRET_MIN {
            return refuse(
                Class::Invalid,
                "key.too-short",
                format!("a secret has at least {SECRET_MIN} bytes"),
                "shorter ones could not be kept out of logs and results; use a longer one".to_owned(),
            );
        }
        let id = &installed.installation.id;
        let rows = self.core.key_rows(&person.tenant, id).await?;
        let of_key = || rows.iter().filter(|(row, _)| row.name == key);
        let live = || of_key().filter(|(row, _)| row.state == RowState::Live);
        let fingerprint = person.tenant.vault.fingerprint(secret);
        match (rotate, live().count()) {
            (false, 1..) => {
                return refuse(
                    Class::Conflict,
                    "key.is-set",
                    format!("key `{key}` is set already"),
                    format!("to replace it: opsiq key rotate {name} {key}"),
                );
            }
            (true, 0) => {
                return refuse(
                    Class::Conflict,
                    "key.not-set",
                    format!("key `{key}` is not set"),
                    format!("opsiq key set {name} {key}"),
                );
            }
            (true, LIVE_MOST..) => {
                return refuse(
                    Class::Conflict,
                    "key.too-many-versions",
                    format!("key `{key}` has {LIVE_MOST} live versions"),
                    format!("retire one that no sender uses any more: opsiq key retire {name} {key} VERSION"),
                );
            }
            _ => {}
        }
        if live().any(|(_, doc)| doc.fingerprint == fingerprint) {
            return refuse(
                Class::Conflict,
                "key.same",
                format!("key `{key}` has that value already"),
                "rotate to a new value".to_owned(),
            );
        }
        let version = of_key().map(|(row, _)| row.version).max().unwrap_or(0) + 1;
        let place = [id.as_str(), key];
        let vault = &person.tenant.vault;
        let doc = vault.seal(&key_place(&place, "doc", version), &KeyDoc { fingerprint });
        Ok(KeyVersionRow {
            tenant: person.tenant.id.clone(),
            installation: id.clone(),
            name: key.to_owned(),
            version,
            state: RowState::Live,
            created_ms: now_ms(),
            secret: Some(vault.seal_secret(&key_place(&place, "secret", version), secret)),
            doc: doc.map_err(|error| errors::vault(Stage::Admin, &error))?,
        })
    }

    async fn view(&self, person: &Person, installation: &str, key: &str) -> Result<KeyView, Refusal> {
        let installed = self.core.installed(&person.tenant, installation).await?;
        let mut views = self.views(person, &installed).await?;
        let at = views.iter().position(|view| view.name == key);
        at.map(|at| views.swap_remove(at)).ok_or_else(|| errors::internal(Stage::Admin, "the key is gone"))
    }

    async fn views(&self, person: &Person, installed: &Installed) -> Result<Vec<KeyView>, Refusal> {
        let rows = self.core.key_rows(&person.tenant, &installed.installation.id).await?;
        let versions = |name: &str| {
            let mut newest = true;
            let versions = rows.iter().filter(|(row, _)| row.name == name).map(|(row, doc)| KeyVersionView {
                version: row.version,
                state: match row.state {
                    RowState::Retired => KeyState::Retired,
                    RowState::Live if std::mem::take(&mut newest) => KeyState::Current,
                    RowState::Live => KeyState::Verifying,
                },
                fingerprint: doc.fingerprint.clone(),
                created_ms: row.created_ms,
            });
            versions.collect::<Vec<_>>()
        };
        let view = |key: &KeyDecl, declared: Declared| KeyView {
            versions: versions(&key.name),
            name: key.name.clone(),
            purpose: visible(&key.purpose, 500).text,
            uses: key.uses.iter().copied().collect(),
            granted: declared == Declared::Installed && installed.installation.grant.keys.contains(&key.name),
            declared,
        };
        let mut views: Vec<_> = installed.contract.keys.iter().map(|key| view(key, Declared::Installed)).collect();
        if let Some(held) = self.held_contract(installed).await? {
            let new = held.keys.iter().filter(|key| installed.contract.key(&key.name).is_none());
            views.extend(new.map(|key| view(key, Declared::Held)));
        }
        for (row, _) in &rows {
            if !views.iter().any(|view| view.name == row.name) {
                views.push(KeyView {
                    versions: versions(&row.name),
                    name: row.name.clone(),
                    purpose: String::new(),
                    uses: Vec::new(),
                    granted: false,
                    declared: Declared::Nowhere,
                });
            }
        }
        Ok(views)
    }

    /// The contract of the upgrade that is held, if one is.
    async fn held_contract(&self, installed: &Installed) -> Result<Option<Arc<Contract>>, Refusal> {
        match &installed.held {
            Some(held) => self.core.contract(&held.digest).await.map(Some),
            None => Ok(None),
        }
    }

    /// Refuses a key that neither the contract nor the held upgrade's declares.
    async fn declared(&self, installed: &Installed, key: &str) -> Result<(), Refusal> {
        let held = self.held_contract(installed).await?;
        let known = installed.contract.keys.iter().chain(held.iter().flat_map(|held| &held.keys));
        let names: Vec<&str> = known.map(|key| key.name.as_str()).collect();
        if names.contains(&key) {
            return Ok(());
        }
        let fix = match nearest(key, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "the contract declares no keys".to_owned(),
            None => format!("it declares {}", names.join(", ")),
        };
        let message = format!("{} declares no key `{}`", installed.installation.plugin, visible(key, 64).text);
        Err(Refusal::new(Class::NotFound, Stage::Admin, "key.unknown", message, fix))
    }
}

fn done(person: &Person, act: &str, installed: &Installed, detail: String) -> Draft {
    person
        .draft(Kind::Admin, act)
        .field(field::INSTALLATION, installed.installation.name.clone())
        .field(field::PLUGIN, installed.installation.plugin.to_string())
        .field(field::OUTCOME, "ok")
        .field(field::DETAIL, detail)
}
