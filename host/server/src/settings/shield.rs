//! Of `[server]`, what stands before the door: whose word about hops is taken, how many requests may come, and what a score
//! leads to. Tenants change none of it.

use opsiq_shield::{Class, HopHeader, Proxies, Rates, Thresholds, network};

use super::Values;
use super::keys::{Form, Key};

/// The keys, in the order they are explained in.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "trusted-proxies",
        form: Form::Shield,
        default: "",
        doc: "Networks of your own proxies: of a request that comes through them, the address is the last in forwarded-header that is none of theirs. From anybody else that header means nothing.",
    },
    Key {
        name: "forwarded-header",
        form: Form::Shield,
        default: "x-forwarded-for",
        doc: "Where those proxies say whom they pass on: x-forwarded-for or forwarded. A request with it twice, or with a hop that names no address, is answered 400.",
    },
    Key {
        name: "limit-sign-in",
        form: Form::Shield,
        default: "address 60/min network 600/min account 30/min tenant 300/min",
        doc: "Steps of signing in: from one address (IPv6: 64 bits), from its network (24 bits, IPv6: 48), with one known device, and to one tenant without a known device. What is not named keeps its default; `off` for none. Each node counts for itself.",
    },
    Key {
        name: "limit-reads",
        form: Form::Shield,
        default: "address 60000/min network 600000/min account 12000/min client 60000/min tenant 240000/min",
        doc: "Requests that read: from one address, from its network, of one person, of one API client, of one tenant.",
    },
    Key {
        name: "limit-writes",
        form: Form::Shield,
        default: "address 60000/min network 600000/min account 12000/min client 60000/min tenant 240000/min",
        doc: "Requests that change or run something.",
    },
    Key {
        name: "limit-exports",
        form: Form::Shield,
        default: "address 60/min network 600/min account 30/min client 60/min tenant 120/min",
        doc: "Requests that take much out at once.",
    },
    Key {
        name: "limit-health",
        form: Form::Shield,
        default: "address 6000/min network 60000/min",
        doc: "Requests for what is for everybody: health, documents.",
    },
    Key {
        name: "score-slow",
        form: Form::Number(1, 10_000),
        default: "50",
        doc: "From how many points on the requests of an address cost ten times as much of its limits. opsiq firewall scores shows points, and for what.",
    },
    Key {
        name: "score-refuse",
        form: Form::Number(1, 10_000),
        default: "100",
        doc: "From how many points on they are refused, unless they prove to be somebody's, until points have faded: by half in ten minutes.",
    },
];

/// What costs of limits are multiplied by for an address that is slowed.
pub(crate) const SLOW_COST: u32 = 10;

/// What stands before the door, as it is in force.
#[derive(Debug, Clone)]
pub struct ShieldSettings {
    /// The operator's proxies.
    pub proxies: Proxies,
    /// How many requests may come.
    pub rates: Rates,
    /// What scores lead to.
    pub thresholds: Thresholds,
}

impl Values<'_> {
    pub(super) fn shield(&mut self) -> ShieldSettings {
        let header = self.text("forwarded-header").parse::<HopHeader>();
        let header = header.unwrap_or_else(|error| {
            self.wrong("forwarded-header", &error.to_string());
            HopHeader::default()
        });
        let words: Vec<String> = self.text("trusted-proxies").split([' ', ',']).map(str::to_owned).collect();
        let mut trusted = Vec::new();
        for word in words.iter().filter(|word| !word.is_empty()) {
            match network(word) {
                Ok(network) => trusted.push(network),
                Err(error) => self.wrong("trusted-proxies", &error.to_string()),
            }
        }
        let mut rates = Rates::default();
        for class in Class::ALL {
            let name = format!("limit-{}", class.as_str());
            let default = KEYS.iter().find(|key| key.name == name).map_or("", |key| key.default);
            let said = self.text(&name).to_owned();
            // What is said comes after the default, which it replaces in part.
            if let Err(error) = rates.set(class, default).and_then(|()| rates.set(class, &said)) {
                self.wrong(&name, &error.to_string());
            }
        }
        let points = |this: &mut Self, name| u32::try_from(this.amount(name)).unwrap_or(u32::MAX);
        let thresholds = Thresholds { slow: points(self, "score-slow"), refuse: points(self, "score-refuse") };
        if thresholds.slow > thresholds.refuse {
            self.wrong("score-slow", "must not be above score-refuse");
        }
        ShieldSettings { proxies: Proxies::new(trusted, header), rates, thresholds }
    }
}
