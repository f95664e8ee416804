//! `opsiq plugin test`: a plugin's cases, run offline; and recorded, where that is asked.

mod record;
mod shown;

use std::path::{Path, PathBuf};

use clap::Args;
use opsiq_testkit::{Case, CaseError, Kit, Report, Verdict, find, junit};
use serde_json::{Value, json};

use super::build::How;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The plugin's directory, which is built first, or a component as it is.
    #[arg(default_value = ".", value_name = "FOLDER|FILE.wasm")]
    target: PathBuf,

    /// The folder of the cases; by default `tests` in the plugin's directory, or beside the component.
    #[arg(long, value_name = "FOLDER")]
    cases: Option<PathBuf>,

    /// Only cases whose name holds this text; may be repeated.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Leave out what goes wrong outside.
    #[arg(long)]
    no_faults: bool,

    /// Write what became of each case as `JUnit` XML, for other programs.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    junit: Option<PathBuf>,

    #[command(flatten)]
    recording: record::Recording,

    #[command(flatten)]
    how: How,
}

/// Runs or records the cases. Ends with 7 when one is not as expected.
pub(crate) async fn run(args: TestArgs, out: &Output) -> Result<Exit, Failure> {
    // What cannot be read is told before minutes of building.
    let beside =
        if args.target.is_dir() { args.target.as_path() } else { args.target.parent().unwrap_or(Path::new(".")) };
    let folder = args.cases.clone().unwrap_or_else(|| beside.join(super::CASES));
    let all = find(&folder)?;
    let wanted = |case: &&Case| args.filter.is_empty() || args.filter.iter().any(|text| case.name.contains(text));
    let cases: Vec<&Case> = all.iter().filter(wanted).collect();
    if cases.is_empty() {
        let title = if all.is_empty() { "there are no cases" } else { "no case has such a name" };
        let names: Vec<&str> = all.iter().map(|case| case.name.as_str()).collect();
        return Err(Failure::new(Exit::NotFound, "test.no-cases", title)
            .detail(if names.is_empty() { format!("looked in {}", folder.display()) } else { names.join("\n") })
            .fix("a case is a file such as tests/first.toml; opsiq plugin new writes one to begin with"));
    }
    let live = args.recording.live()?;
    let (component, _) = super::subject(&args.target, &args.how, out)?;
    let compiling = out.progress("Compiling the component");
    let kit = Kit::load(component).await?;
    drop(compiling);
    match live {
        Some(live) => record::run(&kit, &cases, live, &args, out).await,
        None => test(&kit, &cases, &args, out).await,
    }
}

async fn test(kit: &Kit, cases: &[&Case], args: &TestArgs, out: &Output) -> Result<Exit, Failure> {
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let mut reports: Vec<Report> = Vec::new();
    for case in cases {
        let running = out.waiting(&case.name);
        let ran = if args.no_faults { vec![kit.run_plain(case).await?] } else { kit.run(case).await? };
        drop(running);
        out.table(|| shown::lines(&ran, width))?;
        reports.extend(ran);
    }
    let plugin = kit.rig().contract().plugin_ref().to_string();
    if let Some(file) = &args.junit {
        let text = junit::document(&plugin, &reports)
            .map_err(|why| Failure::new(Exit::Internal, "test.junit", "the report cannot be written").detail(why))?;
        std::fs::write(file, text).map_err(|error| Failure::file("write", file, &error))?;
    }
    let count = |verdict: Verdict| reports.iter().filter(|report| report.verdict == verdict).count();
    let (passed, failed, skipped) = (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::Skipped));
    let ran: Vec<Value> = reports
        .iter()
        .map(|report| {
            let mut one = json!(report);
            one["name"] = report.name().into();
            one
        })
        .collect();
    let summary = json!({ "passed": passed, "failed": failed, "skipped": skipped });
    let data = json!({ "plugin": plugin, "digest": kit.rig().digest(), "summary": summary, "cases": ran });
    let many = if cases.len() == 1 { "1 case".to_owned() } else { format!("{} cases", cases.len()) };
    let told = format!("{many} of {plugin}, with faults: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 {
        out.data(&data, |_| format!("\n{told}"))?;
        return Ok(Exit::Done);
    }
    out.table(|| format!("{}\n{told}", shown::failures(&reports)))?;
    let names: Vec<String> =
        reports.iter().filter(|report| report.verdict == Verdict::Failed).map(Report::name).collect();
    Err(Failure::new(Exit::Plugin, "test.failed", format!("{failed} not as expected"))
        .detail(names.join("\n"))
        .fix("change the plugin; or, where the case is wrong, its file; a fault may be expected otherwise under [faults]")
        .data(data))
}

impl From<CaseError> for Failure {
    fn from(error: CaseError) -> Self {
        Self::new(Exit::Invalid, "test.case", "this is no case").detail(error.to_string()).fix("correct the file")
    }
}
