//! A key that lies elsewhere, above the root key: the root key's file then holds nothing that opens by itself.
//!
//! What was decided: a KMS *closes* the root key's file, with a key that never leaves it (AES-256-GCM done there), rather than
//! doing each wrapping of the host's, or deriving the root key. So the host asks it once at a start and once at a rotation, goes
//! on when it cannot be reached meanwhile, and everything else (rotation, backups, several nodes) is the same as with a file in
//! clear. The price is that the opened root key is in this host's memory while it runs, as it is without a KMS. A stolen
//! disk, or copy of the file, opens nothing; and taking the key of the KMS away ends every copy.
//!
//! The closed form names the key that closed it, so that this one may be replaced: name the new one in the configuration, and
//! rotate the root key.
//!
//! Another KMS is another implementation of [`Kms`]: two calls.

mod pkcs11;

use std::fmt::Debug;
use std::sync::Arc;

use opsiq_vault::RootKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use pkcs11::Token;

use crate::config;
use crate::host::HostOptions;
use crate::refusal::{Class, Refusal, Stage};

/// Keys that never leave where they are.
pub(crate) trait Kms: Debug + Send + Sync {
    /// What kind it is, as the closed form names it.
    fn kind(&self) -> &'static str;

    /// Where it is and which key of it closes, for people.
    fn shown(&self) -> String;

    /// The name of the key that closes from now on.
    fn key(&self) -> &str;

    /// Closes `plain`, bound to `about`, by [`Kms::key`], which is made when there is none. Answers the nonce and what was closed
    /// with its tag.
    ///
    /// # Errors
    /// What it said, without anything secret.
    fn close(&self, plain: &[u8], about: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String>;

    /// Opens what its key called `key` closed.
    ///
    /// # Errors
    /// As [`Kms::close`]; when it was changed, or is about something else.
    fn open(&self, key: &str, nonce: &[u8], closed: &[u8], about: &[u8]) -> Result<Zeroizing<Vec<u8>>, String>;
}

/// A root key as a KMS closed it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Closed {
    /// The version of this form.
    #[serde(rename = "opsiq-root-closed")]
    version: u32,
    /// The id of the root key within.
    root: String,
    /// The kind of KMS.
    kms: String,
    /// Its key.
    key: String,
    nonce: String,
    /// The text of the root key, closed.
    #[serde(rename = "closed")]
    sealed: String,
}

const VERSION: u32 = 1;

impl Closed {
    /// The closed form of a root key.
    pub(crate) fn of(root: &RootKey, kms: &dyn Kms) -> Result<Self, Refusal> {
        let (id, key) = (root.id().to_string(), kms.key().to_owned());
        let (nonce, closed) = kms
            .close(root.to_text().as_bytes(), about(kms.kind(), &key, &id).as_bytes())
            .map_err(|why| unusable(kms, &why))?;
        Ok(Self {
            version: VERSION,
            root: id,
            kms: kms.kind().to_owned(),
            key,
            nonce: hex::encode(nonce),
            sealed: hex::encode(closed),
        })
    }

    /// What a file holds, if it is this form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let closed: Self = serde_json::from_str(text).ok()?;
        (closed.version == VERSION).then_some(closed)
    }

    /// As a file holds it.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The root key.
    pub(crate) fn open(&self, kms: Option<&dyn Kms>, at: &str) -> Result<RootKey, Refusal> {
        let Self { root, kms: kind, key, nonce, sealed, .. } = self;
        let Some(kms) = kms.filter(|kms| kms.kind() == kind) else {
            return Err(Refusal::new(
                Class::Denied,
                Stage::Admin,
                "root.closed",
                format!("{at} holds root key {root}, closed by the key {key} of a {kind} token, and none is named"),
                "name the token: [root] in opsiq.toml, or OPSIQ_ROOT_PKCS11_MODULE, _TOKEN and _KEY; and its PIN",
            ));
        };
        let (Ok(nonce), Ok(closed)) = (hex::decode(nonce), hex::decode(sealed)) else { return Err(changed(at)) };
        let text = kms.open(key, &nonce, &closed, about(kind, key, root).as_bytes());
        let text = text.map_err(|why| unusable(kms, &why))?;
        let text = std::str::from_utf8(&text).map_err(|_| changed(at))?;
        RootKey::parse(text).ok().filter(|opened| opened.id().to_string() == *root).ok_or_else(|| changed(at))
    }
}

/// The KMS that the operator named, if any.
pub(crate) fn named(options: &HostOptions) -> Result<Option<Arc<dyn Kms>>, Refusal> {
    let token = match &options.token {
        Some(token) => Some(token.clone()),
        None => config::token(&options.data)?,
    };
    let Some(token) = token else { return Ok(None) };
    Ok(Some(Arc::new(pkcs11::Pkcs11Token::new(token, options.token_pin.clone())?)))
}

/// What is authenticated with a closed root key.
fn about(kind: &str, key: &str, root: &str) -> String {
    format!("opsiq/1/root-closed\n{kind}\n{key}\n{root}")
}

fn unusable(kms: &dyn Kms, why: &str) -> Refusal {
    Refusal::new(
        Class::Unavailable,
        Stage::Admin,
        "root.kms",
        format!("{} cannot be used: {why}", kms.shown()),
        "see that the module, the token, its key and the PIN are the ones in [root] of opsiq.toml, and that it can be reached",
    )
}

fn changed(at: &str) -> Refusal {
    Refusal::new(
        Class::Tampered,
        Stage::Admin,
        "root.malformed",
        format!("{at} holds a closed root key that was changed"),
        "put a copy of the file back that was kept apart",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that keeps nothing secret.
    #[derive(Debug)]
    struct Glass(&'static str);

    impl Kms for Glass {
        fn kind(&self) -> &'static str {
            "glass"
        }

        fn shown(&self) -> String {
            "a glass".to_owned()
        }

        fn key(&self) -> &str {
            self.0
        }

        fn close(&self, plain: &[u8], about: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
            Ok((about.to_vec(), plain.to_vec()))
        }

        fn open(&self, key: &str, nonce: &[u8], closed: &[u8], about: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
            let same = nonce == about && key.starts_with("pane");
            same.then(|| Zeroizing::new(closed.to_vec())).ok_or_else(|| "it is about something else".to_owned())
        }
    }

    #[test]
    fn a_closed_root_key_opens_by_the_key_it_names() {
        let root = RootKey::generate();
        let text = Closed::of(&root, &Glass("pane-1")).unwrap().text();
        let closed = Closed::parse(&text).unwrap();
        // Another key of the same KMS closes by now.
        assert_eq!(closed.open(Some(&Glass("pane-2")), "x").unwrap().id(), root.id());
        let refused = closed.open(None, "the file").unwrap_err();
        assert_eq!(refused.code, "root.closed");
        assert!(refused.message.contains(&root.id().to_string()) && refused.message.contains("pane-1"), "{refused}");
        let other = text.replace("pane-1", "pane-3");
        assert_eq!(Closed::parse(&other).unwrap().open(Some(&Glass("pane-1")), "x").unwrap_err().code, "root.kms");
        let other = text.replace(&root.id().to_string(), "0123456789abcdef");
        assert!(Closed::parse(&other).unwrap().open(Some(&Glass("pane-1")), "x").is_err());
        assert!(Closed::parse("opsiq-root-1-00").is_none() && Closed::parse("{}").is_none());
    }
}
