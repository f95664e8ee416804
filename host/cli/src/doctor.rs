//! `opsiq doctor`: what is wrong here, and the line that fixes it.

use std::fmt::Write as _;

use opsiq_gate::{FindingStatus, Host, Rollback};

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::text;

/// Checks the data directory and the machine. Ends with 8 when something is broken. Without the root key, or with a wrong
/// one, it says that and what can be seen all the same.
pub(crate) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let findings = match session.host_with(Rollback::Examine).await {
        Ok(host) => {
            let progress = session.out.progress("Checking everything");
            let findings = host.doctor().await;
            drop(progress);
            findings
        }
        Err(failure) if failure.code.starts_with("root.") => Host::doctor_sealed(&session.place.options()?).await?,
        Err(failure) => return Err(failure),
    };
    session.out.data(&findings, |findings| {
        let lines = findings.iter().map(|finding| {
            let mark = match finding.status {
                FindingStatus::Ok => "ok  ",
                FindingStatus::Warn => "warn",
                FindingStatus::Fail => "FAIL",
            };
            let mut line = format!("{mark}  {:<18}  {}", finding.check, text::line(&finding.detail));
            for fix in finding.fix.lines() {
                let _ = write!(line, "\n      fix: {}", text::line(fix));
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    let broken = findings.iter().any(|finding| finding.status == FindingStatus::Fail);
    Ok(if broken { Exit::Unavailable } else { Exit::Done })
}
