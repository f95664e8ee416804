//! The section `[egress]` of `opsiq.toml`: whom the way out asks for addresses, and whom it trusts.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use opsiq_egress::{EgressConfig, SystemResolver};
use serde::Deserialize;

use crate::config::FILE;
use crate::refusal::{Class, Refusal, Stage};

/// Where a name server answers unless the file says otherwise.
const DNS: u16 = 53;
/// Longer files hold no roots.
const MOST: u64 = 4 << 20;

/// What the operator says of the way out. Every value is checked where it stands, so that a mistake is told by its line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Outside {
    /// Asked instead of the system's.
    #[serde(default)]
    name_servers: Vec<NameServer>,
    /// Files of certificates trusted beside the web's.
    #[serde(default)]
    roots: Vec<RootFile>,
    /// Hosts that may speak TLS 1.2.
    #[serde(default)]
    tls12: BTreeSet<HostName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct NameServer(SocketAddr);

impl TryFrom<String> for NameServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS)).or_else(|_| text.parse());
        let wrong = |_| format!("`{text}` is no address such as \"10.0.0.53\" or \"[fd00::53]:5353\"");
        address.map(Self).map_err(wrong)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
struct RootFile(PathBuf);

impl TryFrom<PathBuf> for RootFile {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        if path.is_absolute() { Ok(Self(path)) } else { Err(format!("{} must be an absolute path", path.display())) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct HostName(String);

impl TryFrom<String> for HostName {
    type Error = String;

    /// As the host of a URL is shown, since that is what it is compared with.
    fn try_from(text: String) -> Result<Self, String> {
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let ip = text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if ip || text.split('.').all(label) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no host name in lower case, such as \"legacy.example.com\""))
        }
    }
}

impl Outside {
    /// What it makes of the way out.
    ///
    /// # Errors
    /// A file of roots that cannot be read or holds none.
    pub(crate) fn config(&self) -> Result<EgressConfig, Refusal> {
        let failed = |what: String, fix: &str| {
            Refusal::new(Class::Unavailable, Stage::Run, "engine.unavailable", what, fix.to_owned())
        };
        let servers: Vec<_> = self.name_servers.iter().map(|server| server.0).collect();
        let resolver = SystemResolver::asking(&servers);
        let resolver = resolver.map_err(|error| failed(error.to_string(), "see opsiq doctor"))?;
        let tls12_hosts = self.tls12.iter().map(|host| host.0.clone()).collect();
        let mut config = EgressConfig { resolver: Arc::new(resolver), roots: Vec::new(), tls12_hosts };
        for RootFile(path) in &self.roots {
            let wrong = |what: &str| {
                let what = format!("{}, named by [egress] roots in {FILE}, {what}", path.display());
                failed(what, "name a file of certificates in PEM form, or take it out")
            };
            let size = std::fs::metadata(path).map_err(|error| wrong(&format!("cannot be read: {}", error.kind())))?;
            if size.len() > MOST {
                return Err(wrong("is too large"));
            }
            let pem = std::fs::read(path).map_err(|error| wrong(&format!("cannot be read: {}", error.kind())))?;
            match config.trust(&pem) {
                Ok(0) => return Err(wrong("holds no certificate")),
                Ok(_) => {}
                Err(error) => return Err(wrong(&format!("is broken: {error}"))),
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_have_a_port_of_their_own_or_the_common_one() {
        let text = "name-servers = [\"10.0.0.53\", \"[fd00::53]:5353\", \"fd00::53\"]";
        let outside: Outside = toml::from_str(text).unwrap();
        let expected = ["10.0.0.53:53", "[fd00::53]:5353", "[fd00::53]:53"];
        assert_eq!(outside.name_servers, expected.map(|text| NameServer(text.parse().unwrap())));
    }

    #[test]
    fn roots_that_are_none_are_told_by_their_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let outside = Outside { roots: vec![RootFile(file.path().to_owned())], ..Outside::default() };
        let refusal = outside.config().err().unwrap();
        assert!(refusal.message.contains(file.path().to_str().unwrap()), "{refusal}");
        assert!(refusal.message.contains("[egress] roots in opsiq.toml"), "{refusal}");
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nAA\n").unwrap();
        assert!(outside.config().is_err());
        assert!(Outside::default().config().is_ok());
    }
}
