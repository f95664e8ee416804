//! What a contract asks for, in plain words, for the screen a tenant reads before installing.

use std::fmt::Write as _;

use serde::Serialize;

use super::Risk;
use crate::caller::Effect;
use crate::grant::Permission;
use crate::model::{Action, AuditDecl, Contract, HttpRule, KeyDecl, WebhookDecl, is_safe_method};
use crate::units::show_size;

/// One thing a contract asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ask {
    /// What it is, such as `http:refunds`; a [`Permission`] where it can be withheld.
    pub about: String,
    /// [`Risk::Ordinary`] or [`Risk::High`].
    pub risk: Risk,
    /// In a sentence.
    pub text: String,
}

/// Everything `contract` asks for, in its order.
pub fn asks(contract: &Contract) -> Vec<Ask> {
    let world = contract.plugin.world.map(|world| Ask {
        about: "plugin".to_owned(),
        risk: Risk::High,
        text: format!("runs in compatibility mode: {}, not for this host", world.what()),
    });
    let actions = contract.actions.iter().map(action);
    let rules = contract.http.iter().map(|r| rule(r));
    let keys = contract.keys.iter().map(key);
    let webhooks = contract.webhooks.iter().map(webhook);
    let events = contract.audit.iter().map(audit);
    let kv = contract.kv.map(|kv| {
        let text = format!("keeps at most {} of its own data", show_size(kv.max));
        Ask { about: Permission::Kv.to_string(), risk: Risk::Ordinary, text }
    });
    world.into_iter().chain(actions).chain(rules).chain(keys).chain(webhooks).chain(events).chain(kv).collect()
}

pub(super) fn action(action: &Action) -> Ask {
    let (risk, how) = match action.effect {
        Effect::Read => (Risk::Ordinary, "changes nothing"),
        Effect::Write => (Risk::High, "changes something"),
        Effect::RiskyWrite => (Risk::High, "changes something, each time after your approval"),
    };
    let roles: Vec<&str> = action.roles.iter().map(|role| role.as_str()).collect();
    let text = format!("{}: {how}; for {} or the scope {}", action.title, roles.join(", "), action.scope);
    Ask { about: Permission::Action(action.name.clone()).to_string(), risk, text }
}

pub(super) fn rule(rule: &HttpRule) -> Ask {
    let writes = rule.methods.iter().any(|method| !is_safe_method(method));
    let mut text = format!("sends {} to {}", rule.methods.join(", "), rule.url);
    if let Some(inject) = &rule.inject {
        let keys: Vec<&str> = inject.value.keys().collect();
        let _ = write!(text, " with the key {} in `{}`", keys.join(", "), inject.header);
    }
    if rule.safe {
        text += "; its publisher claims that this changes nothing";
    }
    if !rule.url.origin_config().is_empty() {
        text += "; where to is what you set in its config";
    }
    let plain = rule.url.as_str().starts_with("http://");
    if plain {
        text += "; without encryption";
    }
    let high = (writes && !rule.safe) || plain;
    Ask {
        about: Permission::Http(rule.name.clone()).to_string(),
        risk: if high { Risk::High } else { Risk::Ordinary },
        text,
    }
}

pub(super) fn key(key: &KeyDecl) -> Ask {
    let uses: Vec<&str> = key.uses.iter().map(|u| u.as_str()).collect();
    let text = format!("asks for the key {} to {}: {}", key.name, uses.join(", "), key.purpose);
    Ask { about: Permission::Key(key.name.clone()).to_string(), risk: Risk::High, text }
}

pub(super) fn webhook(webhook: &WebhookDecl) -> Ask {
    let text = format!("takes webhooks signed in the form {} with the key {}", webhook.scheme, webhook.key);
    Ask { about: format!("webhook:{}", webhook.name), risk: Risk::Ordinary, text }
}

pub(super) fn audit(audit: &AuditDecl) -> Ask {
    let text = format!("writes {} into your audit log", audit.event);
    Ask { about: Permission::Audit(audit.event.clone()).to_string(), risk: Risk::Ordinary, text }
}
