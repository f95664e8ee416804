//! What became of cases, for the programs that read `JUnit`'s XML.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use crate::kit::{Report, Verdict};

/// The reports as one document: a suite of the plugin's name.
///
/// # Errors
/// A text cannot be written as XML.
pub fn document(plugin: &str, reports: &[Report]) -> Result<String, String> {
    let mut suite = TestSuite::new(plugin);
    for report in reports {
        let status = match report.verdict {
            Verdict::Passed => TestCaseStatus::success(),
            Verdict::Skipped => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(report.reason.clone().unwrap_or_default());
                status
            }
            Verdict::Failed => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                let places: Vec<&str> = report.mismatches.iter().map(|wrong| wrong.at.as_str()).collect();
                let details = report
                    .mismatches
                    .iter()
                    .map(|wrong| format!("{}\n  expected {}\n  found    {}\n", wrong.at, wrong.expected, wrong.found));
                status.set_message(places.join(", ")).set_description(details.collect::<String>());
                status
            }
        };
        let mut case = TestCase::new(report.name(), status);
        case.set_classname(plugin).set_time(Duration::from_micros(report.took_us));
        suite.add_test_case(case);
    }
    let mut document = Document::new("opsiq plugin test");
    document.add_test_suite(suite);
    document.to_string().map_err(|error| error.to_string())
}
