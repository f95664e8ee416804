//! What the tenant allowed of what a contract asks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::caller::Effect;
use crate::diff::covers;
use crate::digest::Digest;
use crate::id::IdError;
use crate::model::{Contract, nearest};
use crate::template::{Origin, TemplateError};

/// The part of a contract's request that the tenant allowed. Bound to one digest; names that the contract does not ask for
/// have no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The plugin's bytes it was given to.
    pub digest: Digest,
    /// Actions that may run.
    pub actions: BTreeSet<String>,
    /// HTTP rules that may be used.
    pub http: BTreeSet<String>,
    /// Keys that may be used.
    pub keys: BTreeSet<String>,
    /// Audit events that may be emitted.
    pub audit: BTreeSet<String>,
    /// Whether storage may be used.
    pub kv: bool,
    /// Writes that the tenant wants to approve each time.
    pub confirm: BTreeSet<String>,
    /// Origins of the rules whose scheme, host or port come from the config, as they were when granted.
    pub origins: BTreeMap<String, Origin>,
}

/// One thing that can be granted: `action:NAME`, `http:NAME`, `key:NAME`, `audit:EVENT`, `kv`, or `confirm:ACTION`, which
/// asks for more approval rather than less.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// An action may run.
    Action(String),
    /// An HTTP rule may be used.
    Http(String),
    /// A key may be used.
    Key(String),
    /// An audit event may be emitted.
    Audit(String),
    /// Storage may be used.
    Kv,
    /// A write waits for approval.
    Confirm(String),
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(name) => write!(f, "action:{name}"),
            Self::Http(name) => write!(f, "http:{name}"),
            Self::Key(name) => write!(f, "key:{name}"),
            Self::Audit(name) => write!(f, "audit:{name}"),
            Self::Kv => f.write_str("kv"),
            Self::Confirm(name) => write!(f, "confirm:{name}"),
        }
    }
}

impl FromStr for Permission {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        const ERROR: IdError =
            IdError::new("a permission", "action:NAME, http:NAME, key:NAME, audit:EVENT, confirm:ACTION or kv");
        if text == "kv" {
            return Ok(Self::Kv);
        }
        let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or(ERROR)?;
        let name = name.to_owned();
        match kind {
            "action" => Ok(Self::Action(name)),
            "http" => Ok(Self::Http(name)),
            "key" => Ok(Self::Key(name)),
            "audit" => Ok(Self::Audit(name)),
            "confirm" => Ok(Self::Confirm(name)),
            _ => Err(ERROR),
        }
    }
}

/// Why a grant cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The contract does not ask for it.
    #[error("the contract does not ask for `{permission}`{}", near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    NotAsked {
        /// What was named.
        permission: String,
        /// The most similar thing the contract asks for.
        near: Option<String>,
    },
    /// Only an action whose effect is `write` can be raised.
    #[error("`{action}` is a {effect}: only a write can be raised to wait for approval")]
    NotAWrite {
        /// The action.
        action: String,
        /// Its effect.
        effect: Effect,
    },
    /// A config value does not fit into a rule's URL.
    #[error("rule `{rule}`: {error}")]
    Origin {
        /// The rule.
        rule: String,
        /// Why.
        error: TemplateError,
    },
}

impl Grant {
    /// Everything `contract` asks for, with the origins that `config` gives.
    ///
    /// # Errors
    /// A config value does not fit into a rule's URL.
    pub fn all(contract: &Contract, digest: Digest, config: &Value) -> Result<Self, GrantError> {
        let mut grant = Self {
            digest,
            actions: contract.actions.iter().map(|action| action.name.clone()).collect(),
            http: contract.http.iter().map(|rule| rule.name.clone()).collect(),
            keys: contract.keys.iter().map(|key| key.name.clone()).collect(),
            audit: contract.audit.iter().map(|audit| audit.event.clone()).collect(),
            kv: contract.kv.is_some(),
            confirm: BTreeSet::new(),
            origins: BTreeMap::new(),
        };
        grant.bind_origins(contract, config)?;
        Ok(grant)
    }

    /// This grant for a new version of the plugin that asks for no more: the same permissions, as far as the new version
    /// still asks for them. `None` when it asks for more, so that the tenant has to accept it.
    pub fn carried_over(&self, old: &Contract, new: &Contract, digest: Digest) -> Option<Self> {
        covers(old, new).then(|| {
            let asked = asked(new);
            let mut grant = self.clone();
            grant.digest = digest;
            grant.actions.retain(|name| asked.contains(&Permission::Action(name.clone())));
            grant.http.retain(|name| asked.contains(&Permission::Http(name.clone())));
            grant.keys.retain(|name| asked.contains(&Permission::Key(name.clone())));
            grant.audit.retain(|name| asked.contains(&Permission::Audit(name.clone())));
            grant.kv &= new.kv.is_some();
            grant.confirm.retain(|name| new.action(name).is_some());
            grant.origins.retain(|name, _| new.rule(name).is_some());
            grant
        })
    }

    /// The grant after the tenant accepted a new version as shown: everything it asks for, save what the tenant withheld
    /// from the old one.
    ///
    /// # Errors
    /// A config value does not fit into a rule's URL.
    pub fn accepted(&self, old: &Contract, new: &Contract, digest: Digest, config: &Value) -> Result<Self, GrantError> {
        let mut grant = Self::all(new, digest, config)?;
        for (permission, _) in self.permissions(old).iter().filter(|(_, granted)| !granted) {
            if asked(new).contains(permission) {
                grant.remove(new, permission)?;
            }
        }
        let still_a_write = |name: &&String| new.action(name).is_some_and(|action| action.effect == Effect::Write);
        grant.confirm = self.confirm.iter().filter(still_a_write).cloned().collect();
        Ok(grant)
    }

    /// Takes the origins that `config` gives now. This is a change of the grant: injected credentials follow the origin.
    ///
    /// # Errors
    /// A config value does not fit into a rule's URL; nothing is changed then.
    pub fn bind_origins(&mut self, contract: &Contract, config: &Value) -> Result<(), GrantError> {
        let origin = |rule: &crate::model::HttpRule| match rule.url.resolve(config) {
            Ok(url) => Ok((rule.name.clone(), url.origin().clone())),
            Err(error) => Err(GrantError::Origin { rule: rule.name.clone(), error }),
        };
        self.origins = contract.origin_rules().map(origin).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Everything `contract` asks for, each with whether this grant has it, in the order of the contract.
    pub fn permissions(&self, contract: &Contract) -> Vec<(Permission, bool)> {
        asked(contract).into_iter().map(|permission| (permission.clone(), self.has(&permission))).collect()
    }

    /// Whether this grant has `permission`.
    pub fn has(&self, permission: &Permission) -> bool {
        match permission {
            Permission::Action(name) => self.actions.contains(name),
            Permission::Http(name) => self.http.contains(name),
            Permission::Key(name) => self.keys.contains(name),
            Permission::Audit(name) => self.audit.contains(name),
            Permission::Kv => self.kv,
            Permission::Confirm(name) => self.confirm.contains(name),
        }
    }

    /// Grants `permission`.
    ///
    /// # Errors
    /// The contract does not ask for it, or it raises something that is no write.
    pub fn add(&mut self, contract: &Contract, permission: &Permission) -> Result<(), GrantError> {
        self.change(contract, permission, true)
    }

    /// Takes `permission` away.
    ///
    /// # Errors
    /// The contract does not ask for it, so a slip of the pen is not taken for a narrower grant.
    pub fn remove(&mut self, contract: &Contract, permission: &Permission) -> Result<(), GrantError> {
        self.change(contract, permission, false)
    }

    fn change(&mut self, contract: &Contract, permission: &Permission, give: bool) -> Result<(), GrantError> {
        if let Permission::Confirm(name) = permission
            && let Some(action) = contract.action(name)
        {
            if give && action.effect != Effect::Write {
                return Err(GrantError::NotAWrite { action: name.clone(), effect: action.effect });
            }
        } else {
            let asked = asked(contract);
            if !asked.contains(permission) {
                let texts: Vec<String> = asked.iter().map(ToString::to_string).collect();
                let text = permission.to_string();
                let near = nearest(&text, texts.iter().map(String::as_str)).map(str::to_owned);
                return Err(GrantError::NotAsked { permission: text, near });
            }
        }
        let (set, name) = match permission {
            Permission::Action(name) => (&mut self.actions, name),
            Permission::Http(name) => (&mut self.http, name),
            Permission::Key(name) => (&mut self.keys, name),
            Permission::Audit(name) => (&mut self.audit, name),
            Permission::Confirm(name) => (&mut self.confirm, name),
            Permission::Kv => {
                self.kv = give;
                return Ok(());
            }
        };
        if give {
            set.insert(name.clone());
        } else {
            set.remove(name);
        }
        Ok(())
    }

    /// Identifies this grant.
    pub fn fingerprint(&self) -> Digest {
        crate::fingerprint("opsiq grant 1", self)
    }
}

fn asked(contract: &Contract) -> Vec<Permission> {
    let actions = contract.actions.iter().map(|action| Permission::Action(action.name.clone()));
    let http = contract.http.iter().map(|rule| Permission::Http(rule.name.clone()));
    let keys = contract.keys.iter().map(|key| Permission::Key(key.name.clone()));
    let audit = contract.audit.iter().map(|audit| Permission::Audit(audit.event.clone()));
    actions.chain(http).chain(keys).chain(audit).chain(contract.kv.map(|_| Permission::Kv)).collect()
}

/// The command that gives an installation a permission, as denials print it.
pub fn grant_command(installation: &str, permission: &Permission) -> String {
    format!("opsiq connector grant {installation} --add {permission}")
}
