//! Every attack beside a neighbour, for what does not depend on time: the neighbour has no error, memory stays within what
//! the attacker's calls may have, the process lives, and how each attacking call ended is typed and on record. How long
//! the neighbour's calls take, `make bench` measures.

use std::collections::BTreeMap;

use crate::crash::entries;
use crate::neighbour::{Attack, BY_CALLS, BY_COMPONENTS, Ends, Live, Seen, Site, most_memory, under, wrong};

/// Each attacker attacks at least so often.
const LEAST: usize = 2;

/// Attacks, and answers how that ended.
fn beside(site: &Site, live: &Live, attack: &Attack) -> Ends {
    site.prepare(attack);
    live.forget_peak();
    let before = live.memory().0;
    let mut seen = Seen::default();
    let calls = || {
        let mut left = 40;
        seen.calls(live, || {
            left -= 1;
            left >= 0
        });
    };
    let ((), ends) = under(site, live, attack, LEAST, calls);
    assert!(seen.errors.is_empty(), "{}: the neighbour's calls ended in {:?}", attack.name, seen.errors);
    let (peak, most) = (live.memory().1, most_memory(attack, before));
    assert!(peak <= most, "{}: {} MiB, {} before", attack.name, peak >> 20, before >> 20);
    if let Some(wrong) = wrong(attack, &ends) {
        panic!("row {}: {wrong}", attack.row);
    }
    eprintln!("{:2} {}: {ends:?}, {} MiB", attack.row, attack.name, peak >> 20);
    ends
}

#[test]
fn every_attack_by_calls_leaves_the_neighbour_alone() {
    let site = Site::new(BY_CALLS);
    let live = site.stream();
    let mut all = Ends::new();
    for attack in BY_CALLS {
        for (code, times) in beside(&site, &live, attack) {
            *all.entry(code).or_default() += times;
        }
    }
    live.end();
    assert!(site.server.is_untouched(), "somebody connected where nobody may");
    site.world.run(&["doctor"]).ok();

    let mut recorded: BTreeMap<String, u64> = BTreeMap::new();
    for entry in entries(&site.world) {
        for name in ["outcome", "rule"] {
            let text = entry["fields"][name]["value"].as_str().or(entry["fields"][name].as_str());
            *recorded.entry(text.unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    for (code, times) in all {
        // Refusals for want of room are counted together, and who leaves is no end of the plugin's.
        if code.starts_with("limit.") || code == "stream.cancelled" {
            continue;
        }
        let on_record = recorded.get(&code).copied().unwrap_or_default();
        assert!(on_record >= times, "{code}: {times} answers, {on_record} on record: {recorded:?}");
    }
}

#[test]
fn every_attack_by_components_leaves_the_neighbour_alone() {
    let site = Site::new(&[]);
    let live = site.rig();
    for attack in BY_COMPONENTS {
        beside(&site, &live, attack);
    }
    live.end();
    site.world.run(&["doctor"]).ok();
}
