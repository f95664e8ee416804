//! A custom role: a built-in role narrowed to a set of actions and scopes. A contract's `roles` still decides first, so a
//! custom role never allows what its base does not.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::caller::Role;
use crate::id::{is_scope, is_slug};
use crate::model::Action;

/// Entries of one set, at most.
const MOST: usize = 256;

/// A built-in role, narrowed. What is in none of its sets is outside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomRole {
    /// Its name, unique in the tenant: a slug, and none of a built-in role.
    pub name: String,
    /// The built-in role it narrows.
    pub base: Role,
    /// Actions of plugins: `publisher/id/action`, or `publisher/id/*` for all of a plugin.
    pub actions: BTreeSet<String>,
    /// Scopes, such as `refunds:create`: every action of that scope.
    pub scopes: BTreeSet<String>,
    /// Administrative acts by their names, such as `user list`, of those the base may do.
    pub acts: BTreeSet<String>,
    /// Whether every write of whoever has it waits for a person, as a risky write does.
    pub confirm_writes: bool,
}

impl CustomRole {
    /// What is not valid about it, in a sentence; `None` when all is. Acts are the gate's to know.
    pub fn fault(&self) -> Option<String> {
        if !is_slug(&self.name) || self.name.parse::<Role>().is_ok() {
            return Some(
                "a custom role's name is 1 to 63 of a-z, 0-9 and -, and not owner, admin or support".to_owned(),
            );
        }
        if [&self.actions, &self.scopes, &self.acts].iter().any(|set| set.len() > MOST) {
            return Some(format!("a custom role names at most {MOST} of a kind"));
        }
        if self.actions.is_empty() && self.scopes.is_empty() && self.acts.is_empty() {
            return Some(
                "a custom role that names nothing allows nothing: name an action, a scope or an act".to_owned(),
            );
        }
        if self.actions.iter().any(|entry| !is_selector(entry)) {
            return Some("an action is named publisher/id/action, or publisher/id/* for all of a plugin".to_owned());
        }
        if !self.scopes.iter().all(|scope| is_scope(scope)) {
            return Some("a scope is resource:action".to_owned());
        }
        None
    }

    /// Whether it reaches an action of the plugin `family`, which is `publisher/id`.
    pub fn covers(&self, family: &str, action: &Action) -> bool {
        self.scopes.contains(&action.scope)
            || self.actions.contains(&format!("{family}/{}", action.name))
            || self.actions.contains(&format!("{family}/*"))
    }
}

fn is_selector(entry: &str) -> bool {
    let parts: Vec<&str> = entry.split('/').collect();
    matches!(parts.as_slice(), [publisher, id, action]
        if is_slug(publisher) && is_slug(id) && (*action == "*" || is_slug(action)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> CustomRole {
        CustomRole {
            name: "refunds".to_owned(),
            base: Role::Admin,
            actions: ["opsiq/orders/refund-order".to_owned()].into(),
            scopes: ["orders:read".to_owned()].into(),
            acts: BTreeSet::new(),
            confirm_writes: false,
        }
    }

    #[test]
    fn what_says_nothing_or_something_else_is_a_fault() {
        assert_eq!(role().fault(), None);
        let faulty = |change: &dyn Fn(&mut CustomRole)| {
            let mut role = role();
            change(&mut role);
            role.fault().is_some()
        };
        for name in ["owner", "admin", "support", "", "A", "-a"] {
            assert!(faulty(&|role| role.name = name.to_owned()), "{name}");
        }
        for action in ["refund-order", "opsiq/orders", "opsiq/*/refund", "*", "opsiq/orders/", "opsiq/orders/a/b"] {
            assert!(faulty(&|role| role.actions = [action.to_owned()].into()), "{action}");
        }
        for scope in ["orders", "orders:", ":read", "orders:*", "a:b:c"] {
            assert!(faulty(&|role| role.scopes = [scope.to_owned()].into()), "{scope}");
        }
        assert!(faulty(&|role| (role.actions.clear(), role.scopes.clear()).0));
        assert!(faulty(&|role| role.scopes = (0..=MOST).map(|at| format!("a:b{at}")).collect()));
    }
}
