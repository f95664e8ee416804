//! What one version of a contract asks beyond another.
//!
//! A version that asks for no more keeps its grant; one that asks for more is held until the tenant accepts the difference
//! shown here. When in doubt a change counts as more: what cannot be proven narrower (a schema, a URL, an effect) has to be
//! looked at by a human.

mod asks;
mod schemas;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use asks::{Ask, asks};

use crate::caller::Effect;
use crate::foreign::World;
use crate::limits::AXES;
use crate::model::{Action, Contract, HttpRule, KeyDecl};

/// How a change, or something asked for, weighs on the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Asks for less than before.
    Less,
    /// Changes words, not authority.
    Notice,
    /// Asks for more, of an ordinary kind.
    Ordinary,
    /// Asks for something that spends money, moves credentials, or takes a guard away.
    High,
}

impl Risk {
    /// Whether the tenant has to accept it.
    pub fn asks_more(self) -> bool {
        self >= Self::Ordinary
    }
}

/// One difference between two contracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is about, such as `http:refunds`.
    pub about: String,
    /// How it weighs.
    pub risk: Risk,
    /// What changes, in a sentence.
    pub text: String,
}

/// Whether `new` asks for nothing that `old` did not: a partial order, up to contracts that ask the same in other words.
pub fn covers(old: &Contract, new: &Contract) -> bool {
    diff(old, new).iter().all(|change| !change.risk.asks_more())
}

/// Every difference from `old` to `new`, in the order of a contract. Empty when they are the same.
pub fn diff(old: &Contract, new: &Contract) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    changes.plugin(old, new);
    changes.named("action", (&old.actions, &new.actions), |a| &a.name, asks::action, Changes::action);
    changes.named(
        "http",
        (&old.http, &new.http),
        |r| &r.name,
        |r| asks::rule(r),
        |changes, about, a, b| changes.rule(about, a, b),
    );
    changes.named("key", (&old.keys, &new.keys), |k| &k.name, asks::key, Changes::key);
    changes.named(
        "webhook",
        (&old.webhooks, &new.webhooks),
        |w| &w.name,
        asks::webhook,
        |changes, about, a, b| {
            changes.differs(about, Risk::Ordinary, "its scheme", &a.scheme, &b.scheme);
            changes.differs(about, Risk::Ordinary, "its key", &a.key, &b.key);
        },
    );
    changes.named("audit", (&old.audit, &new.audit), |a| &a.event, asks::audit, |_, _, _, _| {});
    changes.amount(
        "kv",
        "storage",
        old.kv.map_or(0, |kv| kv.max),
        new.kv.map_or(0, |kv| kv.max),
        crate::units::show_size,
    );
    changes.config(old, new);
    changes.limits(old, new);
    changes.0
}

struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, about: &str, risk: Risk, text: impl Into<String>) {
        self.0.push(Change { about: about.to_owned(), risk, text: text.into() });
    }

    /// A value that either stays or changes, without more or less.
    fn differs<T: PartialEq + std::fmt::Display + ?Sized>(
        &mut self,
        about: &str,
        risk: Risk,
        what: &str,
        old: &T,
        new: &T,
    ) {
        if old != new {
            self.add(about, risk, format!("{what} changes from `{old}` to `{new}`"));
        }
    }

    fn amount(&mut self, about: &str, what: &str, old: u64, new: u64, show: fn(u64) -> String) {
        if old != new {
            let risk = if new > old { Risk::Ordinary } else { Risk::Less };
            self.add(about, risk, format!("{what} changes from {} to {}", show(old), show(new)));
        }
    }

    /// A set in which more elements are more authority.
    fn set<T: Ord + std::fmt::Display>(
        &mut self,
        about: &str,
        risk: Risk,
        what: &str,
        old: &BTreeSet<T>,
        new: &BTreeSet<T>,
    ) {
        for gained in new.difference(old) {
            self.add(about, risk, format!("{what} gains {gained}"));
        }
        for lost in old.difference(new) {
            self.add(about, Risk::Less, format!("{what} loses {lost}"));
        }
    }

    /// Compares two lists by name: what is new, what is gone, and what differs.
    fn named<T>(
        &mut self,
        kind: &str,
        (old, new): (&[T], &[T]),
        name: impl Fn(&T) -> &String,
        ask: impl Fn(&T) -> Ask,
        compare: impl Fn(&mut Self, &str, &T, &T),
    ) {
        for after in new {
            let about = format!("{kind}:{}", name(after));
            if let Some(before) = old.iter().find(|before| name(before) == name(after)) {
                compare(self, &about, before, after);
            } else {
                let Ask { risk, text, .. } = ask(after);
                self.add(&about, risk, format!("new: {text}"));
            }
        }
        for before in old.iter().filter(|before| !new.iter().any(|after| name(after) == name(before))) {
            self.add(&format!("{kind}:{}", name(before)), Risk::Less, "no longer asked for");
        }
    }

    fn plugin(&mut self, old: &Contract, new: &Contract) {
        let (a, b) = (&old.plugin, &new.plugin);
        self.differs("plugin", Risk::High, "the publisher", &a.publisher, &b.publisher);
        self.differs("plugin", Risk::High, "the plugin", &a.id, &b.id);
        if a.kind != b.kind {
            let risk = if b.kind == crate::model::PluginKind::Connector { Risk::Ordinary } else { Risk::Less };
            self.add("plugin", risk, format!("the kind changes from {} to {}", a.kind, b.kind));
        }
        let world = |world: Option<World>| world.map_or(crate::component::WIT_PACKAGE, World::as_str);
        self.differs("plugin", Risk::High, "the world it was made for", world(a.world), world(b.world));
        self.differs("plugin", Risk::Notice, "the version", &a.version, &b.version);
        self.differs("plugin", Risk::Notice, "the title", &a.title, &b.title);
        self.differs("plugin", Risk::Notice, "the summary", &a.summary, &b.summary);
    }

    fn action(&mut self, about: &str, old: &Action, new: &Action) {
        if old.effect != new.effect {
            // A lower effect is no promise that less happens, but an approval or a record that no longer does.
            self.add(about, Risk::High, format!("the effect changes from {} to {}", old.effect, new.effect));
        }
        self.differs(about, Risk::Ordinary, "the scope", &old.scope, &new.scope);
        self.set(about, Risk::Ordinary, "its roles", &old.roles, &new.roles);
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        self.set(about, Risk::Ordinary, "its rules", &set(&old.http), &set(&new.http));
        self.set(about, Risk::Ordinary, "its keys", &set(&old.keys), &set(&new.keys));
        if old.call != new.call {
            self.add(about, Risk::Notice, "the component is called in another way");
        }
        self.params(about, old, new);
        // What a human reads before approving: the preview, or the title where there is none.
        let (read, title) = if new.effect == Effect::Read {
            (Risk::Notice, Risk::Notice)
        } else {
            (Risk::Ordinary, if new.preview.is_none() { Risk::Ordinary } else { Risk::Notice })
        };
        let text = |action: &Action| action.preview.as_ref().map_or_else(String::new, ToString::to_string);
        self.differs(about, read, "the preview", &text(old), &text(new));
        self.differs(about, title, "the title", &old.title, &new.title);
    }

    fn params(&mut self, about: &str, old: &Action, new: &Action) {
        for (what, a, b) in [("parameters", &old.params, &new.params), ("result", &old.result, &new.result)] {
            let (before, after) = (schemas::marks(a.source()), schemas::marks(b.source()));
            for (pointer, mark) in before.difference(&after) {
                self.add(about, Risk::High, format!("the {what} no longer mark {pointer} as {mark}"));
            }
            for (pointer, mark) in after.difference(&before) {
                self.add(about, Risk::Less, format!("the {what} now mark {pointer} as {mark}"));
            }
        }
        if schemas::shape(old.params.source()) != schemas::shape(new.params.source()) {
            self.add(about, Risk::Ordinary, "it takes other parameters");
        }
        if schemas::shape(old.result.source()) != schemas::shape(new.result.source()) {
            self.add(about, Risk::Notice, "it answers in another form");
        }
    }

    fn rule(&mut self, about: &str, old: &HttpRule, new: &HttpRule) {
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        self.set(about, Risk::Ordinary, "its methods", &set(&old.methods), &set(&new.methods));
        self.set(about, Risk::Ordinary, "its query", &set(&old.query), &set(&new.query));
        match (old.url.includes(&new.url), new.url.includes(&old.url)) {
            (true, true) => self.differs(about, Risk::Notice, "its URL", old.url.as_str(), new.url.as_str()),
            (true, false) => self.differs(about, Risk::Less, "its URL", old.url.as_str(), new.url.as_str()),
            (false, _) => self.differs(about, Risk::High, "its URL", old.url.as_str(), new.url.as_str()),
        }
        match (&old.inject, &new.inject) {
            (a, b) if a == b => {}
            (Some(_), None) => self.add(about, Risk::Less, "no credential is injected any more"),
            (_, Some(inject)) => self.add(about, Risk::High, format!("injects `{}: {}`", inject.header, inject.value)),
            (None, None) => {}
        }
        self.amount(about, "the largest request", old.request_max, new.request_max, crate::units::show_size);
        self.amount(about, "the largest answer", old.response_max, new.response_max, crate::units::show_size);
        self.amount(about, "redirects", old.redirects.into(), new.redirects.into(), |n| n.to_string());
        match (old.safe, new.safe) {
            (false, true) => self.add(about, Risk::High, "now claims that its POST changes nothing"),
            (true, false) => self.add(about, Risk::Less, "no longer claims that its POST changes nothing"),
            _ => {}
        }
    }

    fn key(&mut self, about: &str, old: &KeyDecl, new: &KeyDecl) {
        self.set(about, Risk::High, "its uses", &old.uses, &new.uses);
        if new.derive.is_some() && old.derive.is_some() && new.derive != old.derive {
            self.add(about, Risk::High, "keys are derived from it in another way");
        }
        self.differs(about, Risk::Notice, "its purpose", &old.purpose, &new.purpose);
    }

    fn config(&mut self, old: &Contract, new: &Contract) {
        let shape = |contract: &Contract| {
            contract.config.as_ref().map(|config| (schemas::shape(config.source()), schemas::marks(config.source())))
        };
        match (shape(old), shape(new)) {
            (Some(_), None) => self.add("config", Risk::Less, "there is nothing to set any more"),
            (None, Some(_)) => self.add("config", Risk::Ordinary, "there is something to set"),
            (a, b) if a != b => self.add("config", Risk::Ordinary, "there are other things to set"),
            _ => {}
        }
    }

    fn limits(&mut self, old: &Contract, new: &Contract) {
        for axis in AXES {
            let (a, b) = (old.limits.get(axis).or(axis.default), new.limits.get(axis).or(axis.default));
            if a == b {
                continue;
            }
            let show = |value: Option<u64>| value.map_or_else(|| "no limit".to_owned(), |value| axis.unit.show(value));
            let risk = if axis.stricter(a, b) == b { Risk::Less } else { Risk::Ordinary };
            self.add("limits", risk, format!("{} changes from {} to {}", axis.key, show(a), show(b)));
        }
    }
}
