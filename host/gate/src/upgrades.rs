//! Another version for an installation. One that asks for no more than was granted takes over at once, the grant bound to
//! its digest. One that asks for more is held: the old version keeps running, untouched, until an owner or admin accepts
//! exactly the difference that was shown.
//!
//! What fails closed: a version that does not load replaces nothing; another publisher's or an unregistered one is never
//! an upgrade; going back is held like asking for more; an acceptance of anything but the difference as it stands now is
//! refused; and one that would stop the actions that run, because a new key has no value yet, waits for the value.

use std::fmt::Write as _;
use std::sync::Arc;

use opsiq_audit::field;
use opsiq_contract::{Contract, Digest, Grant, Permission, PluginRef, Schema, visible};
use opsiq_store::PluginRow;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::act::Person;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::difference::{self, UpgradePlan};
use crate::docs::{Held, InstallationDoc};
use crate::errors;
use crate::installation_view::{InstallationView, view};
use crate::installations::{Installations, MAY, SEE, about, checked_config, granted, not_granted};
use crate::refusal::{Class, Refusal, Stage};
use crate::state::Installed;

/// An upgrade that waits to be accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldUpgrade {
    /// The version that waits.
    pub plugin: PluginRef,
    /// Its digest.
    pub digest: Digest,
    /// The hash of the difference that was shown last.
    pub difference: Digest,
    /// Who asked for it.
    pub asked_by: String,
    /// When, in milliseconds since 1970.
    pub asked_ms: i64,
}

impl HeldUpgrade {
    pub(crate) fn of(held: &Held) -> Self {
        Self {
            plugin: held.plugin.clone(),
            digest: held.digest,
            difference: held.difference,
            asked_by: held.asked_by.to_string(),
            asked_ms: held.asked_ms,
        }
    }
}

/// What asking for an upgrade came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Upgrade {
    /// There is nothing newer, or it is the version that is installed.
    Current {
        /// The installation as it is.
        installation: Box<InstallationView>,
    },
    /// It asks for no more, so it runs from now on.
    Switched {
        /// What changed.
        plan: Box<UpgradePlan>,
        /// The installation as it is now.
        installation: Box<InstallationView>,
    },
    /// It asks for more, so it waits; the old version runs as before.
    Held {
        /// What would change.
        plan: Box<UpgradePlan>,
        /// The installation as it is.
        installation: Box<InstallationView>,
    },
}

/// Which difference is accepted, and how much of it.
#[derive(Debug, Clone)]
pub struct AcceptUpgrade {
    /// The hash of the difference, or the digest of the version, which stands for the difference that was shown last.
    pub digest: Digest,
    /// What not to grant of it, such as `http:refunds`.
    pub without: Vec<Permission>,
    /// Write actions that shall wait for a person although the contract does not say so.
    pub confirm: Vec<String>,
    /// Values of the config, over those that are set.
    pub config: Option<Value>,
}

/// A version to upgrade to, and what that changes.
struct Offer {
    contract: Arc<Contract>,
    plan: UpgradePlan,
}

impl Installations {
    /// Upgrades an installation to `to`: `publisher/id@version`, `publisher/id` or `id` (the newest version, no
    /// pre-release), or a digest; by default the newest, or the one that is held. It takes over at once if it asks for no
    /// more, and is held otherwise. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation or plugin; another plugin; a version that does not load.
    pub async fn upgrade(&self, actor: &Actor, name: &str, to: Option<&str>) -> Result<Upgrade, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "connector upgrade";
        let asked = format!("{} to {}", visible(name, 64).text, visible(to.unwrap_or("the newest"), 120).text);
        self.core
            .act(&person, MAY, act, &asked, async {
                let installed = self.core.installed(&person.tenant, name).await?;
                let Some(digest) = self.core.target(&installed, to).await? else {
                    return Ok(Upgrade::Current { installation: Box::new(view(&self.core, &installed)) });
                };
                let offer = self.core.offer(&installed, digest).await?;
                self.core.loaded(digest, &offer.contract).await?;
                let plan = Box::new(offer.plan.clone());
                let old = &installed.installation;
                let carried = old.grant.carried_over(&installed.contract, &offer.contract, digest);
                if let Some(grant) = carried.filter(|_| !plan.asks_more) {
                    let config = difference::config(&offer.contract, &old.config, None);
                    let now = self.switch(&person, &installed, &offer, grant, config, act).await?;
                    return Ok(Upgrade::Switched { plan, installation: Box::new(view(&self.core, &now)) });
                }
                let now = self.hold(&person, installed, &plan, act).await?;
                Ok(Upgrade::Held { plan, installation: Box::new(view(&self.core, &now)) })
            })
            .await
    }

    /// What the held upgrade would change, as things stand now; `None` when none is held.
    ///
    /// # Errors
    /// No such user or installation; a held version that is not registered any more.
    pub async fn held_upgrade(&self, actor: &Actor, name: &str) -> Result<Option<UpgradePlan>, Refusal> {
        let person = self.core.person(actor).await?;
        self.core
            .act(&person, SEE, "connector show", &visible(name, 64).text, async {
                let installed = self.core.installed(&person.tenant, name).await?;
                let Some(held) = &installed.held else { return Ok(None) };
                Ok(Some(self.core.offer(&installed, held.digest).await?.plan))
            })
            .await
    }

    /// Accepts the held upgrade, all of it or less, and switches to it. Calls in progress end on the old version. For
    /// owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation; nothing held; a difference that is not the one that was shown, or
    /// changed since; a config or permission that does not fit; a key without a value; a version that does not load.
    pub async fn accept_upgrade(
        &self,
        actor: &Actor,
        name: &str,
        accept: &AcceptUpgrade,
    ) -> Result<InstallationView, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "connector upgrade accept";
        self.core
            .act(&person, MAY, act, &visible(name, 64).text, async {
                let installed = self.core.installed(&person.tenant, name).await?;
                let held = installed.held.as_ref().ok_or_else(|| none_held(&installed))?;
                let offer = self.core.offer(&installed, held.digest).await?;
                let (shown, now) = (held.difference, offer.plan.difference);
                if accept.digest != now && (accept.digest != held.digest || shown != now) {
                    let known = accept.digest == held.digest || accept.digest == shown;
                    let refusal = not_as_shown(&installed, held, known);
                    self.hold(&person, installed, &offer.plan, "connector upgrade").await?;
                    return Err(refusal);
                }
                let (contract, old) = (&offer.contract, &installed.installation);
                let config = difference::config(contract, &old.config, accept.config.as_ref());
                let config = checked_config(contract, &config)
                    .map_err(|refusal| Refusal { fix: set_with(contract, name, now), ..refusal })?;
                let grant = old.grant.accepted(&installed.contract, contract, held.digest, &config);
                let mut grant = grant.map_err(|error| not_granted(&error))?;
                for permission in &accept.without {
                    grant.remove(contract, permission).map_err(|error| not_granted(&error))?;
                }
                for action in &accept.confirm {
                    let raise = Permission::Confirm(action.clone());
                    grant.add(contract, &raise).map_err(|error| not_granted(&error))?;
                }
                new_keys_are_set(&installed, contract, &grant)?;
                self.core.loaded(held.digest, contract).await?;
                Ok(view(&self.core, &*self.switch(&person, &installed, &offer, grant, config, act).await?))
            })
            .await
    }

    /// Rejects the held upgrade; nothing else changes. For owners and admins.
    ///
    /// # Errors
    /// Not an owner or admin; no such installation; nothing held.
    pub async fn reject_upgrade(&self, actor: &Actor, name: &str) -> Result<InstallationView, Refusal> {
        let person = self.core.person(actor).await?;
        let act = "connector upgrade reject";
        self.core
            .act(&person, MAY, act, &visible(name, 64).text, async {
                let installed = self.core.installed(&person.tenant, name).await?;
                let held = installed.held.as_ref().ok_or_else(|| none_held(&installed))?;
                let detail = format!("{}, digest {}, difference {}", held.plugin, held.digest, held.difference);
                let draft = about(&person, act, &installed.installation)
                    .field(field::OUTCOME, "rejected")
                    .field(field::DETAIL, detail);
                let doc = InstallationDoc { held: None, notes: installed.notes + 1, ..installed.doc() };
                Ok(view(&self.core, &*self.put(&person, &installed, &doc, draft).await?))
            })
            .await
    }

    /// Notes that `plan` waits, unless exactly that is noted already. Nothing that runs is touched.
    async fn hold(
        &self,
        person: &Person,
        installed: Arc<Installed>,
        plan: &UpgradePlan,
        act: &str,
    ) -> Result<Arc<Installed>, Refusal> {
        if installed.held.as_ref().is_some_and(|held| held.difference == plan.difference) {
            return Ok(installed);
        }
        let held = Held {
            plugin: plan.plugin.clone(),
            digest: plan.digest,
            difference: plan.difference,
            asked_by: person.actor.principal.clone(),
            asked_ms: now_ms(),
        };
        let more = plan.groups.iter().filter(|group| group.risk.asks_more()).flat_map(|group| &group.changes);
        let more: Vec<_> = more.map(|change| format!("{}: {}", change.item, change.text)).collect();
        let detail =
            format!("to {}, digest {}, difference {}: {}", plan.plugin, plan.digest, plan.difference, more.join("; "));
        let draft =
            about(person, act, &installed.installation).field(field::OUTCOME, "held").field(field::DETAIL, detail);
        let doc = InstallationDoc { held: Some(held), notes: installed.notes + 1, ..installed.doc() };
        self.put(person, &installed, &doc, draft).await
    }

    /// Makes the offered version the installed one, with this grant and config.
    async fn switch(
        &self,
        person: &Person,
        installed: &Installed,
        offer: &Offer,
        grant: Grant,
        config: Value,
        act: &str,
    ) -> Result<Arc<Installed>, Refusal> {
        let Offer { contract, plan } = offer;
        let mut detail = format!("to {}, difference {}; {}", plan.plugin, plan.difference, granted(contract, &grant));
        if let Some(held) = installed.held.as_ref().filter(|held| held.digest != plan.digest) {
            let _ = write!(detail, "; {} is not held any more", held.plugin);
        }
        let draft =
            about(person, act, &installed.installation).field(field::OUTCOME, "ok").field(field::DETAIL, detail);
        let (plugin, digest) = (plan.plugin.clone(), plan.digest);
        let doc = InstallationDoc { plugin, digest, grant, config, held: None, ..installed.doc() };
        self.put(person, installed, &doc, draft).await
    }
}

impl Core {
    /// The digest to upgrade to; `None` when that is what is installed, or nothing is newer.
    async fn target(&self, installed: &Installed, to: Option<&str>) -> Result<Option<Digest>, Refusal> {
        let installation = &installed.installation;
        let current = &installation.plugin;
        let rows = self.store.plugin_versions(&current.publisher, &current.id).await;
        let rows = rows.map_err(|error| errors::store(Stage::Resolve, &error))?;
        let sound = installation.grant.digest == installation.digest;
        let differs = |digest: Digest| (digest != installation.digest || !sound).then_some(digest);
        let family = |asked: &str| asked == current.id || asked == current.family();
        if let Some(asked) = to.filter(|asked| !family(asked)) {
            let exact = |row: &&PluginRow| asked == row.digest.to_string() || asked == row.plugin.to_string();
            let Some(row) = rows.iter().find(exact) else { return Err(self.not_a_version(installed, asked).await?) };
            self.may_be_installed(&row.plugin, &row.digest)?;
            return Ok(differs(row.digest));
        }
        let released = |row: &&PluginRow| {
            row.plugin.version.pre.is_empty() && self.may_be_installed(&row.plugin, &row.digest).is_ok()
        };
        let newest = rows.iter().filter(released).max_by(|a, b| a.plugin.version.cmp(&b.plugin.version));
        let newer = newest.filter(|row| row.plugin.version > current.version);
        let held = installed.held.as_ref().filter(|_| to.is_none());
        Ok(match (newer, held) {
            (Some(newer), Some(held)) if held.plugin.version >= newer.plugin.version => Some(held.digest),
            (Some(newer), _) => Some(newer.digest),
            (None, Some(held)) => Some(held.digest),
            (None, None) if sound => None,
            (None, None) => Some(installation.digest),
        })
    }

    /// Why `asked` is no version of the installed plugin: unknown, or another plugin.
    async fn not_a_version(&self, installed: &Installed, asked: &str) -> Result<Refusal, Refusal> {
        let rows = self.store.plugins().await.map_err(|error| errors::store(Stage::Resolve, &error))?;
        let other = crate::catalogue::choose(&rows, asked)?;
        let family = installed.installation.plugin.family();
        if other.plugin.family() == family {
            return Err(errors::internal(Stage::Resolve, "a version is listed twice"));
        }
        Ok(Refusal::new(
            Class::Denied,
            Stage::Resolve,
            "upgrade.other-plugin",
            format!("{} is another plugin than {family}, so no grant carries over to it", other.plugin),
            format!("install it beside this one: opsiq connector install {} --name NAME", other.plugin),
        ))
    }

    async fn offer(&self, installed: &Installed, digest: Digest) -> Result<Offer, Refusal> {
        let contract = self.contract(&digest).await?;
        let plan = difference::plan(installed, &contract, digest, &self.ceiling);
        Ok(Offer { contract, plan })
    }
}

fn none_held(installed: &Installed) -> Refusal {
    let name = &installed.installation.name;
    Refusal::new(
        Class::Conflict,
        Stage::Admin,
        "upgrade.none-held",
        format!("no upgrade of `{name}` waits to be accepted"),
        format!("opsiq connector upgrade {name} looks for one"),
    )
}

/// Why an acceptance is not one of the difference as it stands; `known` says that it was once.
fn not_as_shown(installed: &Installed, held: &Held, known: bool) -> Refusal {
    let name = &installed.installation.name;
    let message = if known {
        "the installation, its grant or config, or the ceiling changed since the difference was shown, so it is another one now"
            .to_owned()
    } else {
        format!("that is not the difference to {}, which is what waits", held.plugin)
    };
    Refusal::new(
        Class::Conflict,
        Stage::Admin,
        "upgrade.not-as-shown",
        message,
        format!("look at it as it is now: opsiq connector upgrade {name}"),
    )
}

/// Refuses while a key that comes with the new version has no value, since no action runs without it.
fn new_keys_are_set(installed: &Installed, contract: &Contract, grant: &Grant) -> Result<(), Refusal> {
    let already = installed.needs_keys();
    let names = contract.keys.iter().map(|key| &key.name).filter(|name| grant.keys.contains(*name));
    let missing = names.filter(|name| !installed.keys.names.contains(name) && !already.contains(name));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let name = &installed.installation.name;
    Err(Refusal::new(
        Class::Denied,
        Stage::Admin,
        "upgrade.needs-keys",
        format!(
            "the new version needs {} to be set before any action runs; until then the old one keeps running",
            missing.join(", ")
        ),
        format!("opsiq key set {name} {first}, then accept again; or withhold it: --without key:{first}"),
    ))
}

/// How to give the config values that a new version requires.
fn set_with(contract: &Contract, name: &str, difference: Digest) -> String {
    let names = contract.config.iter().flat_map(Schema::properties).map(|(name, _)| format!(" --config {name}=VALUE"));
    format!("opsiq connector upgrade {} --accept {difference}{}", visible(name, 64).text, names.collect::<String>())
}
