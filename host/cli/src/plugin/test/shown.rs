//! What became of cases, for people: a line each, and at the end what was not as expected.

use std::fmt::Write as _;

use opsiq_testkit::{Report, Verdict};

use crate::table::bytes;
use crate::text;

/// The lines of one case: itself with what it used, then its faults, of which those that ended alike share one.
pub(super) fn lines(ran: &[Report], width: usize) -> String {
    let mut shown = Vec::new();
    let mut alike: Vec<(String, Vec<String>)> = Vec::new();
    for report in ran {
        match (report.fault, report.verdict) {
            (None, Verdict::Passed) => shown.push(format!("ok    {:width$}  {}", report.name(), used(report))),
            (None, _) => shown.push(format!("FAIL  {:width$}  {}", report.name(), used(report))),
            (Some(_), Verdict::Failed) => shown.push(format!("FAIL    {}", report.name())),
            (Some(fault), verdict) => {
                let at = report.request.filter(|at| *at > 1).map(|at| format!("@{at}")).unwrap_or_default();
                let how = if verdict == Verdict::Passed { "ok" } else { "skip" };
                let why = report.reason.as_ref().map(|why| format!(": {}", text::line(why))).unwrap_or_default();
                let (how, name) = (format!("{how:4}{why}"), format!("{fault}{at}"));
                match alike.iter_mut().find(|(other, _)| *other == how) {
                    Some((_, names)) => names.push(name),
                    None => alike.push((how, vec![name])),
                }
            }
        }
    }
    shown.extend(alike.into_iter().map(|(how, names)| {
        let (mark, why) = how.split_at(4);
        format!("{mark}    {}{why}", names.join(", "))
    }));
    shown.join("\n")
}

/// What a case took.
fn used(report: &Report) -> String {
    let meter = &report.meter;
    let fuel = meter.fuel.map(|fuel| format!("  fuel {fuel}")).unwrap_or_default();
    format!(
        "{:>8}  cpu {:>8}{fuel}  memory {}  host calls {}  requests {}  {}",
        time(report.took_us),
        time(meter.cpu_us),
        bytes(meter.peak_memory_bytes),
        meter.host_calls,
        meter.egress_requests,
        bytes(meter.egress_bytes),
    )
}

/// Microseconds in milliseconds, to a tenth.
pub(crate) fn time(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

/// Everything that was not as expected, in detail.
pub(super) fn failures(reports: &[Report]) -> String {
    let mut shown = String::new();
    for report in reports.iter().filter(|report| report.verdict == Verdict::Failed) {
        let _ = writeln!(shown, "\nFAIL  {}", report.name());
        for wrong in &report.mismatches {
            let _ = writeln!(shown, "  {}", text::line(&wrong.at));
            let _ = writeln!(shown, "    expected  {}", indented(&wrong.expected));
            let _ = writeln!(shown, "    found     {}", indented(&wrong.found));
        }
        for line in &report.logs {
            let level = format!("{:?}", line.level).to_lowercase();
            let _ = writeln!(shown, "  log {level}: {}", text::line(&line.message));
        }
    }
    shown
}

/// Several lines, each below the first.
fn indented(value: &str) -> String {
    text::block(value).replace('\n', "\n              ")
}
