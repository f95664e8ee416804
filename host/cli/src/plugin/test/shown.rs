//! What became of cases, for people: a line each, and at the end what was not as expected.

use std::fmt::Write as _;

use opsiq_testkit::{Report, Verdict};

use crate::table::bytes;
use crate::text;

/// The lines of one case: itself with what it used, then its faults, of which those that went well share one.
pub(super) fn lines(ran: &[Report], width: usize) -> String {
    let mut shown = Vec::new();
    let mut well = Vec::new();
    for report in ran {
        let mark = match report.verdict {
            Verdict::Passed => "ok  ",
            Verdict::Failed => "FAIL",
            Verdict::Skipped => "skip",
        };
        match (report.fault, report.verdict) {
            (None, _) => {
                let name = format!("{:width$}", report.name());
                shown.push(format!("{mark}  {name}  {}", used(report)));
            }
            (Some(fault), Verdict::Passed) => {
                let at = report.request.filter(|at| *at > 1).map(|at| format!("@{at}")).unwrap_or_default();
                well.push(format!("{fault}{at}"));
            }
            (Some(_), _) => {
                let why = report.reason.as_ref().map(|why| format!(": {}", text::line(why))).unwrap_or_default();
                shown.push(format!("{mark}    {}{why}", report.name()));
            }
        }
    }
    if !well.is_empty() {
        shown.push(format!("ok      {}", well.join(", ")));
    }
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
