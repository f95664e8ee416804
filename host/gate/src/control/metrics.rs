//! The totals in the text exposition format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Labels are ids: of a tenant, an installation, a plugin.

use std::fmt::Write as _;

use opsiq_egress::Egress;

use super::totals::{Counted, Whose};
use crate::core::Core;

/// Ends of the buckets of durations: powers of two, in microseconds, from a quarter of a millisecond to half a minute.
const BUCKETS: [u32; 9] = [8, 10, 12, 14, 16, 18, 20, 22, 25];

type Of = fn(&Counted) -> u64;

/// Name, help, and which counter; seconds are counted in microseconds.
const COUNTERS: [(&str, &str, bool, Of); 7] = [
    ("opsiq_calls_total", "Calls that ended.", false, |counted| counted.calls),
    ("opsiq_calls_failed_total", "Calls that ended without a result.", false, |counted| counted.failed),
    ("opsiq_calls_refused_total", "Calls refused, or turned away before they began.", false, |counted| counted.refused),
    ("opsiq_calls_cancelled_total", "Calls whose callers went away.", false, |counted| counted.cancelled),
    ("opsiq_calls_cpu_seconds_total", "CPU time of calls.", true, |counted| counted.cpu_us),
    ("opsiq_egress_requests_total", "HTTP requests of calls.", false, |counted| counted.egress_requests),
    ("opsiq_egress_bytes_total", "Bytes sent and received by them.", false, |counted| counted.egress_bytes),
];

/// Everything, as text.
pub(super) fn text(core: &Core) -> String {
    let mut all: Vec<(String, Counted)> =
        core.meters.all().iter().map(|totals| (labels_of(totals.whose.as_ref()), totals.counted())).collect();
    // Nobody is counted together with others on most hosts.
    all.retain(|(labels, counted)| *labels != labels_of(None) || counted.calls + counted.refused > 0);
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = String::new();
    for (name, help, seconds, of) in COUNTERS {
        head(&mut out, name, help, "counter");
        for (labels, counted) in &all {
            let value = of(counted);
            let value = if seconds { in_seconds(value) } else { value.to_string() };
            let _ = writeln!(out, "{name}{{{labels}}} {value}");
        }
    }
    durations(&mut out, &all);
    let (mut running, mut queued) = (0, 0);
    for call in core.live.all() {
        let count = if call.live.began() { &mut running } else { &mut queued };
        *count += 1;
    }
    gauge(&mut out, "opsiq_calls_running", "Calls that run now.", running);
    gauge(&mut out, "opsiq_calls_queued", "Calls that wait for a slot now.", queued);
    let kept = core.egress().map_or(0, Egress::kept);
    gauge(&mut out, "opsiq_egress_connections_kept", "Connections kept for the next HTTP request.", kept);
    let quarantines = core.quarantines.all().len();
    gauge(&mut out, "opsiq_quarantines", "Quarantines in force.", quarantines);
    out
}

fn durations(out: &mut String, all: &[(String, Counted)]) {
    let name = "opsiq_call_duration_seconds";
    head(out, name, "How long calls took, waiting for a slot included.", "histogram");
    for (labels, counted) in all {
        for bits in BUCKETS {
            let le = in_seconds(1 << bits);
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {}", counted.within(1 << bits));
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", counted.calls);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", in_seconds(counted.duration_us));
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", counted.calls);
    }
}

fn gauge(out: &mut String, name: &str, help: &str, value: usize) {
    head(out, name, help, "gauge");
    let _ = writeln!(out, "{name} {value}");
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Ids need no escaping: they are slugs, UUIDs and versions. Those that are counted together have empty ones.
fn labels_of(whose: Option<&Whose>) -> String {
    match whose {
        Some(Whose { tenant, installation, plugin }) => {
            format!("tenant=\"{tenant}\",installation=\"{installation}\",plugin=\"{plugin}\"")
        }
        None => "tenant=\"\",installation=\"\",plugin=\"\"".to_owned(),
    }
}

fn in_seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
