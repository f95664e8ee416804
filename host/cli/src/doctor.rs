//! `opsiq doctor`: what is wrong here, and the line that fixes it.

use std::fmt::Write as _;

use opsiq_gate::{Finding, FindingStatus, Host, Rollback};
use opsiq_server::Standing;

use crate::config;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::text;

/// Checks the data directory and the machine. Ends with 8 when something is broken. Without the root key, or with a wrong
/// one, it says that and what can be seen all the same.
pub(crate) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let mut findings = match session.host_with(Rollback::Examine).await {
        Ok(host) => {
            let progress = session.out.progress("Checking everything");
            let findings = host.doctor().await;
            drop(progress);
            findings
        }
        Err(failure) if failure.code.starts_with("root.") => Host::doctor_sealed(&session.place.options()?).await?,
        Err(failure) => return Err(failure),
    };
    findings.extend(certificate(session)?);
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

/// How a certificate stands that an authority issues, where the configuration names one.
fn certificate(session: &Session<'_>) -> Result<Option<Finding>, Failure> {
    let data = session.place.data()?;
    let settings = config::read(data)?;
    if settings.acme.is_none() {
        return Ok(None);
    }
    let Standing { until, failure } =
        opsiq_server::standing(data, &settings.tls_names).map_err(|error| Failure::file("read", data, &error))?;
    let (status, mut detail) = match (until, &failure) {
        (None, Some(_)) => (FindingStatus::Fail, "none was issued for tls-names".to_owned()),
        (None, None) => (FindingStatus::Warn, "none was issued for tls-names yet: opsiq serve asks for it".to_owned()),
        (Some(until), failed) => {
            let left = until.duration_since(std::time::SystemTime::now()).unwrap_or_default().as_secs() / (24 * 3600);
            let status = if failed.is_some() { FindingStatus::Warn } else { FindingStatus::Ok };
            (status, format!("issued, and good for {left} more days"))
        }
    };
    let mut fix = String::new();
    if let Some(failure) = failure {
        detail.push_str("; the last attempt failed: ");
        detail.push_str(failure.trim());
        "let the authority reach each of tls-names on port 443; see opsiq config explain acme-directory"
            .clone_into(&mut fix);
    }
    Ok(Some(Finding { check: "certificate", status, detail, fix }))
}
