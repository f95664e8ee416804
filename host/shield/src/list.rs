//! Which addresses may come: networks that are blocked, and, where any is named, networks that alone are allowed.
//!
//! A block wins, however wide it is and however narrow an allowance is: an allowance that won would be a hole that whoever
//! placed the block does not see. Of several blocks the narrowest is named. Networks are kept in a trie, so that a look takes as
//! many steps as an address has bits, at most.
//!
//! IPv4 networks in IPv6 form are IPv4 networks, as addresses are; `::/0` is all of IPv6 and nothing of IPv4.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::{Prefix, PrefixMap, PrefixSet};
use serde::{Deserialize, Serialize};

use crate::address::ClientIp;

/// What a rule says of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It may come. Where one network is allowed, no other but those may.
    Allow,
    /// It may not.
    Block,
}

impl Verdict {
    /// The word it is stored and shown as.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a list says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may come: by the allowance named, or because none is needed.
    Permitted(Option<IpNet>),
    /// It may not: by this block.
    Blocked(IpNet),
    /// It may not: others are allowed, and it is none of them.
    NotAllowed,
}

impl Decision {
    /// Whether the address may come.
    pub const fn permits(self) -> bool {
        matches!(self, Self::Permitted(_))
    }
}

/// The rules of one owner.
#[derive(Debug, Clone, Default)]
pub struct AddressList {
    v4: Family<Ipv4Net>,
    v6: Family<Ipv6Net>,
}

impl AddressList {
    /// Adds a rule. A network is either allowed or blocked: the last word counts.
    pub fn put(&mut self, network: IpNet, verdict: Verdict) {
        match canonical(network) {
            IpNet::V4(network) => self.v4.put(network, verdict),
            IpNet::V6(network) => self.v6.put(network, verdict),
        }
    }

    /// Removes the rule about exactly this network, and answers what it said.
    pub fn remove(&mut self, network: IpNet) -> Option<Verdict> {
        match canonical(network) {
            IpNet::V4(network) => self.v4.remove(network),
            IpNet::V6(network) => self.v6.remove(network),
        }
    }

    /// What the rule about exactly this network says.
    pub fn get(&self, network: IpNet) -> Option<Verdict> {
        match canonical(network) {
            IpNet::V4(network) => self.v4.rules.get(&network).map(Rule::verdict),
            IpNet::V6(network) => self.v6.rules.get(&network).map(Rule::verdict),
        }
    }

    /// What the list says of an address, and by which rule.
    pub fn decide(&self, client: ClientIp) -> Decision {
        let decided = match IpAddr::from(client) {
            IpAddr::V4(address) => self.v4.decide(address.into()),
            IpAddr::V6(address) => self.v6.decide(address.into()),
        };
        decided.unwrap_or_else(|| {
            let any_allowed = self.v4.allowed + self.v6.allowed > 0;
            if any_allowed { Decision::NotAllowed } else { Decision::Permitted(None) }
        })
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<(IpNet, Verdict)> for AddressList {
    fn from_iter<I: IntoIterator<Item = (IpNet, Verdict)>>(rules: I) -> Self {
        let mut list = Self::default();
        for (network, verdict) in rules {
            // What depends on others follows when all are there.
            let _ = match canonical(network) {
                IpNet::V4(network) => list.v4.set(network, verdict),
                IpNet::V6(network) => list.v6.set(network, verdict),
            };
        }
        list.v4.settle(Ipv4Net::default());
        list.v6.settle(Ipv6Net::default());
        list
    }
}

/// A rule in its trie.
#[derive(Debug, Clone, Copy)]
enum Rule<P> {
    Block,
    /// With the narrowest block around it, which wins. So the narrowest rule about an address says all about it, and one look
    /// into one trie decides.
    Allow(Option<P>),
}

impl<P> Rule<P> {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Block => Verdict::Block,
            Self::Allow(_) => Verdict::Allow,
        }
    }
}

/// The rules of one family of addresses.
#[derive(Clone)]
struct Family<P: Prefix> {
    rules: PrefixMap<P, Rule<P>>,
    /// Those that block, once more.
    blocks: PrefixSet<P>,
    allowed: usize,
}

impl<P: Prefix> Default for Family<P> {
    fn default() -> Self {
        Self { rules: PrefixMap::default(), blocks: PrefixSet::default(), allowed: 0 }
    }
}

impl<P: Prefix + Copy + Into<IpNet>> Family<P> {
    fn put(&mut self, network: P, verdict: Verdict) {
        let was = self.set(network, verdict);
        if verdict == Verdict::Block || was == Some(Verdict::Block) {
            self.settle(network);
        } else {
            let around = self.blocks.get_lpm(&network).copied();
            self.rules.insert(network, Rule::Allow(around));
        }
    }

    /// The same, without what follows for the rules within it; answers what was said of it.
    fn set(&mut self, network: P, verdict: Verdict) -> Option<Verdict> {
        let was = self.take(network);
        if verdict == Verdict::Block {
            self.blocks.insert(network);
            self.rules.insert(network, Rule::Block);
        } else {
            self.allowed += 1;
            self.rules.insert(network, Rule::Allow(None));
        }
        was
    }

    fn remove(&mut self, network: P) -> Option<Verdict> {
        let was = self.take(network);
        if was == Some(Verdict::Block) {
            self.settle(network);
        }
        was
    }

    fn take(&mut self, network: P) -> Option<Verdict> {
        let was = self.rules.remove(&network).map(|rule| rule.verdict());
        match was {
            Some(Verdict::Block) => drop(self.blocks.remove(&network)),
            Some(Verdict::Allow) => self.allowed -= 1,
            None => {}
        }
        was
    }

    /// Finds anew which block is around each allowance within a network.
    fn settle(&mut self, network: P) {
        for (allowed, rule) in self.rules.children_mut(&network) {
            if let Rule::Allow(around) = rule {
                *around = self.blocks.get_lpm(allowed).copied();
            }
        }
    }

    /// What a rule says of an address, if there is one about it.
    fn decide(&self, address: P) -> Option<Decision> {
        let (network, rule) = self.rules.get_lpm(&address)?;
        Some(match rule {
            Rule::Block => Decision::Blocked((*network).into()),
            Rule::Allow(Some(block)) => Decision::Blocked((*block).into()),
            Rule::Allow(None) => Decision::Permitted(Some((*network).into())),
        })
    }

    fn len(&self) -> usize {
        self.allowed + self.blocks.len()
    }
}

impl<P: Prefix> fmt::Debug for Family<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

/// Why a text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// It has not the form of one.
    #[error("`{0}` is no network: write 192.0.2.0/24, 2001:db8::/32, or one address")]
    Form(String),
    /// It has bits set that its length leaves out.
    #[error("`{given}` is an address in a network: did you mean {network}, or the address alone?")]
    Bits {
        /// What was written.
        given: IpNet,
        /// The network it is in.
        network: IpNet,
    },
}

/// Reads a network as rules name it: `192.0.2.0/24`, `2001:db8::/32`, or one address. An IPv4 network in IPv6 form is the IPv4
/// network.
///
/// # Errors
/// What is none, and one whose address has bits beyond its length, where it would be unclear what is meant.
pub fn network(text: &str) -> Result<IpNet, NotANetwork> {
    let shown = || NotANetwork::Form(text.chars().filter(char::is_ascii_graphic).take(64).collect());
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => IpNet::from_str(text).map_err(|_| shown())?,
    };
    let network = canonical_form(network);
    if network.addr() != network.network() {
        return Err(NotANetwork::Bits { given: network, network: network.trunc() });
    }
    Ok(network)
}

/// The one form of a network.
fn canonical(network: IpNet) -> IpNet {
    canonical_form(network).trunc()
}

/// The bits before an IPv4 address in IPv6 form.
const MAPPED: u8 = 96;

fn canonical_form(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED => match v6.addr().to_ipv4_mapped() {
            Some(address) => IpNet::new_assert(address.into(), v6.prefix_len() - MAPPED),
            None => network,
        },
        network => network,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(text: &str) -> ClientIp {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn list(rules: &[(&str, Verdict)]) -> AddressList {
        rules.iter().map(|(text, verdict)| (network(text).unwrap(), *verdict)).collect()
    }

    use Verdict::{Allow, Block};

    #[test]
    fn a_block_wins_and_where_some_are_allowed_others_are_not() {
        let rules = [("10.0.0.0/8", Allow), ("10.1.0.0/16", Block), ("10.1.2.0/24", Allow), ("2001:db8::/32", Allow)];
        let list = list(&rules);
        for (address, decision) in [
            ("10.2.0.1", Decision::Permitted(Some("10.0.0.0/8".parse().unwrap()))),
            ("10.1.2.3", Decision::Blocked("10.1.0.0/16".parse().unwrap())),
            ("::ffff:10.1.2.3", Decision::Blocked("10.1.0.0/16".parse().unwrap())),
            ("192.0.2.1", Decision::NotAllowed),
            ("2001:db8::1", Decision::Permitted(Some("2001:db8::/32".parse().unwrap()))),
            ("2001:db9::1", Decision::NotAllowed),
        ] {
            assert_eq!(list.decide(client(address)), decision, "{address}");
        }
        assert_eq!(list.len(), 4);
        assert_eq!(AddressList::default().decide(client("192.0.2.1")), Decision::Permitted(None));
    }

    #[test]
    fn the_whole_and_single_addresses_are_networks_too() {
        let all = list(&[("0.0.0.0/0", Block)]);
        assert!(!all.decide(client("192.0.2.1")).permits() && all.decide(client("::1")).permits());
        let all = list(&[("::/0", Block)]);
        assert!(all.decide(client("192.0.2.1")).permits() && !all.decide(client("::1")).permits());
        let one = list(&[("2001:db8::1/128", Block), ("192.0.2.7", Block)]);
        assert!(!one.decide(client("2001:db8::1")).permits() && one.decide(client("2001:db8::2")).permits());
        assert!(!one.decide(client("192.0.2.7")).permits() && one.decide(client("192.0.2.8")).permits());
        let mapped = list(&[("::ffff:192.0.2.0/120", Block)]);
        assert_eq!(mapped.decide(client("192.0.2.9")), Decision::Blocked("192.0.2.0/24".parse().unwrap()));
        let mapped = list(&[("::ffff:0:0/96", Block)]);
        assert!(!mapped.decide(client("203.0.113.1")).permits() && mapped.decide(client("2001:db8::1")).permits());
    }

    #[test]
    fn the_last_word_about_a_network_counts_and_a_rule_goes_as_it_came() {
        let mut list = list(&[("192.0.2.0/24", Allow), ("192.0.2.0/24", Block)]);
        assert_eq!((list.len(), list.get("192.0.2.0/24".parse().unwrap())), (1, Some(Block)));
        assert_eq!(list.remove("::ffff:192.0.2.0/120".parse().unwrap()), Some(Block));
        assert_eq!(list.remove("192.0.2.0/24".parse().unwrap()), None);
        assert!(list.is_empty() && list.decide(client("192.0.2.1")).permits());
    }

    #[test]
    fn what_names_no_network_is_refused() {
        for text in
            ["", "192.0.2.0/33", "192.0.2", "192.0.2.0/-1", "2001:db8::/129", "fe80::1%eth0", "a/8", "192.0.2.0/ 8"]
        {
            assert!(matches!(network(text), Err(NotANetwork::Form(_))), "{text}");
        }
        for (text, meant) in [("192.0.2.7/24", "192.0.2.0/24"), ("::ffff:192.0.2.7/120", "192.0.2.0/24")] {
            assert!(network(text).unwrap_err().to_string().contains(meant), "{text}");
        }
    }

    proptest! {
        /// The trie says what looking at every rule says.
        #[test]
        fn a_list_decides_as_its_rules_do(
            rules in prop::collection::vec((any::<u32>(), 0..=32_u8, any::<bool>()), 0..40),
            addresses in prop::collection::vec(any::<u32>(), 20),
            one_by_one in any::<bool>(),
        ) {
            let rules: Vec<(IpNet, Verdict)> = rules
                .into_iter()
                .map(|(bits, length, allow)| {
                    // Few bits, so that rules overlap.
                    let network = IpNet::new_assert(IpAddr::V4((bits & 0x8181_8181).into()), length).trunc();
                    (network, if allow { Allow } else { Block })
                })
                .collect();
            let mut list: AddressList = rules.iter().copied().collect();
            // One by one, with some that came and went, makes the same list as all at once.
            if one_by_one {
                list = AddressList::default();
                for (network, verdict) in &rules {
                    let other = if *verdict == Allow { Block } else { Allow };
                    let around = network.supernet().unwrap_or(*network);
                    let before = list.get(around);
                    list.put(around, other);
                    list.remove(around);
                    if let Some(before) = before {
                        list.put(around, before);
                    }
                    list.put(*network, *verdict);
                }
            }
            let last = |network: IpNet| rules.iter().rev().find(|(one, _)| *one == network).map(|(_, verdict)| *verdict);
            for address in addresses.into_iter().map(|bits| IpAddr::V4((bits & 0x8181_8181).into())) {
                let covers = |verdict| {
                    let covering = rules.iter().map(|(network, _)| *network).filter(|one| one.contains(&address));
                    covering.filter(|one| last(*one) == Some(verdict)).max_by_key(IpNet::prefix_len)
                };
                let any_allowed = rules.iter().any(|(network, _)| last(*network) == Some(Allow));
                let wanted = match (covers(Block), covers(Allow)) {
                    (Some(block), _) => Decision::Blocked(block),
                    (None, None) if any_allowed => Decision::NotAllowed,
                    (None, allowed) => Decision::Permitted(allowed),
                };
                prop_assert_eq!(list.decide(address.into()), wanted);
            }
        }
    }
}
