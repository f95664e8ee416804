//! The scheduler under a simulated clock, where every run is the same.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::num::NonZeroU32;

use super::*;
use crate::admission::limit::Full;
use crate::admission::node::{Kind, Need};
use crate::class::Class;

const ONE: Need = Need { class: Class::Small, slots: 1 };
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn fairness(text: &str) -> Fairness {
    Fairness::parse_toml(text).unwrap()
}

fn id(n: usize) -> InstallationId {
    format!("00000000-0000-4000-8000-{n:012}").parse().unwrap()
}

/// A scheduler whose wakers are the names of calls.
struct Sim {
    scheduler: Scheduler<usize>,
}

impl Sim {
    fn new(text: &str, slots: u64, turns: u64) -> Self {
        Self { scheduler: Scheduler::new(fairness(text), [slots, 2], turns) }
    }

    fn enter(&mut self, tenant: &str, installation: usize, now: u64) -> Result<Entry, Full> {
        self.enter_slots(tenant, installation, 1, now)
    }

    fn enter_slots(&mut self, tenant: &str, installation: usize, slots: u64, now: u64) -> Result<Entry, Full> {
        let name = if installation == 1 { "shop" } else { "till" };
        let (tenant, installation) = (tenant.parse().unwrap(), id(installation));
        let who = Who { tenant: &tenant, installation: &installation, name, family: "acme/shop" };
        self.scheduler.enter(who, Need { class: Class::Small, slots }, now)
    }

    fn place(&mut self, tenant: &str, installation: usize) -> usize {
        match self.enter(tenant, installation, 0).unwrap() {
            Entry::In(leaf) => leaf,
            queued @ Entry::Queued { .. } => panic!("{queued:?}"),
        }
    }

    fn refused(&mut self, tenant: &str, installation: usize, now: u64) -> Full {
        self.enter(tenant, installation, now).unwrap_err()
    }
}

/// One call in the simulation: it computes for `burst` and rests for `rest`, for ever.
#[derive(Clone)]
struct Job {
    leaf: usize,
    kind: Kind,
    number: Option<u64>,
    burst: u64,
    rest: u64,
    left: u64,
    state: State,
    used: u64,
    /// Longest wait for a turn.
    waited: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Resting(u64),
    Waiting(u64, u64),
    Computing,
}

impl Job {
    fn new(leaf: usize, burst: u64, rest: u64) -> Self {
        Self {
            leaf,
            kind: Kind::Short,
            number: None,
            burst,
            rest,
            left: burst,
            state: State::Resting(0),
            used: 0,
            waited: 0,
        }
    }

    fn spins(leaf: usize) -> Self {
        Self::new(leaf, u64::MAX, 0)
    }
}

/// Runs `jobs` for `time` in steps of one tick, as a machine with a processor for each turn, which those that have one share
/// evenly.
fn compute(sim: &mut Sim, jobs: &mut [Job], time: u64) {
    const TICK: u64 = 4 * MS;
    let processors = sim.scheduler.turns;
    let scheduler = &mut sim.scheduler;
    let mut now = 0;
    while now < time {
        for job in jobs.iter_mut() {
            if let State::Resting(until) = job.state
                && until <= now
            {
                job.left = job.burst;
                let number = scheduler.turn(job.leaf, job.kind, None, || 0);
                job.state = number.map_or(State::Computing, |number| State::Waiting(number, now));
            }
            if let State::Waiting(number, since) = job.state
                && scheduler.has_turn(job.leaf, number, |_| {})
            {
                job.state = State::Computing;
                job.waited = job.waited.max(now - since);
            }
        }
        now += TICK;
        let computing = jobs.iter().filter(|job| job.state == State::Computing).count() as u64;
        let each = TICK * processors.min(computing) / computing.max(1);
        for job in jobs.iter_mut().filter(|job| job.state == State::Computing) {
            let used = each.min(job.left);
            job.left -= used;
            job.used += used;
            if job.left == 0 {
                scheduler.end_turn(job.leaf, job.kind, used);
                (job.kind, job.number) = (Kind::Short, None);
                job.state = State::Resting(now + job.rest);
            } else {
                let again = scheduler.pause_turn(job.leaf, job.kind, job.number, used, || 0);
                if let Again::Waits(number) = again {
                    job.state = State::Waiting(number, now);
                }
                let (Again::Kept(number) | Again::Waits(number)) = again;
                (job.kind, job.number) = (Kind::Long, Some(number));
            }
        }
        scheduler.woken.clear();
    }
}

/// Used by each, as hundredths of the whole.
fn shares(jobs: &[Job]) -> BTreeMap<usize, u64> {
    let all: u64 = jobs.iter().map(|job| job.used).sum();
    let mut shares = BTreeMap::new();
    for job in jobs {
        *shares.entry(job.leaf).or_insert(0) += job.used;
    }
    shares.into_iter().map(|(leaf, used)| (leaf, (used * 100 + all / 2) / all)).collect()
}

#[test]
fn the_processor_is_divided_by_weight_whatever_the_number_of_calls() {
    let text = "[fairness.tenant.acme]\nweight = 300\n";
    for turns in [1, 2] {
        let mut sim = Sim::new(text, 512, turns);
        let (acme, other) = (sim.place("acme", 1), sim.place("other", 2));
        // Ten times as many calls of the lighter one.
        let mut jobs: Vec<_> = (0..3).map(|_| Job::spins(acme)).collect();
        jobs.extend((0..30).map(|_| Job::spins(other)));
        compute(&mut sim, &mut jobs, 20 * SECOND);
        let shares = shares(&jobs);
        assert!(shares[&acme].abs_diff(75) <= 1, "{turns} turns: {shares:?}");
    }
}

#[test]
fn tenants_come_before_their_installations() {
    let text = "[fairness.tenant.acme.installation.shop]\nweight = 400\n";
    let mut sim = Sim::new(text, 512, 2);
    let (first, alone) = (sim.place("acme", 1), sim.place("other", 2));
    let more: Vec<_> = (3..6).map(|n| sim.place("acme", n)).collect();
    let mut jobs: Vec<_> = [first, alone].into_iter().chain(more.iter().copied()).map(Job::spins).collect();
    jobs.extend((0..8).map(|_| Job::spins(alone)));
    compute(&mut sim, &mut jobs, 20 * SECOND);
    let shares = shares(&jobs);
    assert!(shares[&alone].abs_diff(50) <= 1, "four installations are worth no more than one: {shares:?}");
    assert!(shares[&first].abs_diff(29) <= 1, "four sevenths of its tenant's half: {shares:?}");
    assert!(more.iter().all(|leaf| shares[leaf].abs_diff(7) <= 1), "{shares:?}");
}

#[test]
fn a_turn_is_never_left_unused_while_one_is_wanted() {
    let mut sim = Sim::new("", 512, 3);
    let (a, b) = (sim.place("acme", 1), sim.place("other", 2));
    let mut jobs = vec![Job::spins(a), Job::spins(a), Job::spins(a), Job::new(b, 4 * MS, 400 * MS)];
    let time = 20 * SECOND;
    compute(&mut sim, &mut jobs, time);
    let used: u64 = jobs.iter().map(|job| job.used).sum();
    assert!(used >= 2 * time * 98 / 100, "all but one, all the time: {} of {} ms", used / MS, 2 * time / MS);
    let short = jobs.pop().map_or(0, |job| job.used);
    assert!(short >= 45 * 4 * MS, "and the one for who is soon done: {} ms", short / MS);
}

#[test]
fn who_asks_for_little_does_not_wait() {
    let mut sim = Sim::new("", 512, 2);
    let (flood, small) = (sim.place("acme", 1), sim.place("other", 2));
    let mut jobs: Vec<_> = (0..100).map(|_| Job::spins(flood)).collect();
    jobs.push(Job::new(small, MS, 50 * MS));
    compute(&mut sim, &mut jobs, 20 * SECOND);
    assert_eq!(jobs[100].waited, 0, "not even for a tick");
}

/// The twin: in the order of asking, as turns were before, the same call waits for all of the flood.
#[test]
fn in_the_order_of_asking_the_small_one_would_wait_for_all() {
    let mut line: VecDeque<usize> = (0..=100).collect();
    let (mut tick, mut waits) = (0_u64, None);
    while waits.is_none() {
        for _ in 0..2 {
            match line.pop_front() {
                Some(100) => waits = Some(tick * 4),
                Some(spins) => line.push_back(spins),
                None => panic!("nobody is left"),
            }
        }
        tick += 1;
    }
    assert_eq!(waits, Some(200), "milliseconds");
}

#[test]
fn who_is_soon_done_does_not_starve_who_computes_for_long() {
    for turns in [1, 2, 4] {
        let mut sim = Sim::new("", 512, turns);
        let (flood, long) = (sim.place("acme", 1), sim.place("other", 2));
        let mut jobs: Vec<_> = (0..100).map(|_| Job::new(flood, 3 * MS, 0)).collect();
        jobs.extend((0..8).map(|_| Job::spins(long)));
        compute(&mut sim, &mut jobs, 20 * SECOND);
        let shares = shares(&jobs);
        assert!(shares[&long] >= 45, "{turns} turns: {shares:?}");
    }
}

#[test]
fn of_an_installations_long_calls_the_first_come_to_their_end() {
    let mut sim = Sim::new("", 512, 2);
    let leaf = sim.place("acme", 1);
    let mut jobs: Vec<_> = (0..40).map(|_| Job::new(leaf, 250 * MS, u64::MAX / 2)).collect();
    compute(&mut sim, &mut jobs, 3 * SECOND);
    let whole = jobs.iter().filter(|job| job.used == 250 * MS).count();
    assert!(whole >= 10, "{whole} of those that there was time for");
    assert!(jobs.iter().all(|job| job.used > 0), "each got its first turn");
}

#[test]
fn rest_earns_nothing() {
    let mut sim = Sim::new("", 512, 1);
    let (busy, rested) = (sim.place("acme", 1), sim.place("other", 2));
    let mut jobs = vec![Job::spins(busy)];
    compute(&mut sim, &mut jobs, 60 * SECOND);
    // After a minute of rest it gets its half, not a minute for itself.
    jobs[0].used = 0;
    jobs.push(Job::spins(rested));
    compute(&mut sim, &mut jobs, SECOND);
    let shares = shares(&jobs);
    assert!(shares[&rested].abs_diff(50) <= 1, "{shares:?}");
}

#[test]
fn a_minute_alone_is_no_debt() {
    let mut sim = Sim::new("", 512, 1);
    let (busy, late) = (sim.place("acme", 1), sim.place("other", 2));
    let mut jobs = vec![Job::spins(busy)];
    compute(&mut sim, &mut jobs, 60 * SECOND);
    jobs[0].used = 0;
    jobs.push(Job::new(late, 8 * MS, 8 * MS));
    compute(&mut sim, &mut jobs, SECOND);
    assert!(jobs[0].used >= SECOND * 45 / 100, "who used an idle machine is not made to pay: {}", jobs[0].used / MS);
}

#[test]
fn places_go_to_who_holds_least_for_its_weight() {
    let text = "[fairness.tenant.acme]\nweight = 200\n";
    let mut sim = Sim::new(text, 6, 2);
    let held: Vec<_> = (0..6).map(|_| sim.place("other", 2)).collect();
    let mut queued = Vec::new();
    for n in 0..12 {
        let (name, installation) = if n % 2 == 0 { ("acme", 1) } else { ("other", 2) };
        let Ok(Entry::Queued { leaf, number, .. }) = sim.enter(name, installation, 0) else { panic!("no room") };
        queued.push((name, leaf, number));
    }
    for leaf in &held {
        sim.scheduler.leave(*leaf, ONE, MS, MS);
    }
    let got = |sim: &mut Sim, queued: &[(&str, usize, u64)]| {
        let mut names = String::new();
        for (name, leaf, number) in queued {
            if sim.scheduler.entered(*leaf, *number, || 0) {
                let _ = write!(names, "{name} ");
            }
        }
        names
    };
    let names = got(&mut sim, &queued);
    assert_eq!((names.matches("acme").count(), names.matches("other").count()), (4, 2), "{names}");
}

#[test]
fn each_level_refuses_by_its_own_name() {
    let text = "[fairness.host]\nconcurrency = 4\nqueue = 3\n[fairness.each-tenant]\nconcurrency = 3\nqueue = 2\n\
                [fairness.each-installation]\nconcurrency = 2\nqueue = 1\n";
    let mut sim = Sim::new(text, 512, 2);
    sim.place("acme", 1);
    sim.place("acme", 1);
    assert!(matches!(sim.enter("acme", 1, 0), Ok(Entry::Queued { .. })));
    let full = sim.refused("acme", 1, 0);
    assert_eq!((full.name, full.level), ("limit.installation.queue", Level::Installation));
    sim.place("acme", 2);
    assert!(matches!(sim.enter("acme", 2, 0), Ok(Entry::Queued { .. })), "the tenant runs all it may");
    assert_eq!(sim.refused("acme", 3, 0).name, "limit.tenant.queue");
    sim.place("other", 4);
    assert!(matches!(sim.enter("other", 5, 0), Ok(Entry::Queued { .. })));
    assert_eq!(sim.refused("other", 6, 0).name, "limit.host.queue");
    assert_eq!(sim.enter_slots("other", 6, 5, 0).unwrap_err().name, "limit.host.concurrency");
}

#[test]
fn where_none_may_wait_the_concurrency_refuses() {
    let mut sim = Sim::new("[fairness.each-tenant]\nconcurrency = 1\nqueue = 0\n", 512, 2);
    let leaf = sim.place("acme", 1);
    sim.scheduler.leave(leaf, ONE, 3 * SECOND, 3 * SECOND);
    assert!(matches!(sim.enter("acme", 1, 3 * SECOND), Ok(Entry::In(_))));
    let full = sim.refused("acme", 2, 3 * SECOND);
    assert_eq!((full.name, full.retry_after.map(NonZeroU32::get)), ("limit.tenant.concurrency", Some(3)), "{full:?}");
}

#[test]
fn what_a_minute_may_bring_is_counted_at_each_level() {
    for (section, level) in [("each-installation", "installation"), ("each-tenant", "tenant"), ("host", "host")] {
        let mut sim = Sim::new(&format!("[fairness.{section}]\ncalls-per-minute = 2\n"), 512, 2);
        sim.place("acme", 1);
        let leaf = sim.place("acme", 1);
        let full = sim.refused("acme", 1, SECOND);
        assert_eq!(
            (full.name, full.retry_after.map(NonZeroU32::get)),
            (&*format!("limit.{level}.calls-per-minute"), Some(29))
        );
        assert!(matches!(sim.enter("acme", 1, 30 * SECOND), Ok(Entry::In(_))), "after what it said");

        let mut sim = Sim::new(&format!("[fairness.{section}]\ncpu-per-minute = \"1s\"\n"), 512, 2);
        sim.place("acme", 1);
        assert_eq!(sim.scheduler.turn(leaf, Kind::Short, None, || 0), None);
        sim.scheduler.end_turn(leaf, Kind::Short, 2 * SECOND);
        let full = sim.refused("acme", 1, 0);
        assert_eq!(
            (full.name, full.retry_after.map(NonZeroU32::get)),
            (&*format!("limit.{level}.cpu-per-minute"), Some(61)),
            "{full:?}"
        );

        let mut sim = Sim::new(&format!("[fairness.{section}]\negress-per-minute = \"600B\"\n"), 512, 2);
        let leaf = sim.place("acme", 1);
        assert_eq!(sim.scheduler.egress_left(leaf, 0), Ok(()));
        sim.scheduler.egress_used(leaf, 609, 0);
        let name = format!("limit.{level}.egress-per-minute");
        assert_eq!(sim.scheduler.egress_left(leaf, 0), Err(&*name));
        let full = sim.refused("acme", 1, 0);
        assert_eq!((full.name, full.retry_after.map(NonZeroU32::get)), (&*name, Some(1)), "{full:?}");
        assert_eq!(sim.scheduler.egress_left(leaf, SECOND), Ok(()));
    }
}

#[test]
fn a_refused_call_costs_nothing() {
    let mut sim = Sim::new("[fairness.each-tenant]\ncalls-per-minute = 3\nconcurrency = 1\nqueue = 0\n", 512, 2);
    let leaf = sim.place("acme", 1);
    for _ in 0..100 {
        assert_eq!(sim.refused("acme", 1, 0).name, "limit.tenant.concurrency");
    }
    sim.scheduler.leave(leaf, ONE, MS, MS);
    assert!(
        matches!(sim.enter("acme", 1, MS), Ok(Entry::In(_))),
        "its calls of this minute were not taken by refusals"
    );
}

#[test]
fn who_gives_up_leaves_nothing_behind() {
    let mut sim = Sim::new("", 1, 1);
    let leaf = sim.place("acme", 1);
    for _ in 0..100 {
        let Ok(Entry::Queued { leaf, number, .. }) = sim.enter("other", 2, 0) else { panic!("no room") };
        let full = sim.scheduler.give_up(leaf, ONE, number).unwrap();
        assert_eq!(full.name, "limit.host.queue-wait");
    }
    while sim.scheduler.turn(leaf, Kind::Short, None, || 0).is_none() {}
    sim.scheduler.give_up_turn(leaf, Kind::Short, sim.scheduler.numbers);
    for _ in 0..100 {
        let number = sim.scheduler.turn(leaf, Kind::Short, None, || 0).unwrap();
        sim.scheduler.give_up_turn(leaf, Kind::Short, number);
    }
    let Ok(Entry::Queued { leaf: other, number, .. }) = sim.enter("other", 2, 0) else { panic!("no room") };
    sim.scheduler.end_turn(leaf, Kind::Short, MS);
    sim.scheduler.leave(leaf, ONE, MS, MS);
    assert!(sim.scheduler.entered(other, number, || 0));
    assert_eq!(sim.scheduler.held, [0; 2]);
    assert!(sim.scheduler.granted.is_empty());
}

#[test]
fn a_large_plugin_is_waited_for_and_holds_up_nobody_for_ever() {
    let mut sim = Sim::new("", 4, 1);
    let held: Vec<_> = (0..4).map(|_| sim.place("acme", 1)).collect();
    let Ok(Entry::Queued { leaf, number, .. }) = sim.enter_slots("other", 2, 3, 0) else { panic!("no room") };
    sim.scheduler.leave(held[0], ONE, MS, MS);
    assert!(matches!(sim.enter("acme", 1, MS), Ok(Entry::Queued { .. })), "not before the one that waits");
    sim.scheduler.leave(held[1], ONE, MS, MS);
    sim.scheduler.leave(held[2], ONE, MS, MS);
    assert!(sim.scheduler.entered(leaf, number, || 0));
}

#[test]
fn idle_holders_are_forgotten() {
    let mut sim = Sim::new("[fairness.each-tenant]\ncalls-per-minute = 60\n", 512, 2);
    for n in 0..50_000_usize {
        let now = n as u64 * 10 * MS;
        let Ok(Entry::In(leaf)) = sim.enter(&format!("tenant-{n}"), n, now) else { panic!("no room") };
        assert_eq!(sim.scheduler.turn(leaf, Kind::Short, None, || 0), None);
        sim.scheduler.end_turn(leaf, Kind::Short, 50 * MS);
        sim.scheduler.leave(leaf, ONE, MS, now + MS);
    }
    // A minute's worth of tenants, with their installations, and as many again before the next look.
    assert!(sim.scheduler.len() <= 4 * 6_100, "{} are remembered", sim.scheduler.len());
    assert!(sim.scheduler.nodes.len() <= 4 * 6_100);
}

#[test]
fn an_installation_with_a_call_is_not_forgotten() {
    let mut sim = Sim::new("", 512, 2);
    let leaf = sim.place("acme", 1);
    sim.scheduler.now = 3_600 * SECOND;
    sim.scheduler.sweep();
    assert_eq!(sim.place("acme", 1), leaf);
    assert_eq!(sim.scheduler.node(leaf).running, 2);
}
