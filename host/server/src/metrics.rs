//! What the front door counts, in the text form of Prometheus. Labels are the names of routes and statuses, never anything
//! a client sent.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;

use crate::routes::Route;

/// Upper bounds of the buckets of durations, in microseconds.
const BUCKETS: [u64; 10] = [500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 500_000, 2_000_000, 10_000_000];

/// Of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteCounts {
    /// By the first digit of the status.
    classes: [AtomicU64; 6],
    buckets: [AtomicU64; 10],
    count: AtomicU64,
    sum_us: AtomicU64,
}

/// Of connections and what no route answers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that were taken.
    pub(crate) taken: AtomicU64,
    /// Connections closed at once, because there were too many.
    pub(crate) closed: AtomicU64,
    /// Handshakes that failed.
    pub(crate) handshakes_failed: AtomicU64,
    /// Requests that no route answers.
    pub(crate) unrouted: AtomicU64,
}

impl Counters {
    /// One more of something.
    pub(crate) fn more(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl RouteCounts {
    /// A request was answered.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Counters::more(&self.classes[usize::from(status.as_u16() / 100).min(5)]);
        if let Some(bucket) = BUCKETS.iter().position(|most| us <= *most) {
            Counters::more(&self.buckets[bucket]);
        }
        Counters::more(&self.count);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// All of it as text.
pub(crate) fn text(counters: &Counters, open: usize, routes: &[std::sync::Arc<Route>]) -> String {
    let mut text = String::new();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut one = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    one("opsiq_connections", "gauge", "Connections open now.", open as u64);
    one("opsiq_connections_taken_total", "counter", "Connections that were taken.", read(&counters.taken));
    one("opsiq_connections_closed_total", "counter", "Connections closed at once: too many.", read(&counters.closed));
    one("opsiq_handshakes_failed_total", "counter", "TLS handshakes that failed.", read(&counters.handshakes_failed));
    one("opsiq_requests_unrouted_total", "counter", "Requests that no route answers.", read(&counters.unrouted));
    text.push_str("# HELP opsiq_requests_total Requests answered.\n# TYPE opsiq_requests_total counter\n");
    for route in routes {
        for (class, count) in route.counts.classes.iter().enumerate() {
            if read(count) > 0 {
                let (id, count) = (route.spec.id, read(count));
                let _ = writeln!(text, "opsiq_requests_total{{route=\"{id}\",class=\"{class}xx\"}} {count}");
            }
        }
    }
    let name = "opsiq_request_seconds";
    let _ = writeln!(text, "# HELP {name} How long an answer took to be made.\n# TYPE {name} histogram");
    for route in routes.iter().filter(|route| read(&route.counts.count) > 0) {
        let (id, counts) = (route.spec.id, &route.counts);
        let mut below = 0;
        for (most, count) in BUCKETS.iter().zip(&counts.buckets) {
            below += read(count);
            let _ = writeln!(text, "{name}_bucket{{route=\"{id}\",le=\"{}\"}} {below}", seconds(*most));
        }
        let all = read(&counts.count);
        let _ = writeln!(text, "{name}_bucket{{route=\"{id}\",le=\"+Inf\"}} {all}");
        let _ = writeln!(text, "{name}_sum{{route=\"{id}\"}} {}", seconds(read(&counts.sum_us)));
        let _ = writeln!(text, "{name}_count{{route=\"{id}\"}} {all}");
    }
    text
}

/// When the certificate in use ends.
pub(crate) fn certificate(until: SystemTime) -> String {
    let name = "opsiq_certificate_ends_seconds";
    let at = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("# HELP {name} When the certificate in use ends, as Unix time.\n# TYPE {name} gauge\n{name} {at}\n")
}

/// Microseconds as seconds.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
