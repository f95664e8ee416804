//! Installations and their upgrades.

use http::Method;
use opsiq_contract::Permission;
use opsiq_gate::{AcceptUpgrade, InstallPlan, InstallRequest, InstallationView, Upgrade, UpgradePlan};
use serde_json::{Value, json};

use super::Reach;
use crate::failure::{Exit, Failure};
use crate::remote::{Sent, path};

fn at(name: &str, what: &[&str]) -> String {
    path(&[&["v1", "installations", name], what].concat())
}

fn items(permissions: &[Permission]) -> Vec<String> {
    permissions.iter().map(ToString::to_string).collect()
}

fn request(request: &InstallRequest) -> Value {
    let InstallRequest { name, plugin, without, confirm, config } = request;
    json!({ "name": name, "plugin": plugin, "without": items(without), "confirm": confirm, "config": config })
}

impl Reach<'_> {
    /// What installing so would allow.
    pub(crate) async fn install_plan(&self, install: &InstallRequest) -> Result<InstallPlan, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().plan(actor, install).await?),
            Self::There(api) => api.post_json("/v1/installations/plan".to_owned(), &request(install)).await,
        }
    }

    /// Installs.
    pub(crate) async fn install(&self, install: &InstallRequest) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().install(actor, install).await?),
            Self::There(api) => api.post_json("/v1/installations".to_owned(), &request(install)).await,
        }
    }

    /// The installations.
    pub(crate) async fn installations(&self) -> Result<Vec<InstallationView>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().list(actor).await?),
            Self::There(api) => api.all("/v1/installations").await,
        }
    }

    /// One of them.
    pub(crate) async fn installation(&self, name: &str) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().get(actor, name).await?),
            Self::There(api) => api.get(at(name, &[])).await,
        }
    }

    /// What it may do now.
    pub(crate) async fn plan_of(&self, name: &str) -> Result<InstallPlan, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().plan_of(actor, name).await?),
            Self::There(api) => api.get(at(name, &["plan"])).await,
        }
    }

    /// Changes its grant.
    pub(crate) async fn change_grant(
        &self,
        name: &str,
        add: &[Permission],
        remove: &[Permission],
    ) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().change_grant(actor, name, add, remove).await?),
            Self::There(api) => {
                let change = json!({ "add": items(add), "remove": items(remove) });
                api.post_json(at(name, &["grant"]), &change).await
            }
        }
    }

    /// Replaces its config.
    pub(crate) async fn set_config(&self, name: &str, config: &Value) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().set_config(actor, name, config).await?),
            Self::There(api) => api.put_json(at(name, &["config"]), config).await,
        }
    }

    /// Stops it.
    pub(crate) async fn pause(&self, name: &str) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().pause(actor, name).await?),
            Self::There(api) => api.post(at(name, &["pause"])).await,
        }
    }

    /// Lets it run again.
    pub(crate) async fn resume(&self, name: &str) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().resume(actor, name).await?),
            Self::There(api) => api.post(at(name, &["resume"])).await,
        }
    }

    /// Removes it.
    pub(crate) async fn uninstall(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().remove(actor, name).await?),
            Self::There(api) => api.ask(Sent::new(Method::DELETE, at(name, &[]))).await,
        }
    }

    /// Upgrades it, or holds the upgrade.
    pub(crate) async fn upgrade(&self, name: &str, to: Option<&str>) -> Result<Upgrade, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().upgrade(actor, name, to).await?),
            Self::There(api) => api.post_json(at(name, &["upgrade"]), &json!({ "to": to })).await,
        }
    }

    /// The upgrade that is held, if one is.
    pub(crate) async fn held_upgrade(&self, name: &str) -> Result<Option<UpgradePlan>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().held_upgrade(actor, name).await?),
            Self::There(api) => match api.get(at(name, &["upgrade"])).await {
                Err(failure) if failure.exit == Exit::NotFound && failure.code == "upgrade.none" => Ok(None),
                held => held.map(Some),
            },
        }
    }

    /// Accepts the difference that was shown.
    pub(crate) async fn accept_upgrade(&self, name: &str, accept: &AcceptUpgrade) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().accept_upgrade(actor, name, accept).await?),
            Self::There(api) => {
                let AcceptUpgrade { digest, without, confirm, config } = accept;
                let accept =
                    json!({ "difference": digest, "without": items(without), "confirm": confirm, "config": config });
                api.post_json(at(name, &["upgrade", "accept"]), &accept).await
            }
        }
    }

    /// Rejects it.
    pub(crate) async fn reject_upgrade(&self, name: &str) -> Result<InstallationView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.installations().reject_upgrade(actor, name).await?),
            Self::There(api) => api.post(at(name, &["upgrade", "reject"])).await,
        }
    }
}
