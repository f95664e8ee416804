//! What a request passes before anything of it is looked at: where it comes from, whether that address may come, how it
//! behaved before, and how much came from it lately. Once it is known who sends it, how much they sent.
//!
//! Who proves to be somebody is not refused for what others did from the same address: a session, a signature, or at the
//! sign-in the token of a known device opens what the score of an address closes, and a known device has a limit of its own.
//! What the operator's list says opens for nobody. The operator's socket passes none of this.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT};
use opsiq_contract::Principal;
use opsiq_gate::{Actor, Class as RefusalClass, Host, Refusal, Stage};
use opsiq_shield::{Class, ClientIp, Exceeded, Limiter, Proxies, Scope, Signal, Standing, Thresholds};

use crate::problem::Problem;
use crate::settings::{SLOW_COST, ShieldSettings};

/// The header in which a device shows that somebody signed in from it before.
pub(crate) const DEVICE: &str = "opsiq-device";
/// Paths that browsers and feed readers ask for unbidden.
const USUAL: [&str; 3] = ["/", "/favicon.ico", "/robots.txt"];

/// The shield of this front door.
pub(crate) struct Guard {
    pub(crate) proxies: Proxies,
    thresholds: Thresholds,
    limiter: Limiter,
    refused: [[AtomicU64; Scope::ALL.len()]; Class::ALL.len()],
}

/// How a request came in.
#[derive(Default)]
pub(crate) struct Entered {
    /// Why it is refused unless it proves to be somebody's.
    pub(crate) doubt: Option<Refusal>,
    /// Whether it came with the token of a known device.
    pub(crate) known: bool,
}

/// Whether a request is counted when it is asked whether it may come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is.
    Taken,
    /// Not yet: it may be one that was taken before, sent again by somebody else to use up what its sender may.
    Not,
}

impl Guard {
    pub(crate) fn new(settings: &ShieldSettings) -> Self {
        let ShieldSettings { proxies, rates, thresholds } = settings.clone();
        Self { proxies, thresholds, limiter: Limiter::new(rates, Instant::now()), refused: Default::default() }
    }

    /// Where a request comes from.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<ClientIp, Problem> {
        self.proxies.client(peer, headers).map_err(|error| Problem::malformed("request.hops", error.to_string()))
    }

    /// Lets a request of `class` in, or not. `asked` is whether it is still to be asked who sends it. While there is no host
    /// behind the door, limits alone are asked about.
    pub(crate) async fn enter(
        &self,
        host: Option<&Host>,
        class: Class,
        asked: bool,
        client: ClientIp,
        headers: &HeaderMap,
    ) -> Result<Entered, Problem> {
        let Some(host) = host else {
            self.take_of_address(class, client, 1).map_err(refusal)?;
            return Ok(Entered::default());
        };
        let shield = host.shield();
        if let Err(refusal) = shield.lets_come(client) {
            return Err(shield.refused(client, None, refusal).await.into());
        }
        if is_odd(headers) {
            shield.note(client, Signal::OddHeaders);
        }
        let standing = shield.standing(client, self.thresholds);
        let device = match (class, headers.get(DEVICE).and_then(|token| token.to_str().ok())) {
            (Class::SignIn, Some(token)) => shield.device(token).await?,
            _ => None,
        };
        if let Some(device) = device {
            return match self.take(class, Scope::Account, &device, 1) {
                Ok(()) => Ok(Entered { doubt: None, known: true }),
                Err(exceeded) => Err(shield.refused(client, None, refusal(exceeded)).await.into()),
            };
        }
        let doubt = match standing {
            Standing::Refused(after) => Some(scored(after)),
            Standing::Free | Standing::Slow => None,
        };
        let cost = if standing == Standing::Free { 1 } else { SLOW_COST };
        let refused = match (self.take_of_address(class, client, cost), doubt) {
            (Err(exceeded), _) => {
                shield.note(client, Signal::BeyondLimit);
                refusal(exceeded)
            }
            (Ok(()), Some(doubt)) if !asked => doubt,
            (Ok(()), doubt) => return Ok(Entered { doubt, known: false }),
        };
        Err(shield.refused(client, None, refused).await.into())
    }

    /// Refuses a request that did not prove to be anybody's, for how its address behaved.
    pub(crate) async fn doubted(&self, host: &Host, client: ClientIp, doubt: Refusal) -> Problem {
        host.shield().refused(client, None, doubt).await.into()
    }

    /// Refuses a request of whoever it was found to be from that is beyond their limits, and counts it unless told to ask for
    /// room alone.
    pub(crate) async fn known(
        &self,
        host: &Host,
        class: Class,
        client: ClientIp,
        actor: &Actor,
        counted: Counted,
    ) -> Result<(), Problem> {
        let Some(tenant) = actor.tenant() else { return Ok(()) };
        let (scope, name) = match actor.principal() {
            Principal::User { name } => (Scope::Account, name.as_str()),
            Principal::Client { name } => (Scope::Client, name.as_str()),
            Principal::Operator => return Ok(()),
        };
        let whole = format!("{tenant}/{name}");
        let ask = |scope, whose: &[u8]| match counted {
            Counted::Taken => self.take(class, scope, whose, 1),
            Counted::Not => self.told(class, scope, self.limiter.has_room(class, scope, whose, Instant::now())),
        };
        let mut taken = ask(scope, whole.as_bytes());
        // Who signs in is counted with the tenant when it says which.
        if class != Class::SignIn {
            taken = taken.and_then(|()| ask(Scope::Tenant, tenant.as_str().as_bytes()));
        }
        match taken {
            Ok(()) => Ok(()),
            Err(exceeded) => Err(host.shield().refused(client, Some(actor), refusal(exceeded)).await.into()),
        }
    }

    /// Counts a sign-in to a tenant by somebody who shows no known device.
    pub(crate) async fn stranger(&self, host: &Host, client: ClientIp, tenant: &str) -> Result<(), Problem> {
        match self.take(Class::SignIn, Scope::Tenant, tenant.as_bytes(), 1) {
            Ok(()) => Ok(()),
            Err(exceeded) => Err(host.shield().refused(client, None, refusal(exceeded)).await.into()),
        }
    }

    fn take_of_address(&self, class: Class, client: ClientIp, cost: u32) -> Result<(), Exceeded> {
        self.take(class, Scope::Address, client.near().to_string().as_bytes(), cost)?;
        self.take(class, Scope::Network, client.wide().to_string().as_bytes(), 1)
    }

    fn take(&self, class: Class, scope: Scope, whose: &[u8], cost: u32) -> Result<(), Exceeded> {
        self.told(class, scope, self.limiter.take(class, scope, whose, cost, Instant::now()))
    }

    /// Counts what is refused.
    fn told(&self, class: Class, scope: Scope, taken: Result<(), Exceeded>) -> Result<(), Exceeded> {
        taken.inspect_err(|_| {
            self.refused[class as usize][scope as usize].fetch_add(1, Ordering::Relaxed);
        })
    }

    /// What was refused, in the text form of Prometheus, and what the host behind the door counts.
    pub(crate) fn metrics(&self, host: Option<&Host>) -> String {
        let name = "opsiq_rate_refused_total";
        let mut text = format!("# HELP {name} Requests beyond a limit.\n# TYPE {name} counter\n");
        for class in Class::ALL {
            for scope in Scope::ALL {
                let count = self.refused[class as usize][scope as usize].load(Ordering::Relaxed);
                if count > 0 {
                    let (class, scope) = (class.as_str(), scope.as_str());
                    let _ = writeln!(text, "{name}{{class=\"{class}\",scope=\"{scope}\"}} {count}");
                }
            }
        }
        text + &host.map_or_else(String::new, |host| host.shield().metrics(self.thresholds))
    }
}

/// Notes that somebody asked for what is not there.
pub(crate) fn lost(host: &Host, client: ClientIp, path: &str) {
    if !USUAL.contains(&path) {
        host.shield().note(client, Signal::UnknownPath);
    }
}

/// Beyond a limit.
fn refusal(exceeded: Exceeded) -> Refusal {
    let of = match exceeded.scope {
        Scope::Address => "this address",
        Scope::Network => "the network around this address",
        Scope::Account => "this account",
        Scope::Client => "this API client",
        Scope::Tenant => "this tenant",
    };
    let message = format!("{} of {} are taken from {of}, and more came", exceeded.rate, exceeded.class.as_str());
    let fix = "send fewer; the operator sets limits under [server] in opsiq.toml";
    let refusal = Refusal::new(RefusalClass::Limited, Stage::Authenticate, exceeded.rule(), message, fix);
    Refusal { retry_after: Some(exceeded.retry_after), ..refusal }
}

/// For how its address behaved.
fn scored(after: std::num::NonZeroU32) -> Refusal {
    let message = "requests from this address looked for what is not theirs";
    let fix = "sign in from a known device, or wait; the operator sees why: opsiq firewall scores";
    let refusal = Refusal::new(RefusalClass::Limited, Stage::Authenticate, "score.refused", message, fix);
    Refusal { retry_after: Some(after), ..refusal }
}

/// Whether headers are not what browsers and ordinary programs send: no name of a program, or a browser's without what every
/// browser sends with it.
fn is_odd(headers: &HeaderMap) -> bool {
    let Some(agent) = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) else { return true };
    let browser = agent.starts_with("Mozilla/");
    browser && !(headers.contains_key(ACCEPT_LANGUAGE) && headers.contains_key(ACCEPT_ENCODING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_is_none_is_odd_and_a_plain_tool_is_not() {
        let odd = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            is_odd(&headers)
        };
        assert!(odd(&[]));
        assert!(odd(&[("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")]));
        assert!(!odd(&[("user-agent", "curl/8.5.0")]));
        assert!(!odd(&[("user-agent", "Mozilla/5.0"), ("accept-language", "de"), ("accept-encoding", "br")]));
    }
}
