//! The people of a tenant, their sessions, custom roles, and whom calls are about.

use http::{HeaderValue, Method};
use opsiq_contract::{CustomRole, Role};
use opsiq_gate::{Invitation, SessionView, SubjectView, UserView};
use serde::Deserialize;
use serde_json::json;

use super::Reach;
use crate::failure::Failure;
use crate::remote::{Sent, path};

/// How many sessions ended.
#[derive(Deserialize)]
struct Ended {
    ended: u64,
}

fn at(name: &str, what: &str) -> String {
    path(&["v1", "users", name, what])
}

fn role_at(name: &str) -> String {
    path(&["v1", "roles", name])
}

impl Reach<'_> {
    /// Adds a user.
    pub(crate) async fn user_add(&self, name: &str, role: Role) -> Result<UserView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().add(actor, name, role).await?),
            Self::There(api) => api.post_json("/v1/users".to_owned(), &json!({ "name": name, "role": role })).await,
        }
    }

    /// Gives a user another role.
    pub(crate) async fn user_role(&self, name: &str, role: &str) -> Result<UserView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().assign(actor, name, role).await?),
            Self::There(api) => api.put_json(at(name, "role"), &json!({ "role": role })).await,
        }
    }

    /// Invites a user, who is added first where a role is named.
    pub(crate) async fn user_invite(&self, name: &str, role: Option<&str>) -> Result<Invitation, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().invite(actor, name, role).await?),
            Self::There(api) => api.post_json(at(name, "invite"), &json!({ "role": role })).await,
        }
    }

    /// Takes away what a user signs in with.
    pub(crate) async fn user_reset(&self, name: &str) -> Result<Invitation, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().reset_2fa(actor, name).await?),
            Self::There(api) => api.post(at(name, "reset-second-factor")).await,
        }
    }

    /// A user's sessions.
    pub(crate) async fn user_sessions(&self, name: &str) -> Result<Vec<SessionView>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().sessions(actor, name).await?),
            Self::There(api) => api.get(at(name, "sessions")).await,
        }
    }

    /// Ends one session of a user, or all of them; answers how many.
    pub(crate) async fn user_revoke(&self, name: &str, session: Option<&str>) -> Result<u64, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().revoke(actor, name, session).await?),
            Self::There(api) => {
                let path = path(&["v1", "users", name, "sessions", "end"]);
                let Ended { ended } = api.post_json(path, &json!({ "session": session })).await?;
                Ok(ended)
            }
        }
    }

    /// Ends what a user may do.
    pub(crate) async fn user_disable(&self, name: &str) -> Result<UserView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().disable(actor, name).await?),
            Self::There(api) => api.post(at(name, "disable")).await,
        }
    }

    /// Lets a user act again.
    pub(crate) async fn user_enable(&self, name: &str) -> Result<UserView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().enable(actor, name).await?),
            Self::There(api) => api.post(at(name, "enable")).await,
        }
    }

    /// The users.
    pub(crate) async fn users(&self) -> Result<Vec<UserView>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.users().list(actor).await?),
            Self::There(api) => api.all("/v1/users").await,
        }
    }

    /// Makes a custom role, or replaces the one of that name.
    pub(crate) async fn role_create(&self, role: CustomRole, replace: bool) -> Result<CustomRole, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.roles().create(actor, role, replace).await?),
            Self::There(api) => {
                let CustomRole { name, base, actions, scopes, acts, confirm_writes } = role;
                let put = json!({
                    "base": base, "actions": actions, "scopes": scopes, "acts": acts, "confirm_writes": confirm_writes,
                });
                let put = Sent::new(Method::PUT, role_at(&name)).json(&put);
                api.ask(if replace { put } else { put.header("if-none-match", HeaderValue::from_static("*")) }).await
            }
        }
    }

    /// The custom roles.
    pub(crate) async fn roles(&self) -> Result<Vec<CustomRole>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.roles().list(actor).await?),
            Self::There(api) => api.get("/v1/roles".to_owned()).await,
        }
    }

    /// One of them.
    pub(crate) async fn role(&self, name: &str) -> Result<CustomRole, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.roles().show(actor, name).await?),
            Self::There(api) => api.get(role_at(name)).await,
        }
    }

    /// Removes one.
    pub(crate) async fn role_remove(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.roles().remove(actor, name).await?),
            Self::There(api) => api.delete(role_at(name)).await,
        }
    }

    /// What is known of a data subject.
    pub(crate) async fn subject(&self, subject: &str) -> Result<SubjectView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.subjects().show(actor, subject).await?),
            Self::There(api) => api.get(path(&["v1", "subjects", subject])).await,
        }
    }

    /// Erases one.
    pub(crate) async fn subject_erase(&self, subject: &str) -> Result<SubjectView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.subjects().erase(actor, subject).await?),
            Self::There(api) => api.post(path(&["v1", "subjects", subject, "erase"])).await,
        }
    }
}
