//! Who acts: the operator, or a user of a tenant named by `--as`.
//!
//! This names a principal and proves nothing: whoever may open the data directory and its root key may act as anyone in
//! it. Role, state and tenant are looked up by the gate at each act.

use clap::Args;
use opsiq_contract::{Principal, TenantId};
use opsiq_gate::Actor;

use crate::failure::Failure;

/// How `--as` names the operator; a user of that name is TENANT/operator.
const OPERATOR: &str = "operator";

/// Options that name the acting principal.
#[derive(Clone, Debug, Args)]
pub(crate) struct Acting {
    /// Who acts: TENANT/USER, USER together with --tenant, or `operator`, who also acts when nobody is named.
    #[arg(long = "as", global = true, env = "OPSIQ_AS", value_name = "WHO")]
    user: Option<String>,

    /// The tenant of the acting user.
    #[arg(long, global = true, env = "OPSIQ_TENANT", value_name = "TENANT")]
    tenant: Option<String>,
}

impl Acting {
    /// What `--tenant` says, for commands of the operator about a tenant.
    pub(crate) fn tenant(&self) -> Result<Option<TenantId>, Failure> {
        let tenant = self.tenant.as_deref().map(str::parse).transpose();
        tenant.map_err(|error: opsiq_contract::IdError| Failure::usage(error.to_string()))
    }

    /// Whether a user is named, rather than the operator or nobody.
    pub(crate) fn is_user(&self) -> bool {
        self.user.as_deref().is_some_and(|user| user != OPERATOR)
    }

    /// The user named, or the operator.
    pub(crate) fn anyone(&self) -> Result<Actor, Failure> {
        if self.is_user() { self.user() } else { Ok(Actor::operator()) }
    }

    /// The user called TENANT/USER.
    pub(crate) fn user_called(user: &str) -> Result<Actor, Failure> {
        Self { user: Some(user.to_owned()), tenant: None }.user()
    }

    /// The user named as TENANT/USER, if one is.
    pub(crate) fn named_user(&self) -> Result<Option<String>, Failure> {
        let actor = self.anyone()?;
        Ok(match (actor.tenant(), actor.principal()) {
            (Some(tenant), Principal::User { name }) => Some(format!("{tenant}/{name}")),
            _ => None,
        })
    }

    /// The same, with another user named in place of this one.
    pub(crate) fn named(&self, user: &str) -> Result<Actor, Failure> {
        let tenant = self.tenant.clone().filter(|_| !user.contains('/'));
        Self { user: Some(user.to_owned()), tenant }.user()
    }

    /// The user named, as acts of a tenant need one.
    pub(crate) fn user(&self) -> Result<Actor, Failure> {
        let Some(user) = self.user.as_ref().filter(|user| *user != OPERATOR) else {
            return Err(Failure::usage("which user of which tenant acts?").fix("--as TENANT/USER, or set OPSIQ_AS"));
        };
        let (tenant, name) = match user.split_once('/') {
            Some((tenant, name)) => {
                if let Some(other) = self.tenant.as_deref().filter(|other| *other != tenant) {
                    return Err(Failure::usage(format!("--as {user} and --tenant {other} name two tenants")));
                }
                (tenant, name)
            }
            None => match &self.tenant {
                Some(tenant) => (tenant.as_str(), user.as_str()),
                None => {
                    return Err(Failure::usage(format!("which tenant's {user}?"))
                        .fix(format!("--as TENANT/{user}, or --tenant TENANT --as {user}")));
                }
            },
        };
        let tenant: TenantId =
            tenant.parse().map_err(|error: opsiq_contract::IdError| Failure::usage(error.to_string()))?;
        Ok(Actor::user(tenant, name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Acting, Principal};

    fn acting(user: Option<&str>, tenant: Option<&str>) -> Acting {
        Acting { user: user.map(str::to_owned), tenant: tenant.map(str::to_owned) }
    }

    #[test]
    fn a_user_belongs_to_one_tenant() {
        for named in
            [acting(Some("acme/ada"), None), acting(Some("ada"), Some("acme")), acting(Some("acme/ada"), Some("acme"))]
        {
            let actor = named.anyone().unwrap();
            assert_eq!(actor.tenant().map(AsRef::as_ref), Some("acme"));
            assert_eq!(actor.principal(), &Principal::User { name: "ada".to_owned() });
        }
        for unclear in
            [acting(Some("ada"), None), acting(Some("acme/ada"), Some("beta")), acting(Some("Acme/ada"), None)]
        {
            assert!(unclear.anyone().is_err());
        }
    }

    #[test]
    fn the_operator_is_not_a_user() {
        for named in [acting(None, None), acting(None, Some("acme")), acting(Some("operator"), Some("acme"))] {
            assert_eq!(named.anyone().unwrap().principal(), &Principal::Operator);
            assert!(named.user().is_err());
        }
        let user = acting(Some("acme/operator"), None).anyone().unwrap();
        assert_eq!(user.principal(), &Principal::User { name: "operator".to_owned() });
    }
}
