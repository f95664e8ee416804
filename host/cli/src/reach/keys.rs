//! Keys of installations.

use opsiq_gate::KeyView;
use serde_json::{Value, json};

use super::Reach;
use crate::failure::Failure;
use crate::remote::path;
use crate::secret::Given;

fn at(installation: &str, what: &[&str]) -> String {
    path(&[&["v1", "installations", installation, "keys"], what].concat())
}

fn value(given: &Given) -> Value {
    json!({ "secret": given.text.as_str(), "verbatim": given.verbatim })
}

impl Reach<'_> {
    /// Gives a key its first value.
    pub(crate) async fn key_set(&self, installation: &str, key: &str, given: Given) -> Result<KeyView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.keys().set(actor, installation, key, given.secret).await?),
            Self::There(api) => api.put_json(at(installation, &[key]), &value(&given)).await,
        }
    }

    /// Gives a key a new value.
    pub(crate) async fn key_rotate(&self, installation: &str, key: &str, given: Given) -> Result<KeyView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.keys().rotate(actor, installation, key, given.secret).await?),
            Self::There(api) => api.post_json(at(installation, &[key, "rotate"]), &value(&given)).await,
        }
    }

    /// Destroys an old version.
    pub(crate) async fn key_retire(&self, installation: &str, key: &str, version: u64) -> Result<KeyView, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.keys().retire(actor, installation, key, version).await?),
            Self::There(api) => api.delete(at(installation, &[key, "versions", &version.to_string()])).await,
        }
    }

    /// The keys of an installation.
    pub(crate) async fn keys(&self, installation: &str) -> Result<Vec<KeyView>, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.keys().list(actor, installation).await?),
            Self::There(api) => api.get(at(installation, &[])).await,
        }
    }
}
