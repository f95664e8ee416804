//! The catalogue.

use std::sync::Arc;

use http::Method;
use opsiq_contract::{Contract, Digest, PluginRef};
use opsiq_gate::{CatalogueEntry, Registering};
use serde::Deserialize;
use serde_json::Value;

use super::Reach;
use crate::failure::{Exit, Failure};
use crate::remote::{Api, Sent, WASM, path};

/// What registering did.
#[derive(Deserialize)]
pub(crate) struct Registered {
    pub(crate) plugin: PluginRef,
    pub(crate) digest: Digest,
    pub(crate) new: bool,
}

/// What a server thinks of a component.
#[derive(Deserialize)]
struct Judged {
    inspection: Value,
}

/// Why a server would not register a component, and all that it found.
pub(crate) async fn judged(api: &Api, component: Vec<u8>) -> Result<(Value, Vec<Problem>), Failure> {
    let sent = Sent::new(Method::POST, "/v1/plugins/inspect".to_owned()).body(WASM, component);
    let whole: Value = api.ask(sent).await?;
    let unknown = |error: serde_json::Error| Failure::internal("the server's answer is of another form", &error);
    let Judged { inspection } = Judged::deserialize(&whole).map_err(unknown)?;
    let problems = inspection.get("problems").cloned().unwrap_or_default();
    Ok((whole, Vec::<Problem>::deserialize(&problems).map_err(unknown)?))
}

/// One reason not to register a component.
#[derive(Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: String,
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    pub(crate) fix: String,
}

impl Reach<'_> {
    /// Registers a component for all tenants, telling `watch` how far it is where that can be seen.
    pub(crate) async fn register(
        &self,
        component: Vec<u8>,
        watch: &(dyn Fn(Registering) + Send + Sync),
    ) -> Result<(Registered, Arc<Contract>), Failure> {
        match self {
            Self::Here(host, actor) => {
                let made = host.catalogue().register_watched(actor, component, watch).await?;
                Ok((Registered { plugin: made.plugin, digest: made.digest, new: made.new }, made.contract))
            }
            Self::There(api) => {
                watch(Registering::Checking);
                let sent = Sent::new(Method::POST, "/v1/plugins".to_owned()).body(WASM, component);
                let made: Registered = api.ask(sent).await?;
                let contract = self.contract(&made.digest).await?;
                Ok((made, contract))
            }
        }
    }

    /// The registered plugins.
    pub(crate) async fn plugins(&self) -> Result<Vec<CatalogueEntry>, Failure> {
        match self {
            Self::Here(host, _) => Ok(host.catalogue().list().await?),
            Self::There(api) => api.all("/v1/plugins").await,
        }
    }

    /// The plugin that `selector` names.
    pub(crate) async fn plugin(&self, selector: &str) -> Result<CatalogueEntry, Failure> {
        match self {
            Self::Here(host, _) => Ok(host.catalogue().find(selector).await?),
            Self::There(api) => api.get(path(&["v1", "plugins", selector])).await,
        }
    }

    /// The contract of a registered plugin.
    pub(crate) async fn contract(&self, digest: &Digest) -> Result<Arc<Contract>, Failure> {
        match self {
            Self::Here(host, _) => Ok(host.catalogue().contract(digest).await?),
            Self::There(api) => {
                let path = path(&["v1", "plugins", &digest.to_string(), "contract"]);
                let came = api.whole(Sent::new(Method::GET, path)).await?;
                Contract::from_canonical_json(&came.body).map(Arc::new).map_err(|error| {
                    Failure::new(Exit::Internal, "addr.answer", "the server's contract cannot be read here")
                        .detail(error.to_string())
                        .fix("use the opsiq of that server's version; opsiq version")
                })
            }
        }
    }
}
