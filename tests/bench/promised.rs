//! What a tenant that does no harm is promised while another attacks, row by row of the scorecard: in one host process,
//! seen from outside of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::neighbour::{Attack, BY_CALLS, BY_COMPONENTS, Live, Measured, Site, most_memory, wrong};

/// Measures the attacks whose names hold `only`, or one of each row of the scorecard when it is to be `short`.
pub(crate) fn neighbours(only: Option<&str>, short: bool) {
    let mut rows = BTreeSet::new();
    let mut chosen = |of: &'static [Attack]| -> Vec<&'static Attack> {
        let named = |attack: &&Attack| only.is_none_or(|only| name(attack).contains(only));
        of.iter().filter(named).filter(|attack| rows.insert(attack.row) || !short).collect()
    };
    let (calls, components) = (chosen(BY_CALLS), chosen(BY_COMPONENTS));
    let (rounds, time) = if short { (1, Duration::from_millis(300)) } else { (3, Duration::from_secs(1)) };
    if calls.is_empty() && components.is_empty() {
        return;
    }
    println!(
        "\n{:46} idle p50   p99   attacked p50   p99 ms   MiB before   peak   goal",
        "a neighbour's calls during an attack"
    );
    let site = Site::new(BY_CALLS);
    for (attacks, start) in [(calls, Site::stream as fn(&Site) -> Live), (components, Site::rig)] {
        if attacks.is_empty() {
            continue;
        }
        let live = start(&site);
        for attack in attacks {
            show(attack, &Measured::take(&site, &live, attack, rounds, time));
        }
        live.end();
    }
}

fn name(attack: &Attack) -> String {
    format!("neighbour, row {}: {}", attack.row, attack.name)
}

fn show(attack: &Attack, measured: &Measured) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let Measured { idle, attacked, ends, memory: (before, peak) } = measured;
    print!(
        "{:46} {:8.2} {:5.1} {:14.2} {:5.1} {:15} {:6}   ",
        name(attack),
        ms(idle.quantile(500)),
        ms(idle.quantile(990)),
        ms(attacked.quantile(500)),
        ms(attacked.quantile(990)),
        before >> 20,
        peak >> 20,
    );
    let errors = idle.errors.len() + attacked.errors.len();
    let memory = if *peak <= most_memory(attack, *before) { "" } else { ", memory beyond the caps" };
    let ended = wrong(attack, ends).map(|wrong| format!(", {wrong}")).unwrap_or_default();
    let verdict = if measured.is_kept() && memory.is_empty() && ended.is_empty() { "pass" } else { "FAIL" };
    println!("2 x idle or 20 ms more: {verdict}, {errors} errors of {}{memory}{ended}", attacked.count());
}
