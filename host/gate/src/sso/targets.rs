//! The section `[sso]` of `opsiq.toml`: which private addresses providers of identities may have. A tenant's owner names a provider by its
//! URL, so without the operator's word none in the host's own network is asked anything.

use ipnet::IpNet;
use opsiq_contract::PrivateTarget;
use serde::Deserialize;

/// What the operator says. Every value is checked where it stands, so that a mistake is told by its line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SsoTargets {
    #[serde(default)]
    private_target: Vec<Target>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    cidr: Network,
    port: std::num::NonZeroU16,
    #[serde(default = "yes")]
    tls: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no exact network");
        let network = text.parse::<IpNet>().map_err(|_| wrong())?;
        match network.trunc() {
            exact if exact == network && network.prefix_len() > 0 => Ok(Self(network)),
            exact if exact.prefix_len() > 0 => Err(format!("{}; write {exact}", wrong())),
            _ => Err(wrong()),
        }
    }
}

impl SsoTargets {
    /// The destinations.
    pub(crate) fn targets(self) -> Vec<PrivateTarget> {
        let target = |Target { cidr, port, tls }: Target| PrivateTarget { cidr: cidr.0, port: port.get(), tls };
        self.private_target.into_iter().map(target).collect()
    }
}
