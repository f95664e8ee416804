//! `publisher/id@version`, the name of one plugin version.

use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::id::{IdError, is_slug};

/// The name of one plugin version. Until packages are signed a publisher's name proves nothing, so a grant is bound to
/// the digest as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginRef {
    /// Who made it: a slug.
    pub publisher: String,
    /// Its name, a slug unique to the publisher.
    pub id: String,
    /// Its semantic version.
    pub version: Version,
}

impl PluginRef {
    /// `publisher/id`, the name common to all versions, which ceilings use.
    pub fn family(&self) -> String {
        format!("{}/{}", self.publisher, self.id)
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.publisher, self.id, self.version)
    }
}

impl FromStr for PluginRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        const ERROR: IdError = IdError::new("a plugin", "publisher/id@version, such as opsiq/stripe@0.1.0");
        let (publisher, rest) = text.split_once('/').ok_or(ERROR)?;
        let (id, version) = rest.split_once('@').ok_or(ERROR)?;
        if !is_slug(publisher) || !is_slug(id) {
            return Err(ERROR);
        }
        let version = Version::parse(version).map_err(|_| ERROR)?;
        Ok(Self { publisher: publisher.to_owned(), id: id.to_owned(), version })
    }
}

impl TryFrom<String> for PluginRef {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<PluginRef> for String {
    fn from(plugin: PluginRef) -> String {
        plugin.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["opsiq/stripe@0.1.0", "a/b@1.0.0-rc.1+build"] {
            assert_eq!(text.parse::<PluginRef>().unwrap().to_string(), text);
        }
        for bad in ["stripe@0.1.0", "opsiq/stripe", "opsiq/stripe@1", "Opsiq/stripe@0.1.0", "a/b/c@1.0.0", "a/@1.0.0"] {
            assert!(bad.parse::<PluginRef>().is_err(), "{bad}");
        }
    }
}
