//! `--record`: cases made from what the real outside answers.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use opsiq_contract::Effect;
use opsiq_testkit::record::{Live, RecordError};
use opsiq_testkit::{Case, Kit};
use serde_json::json;
use zeroize::Zeroizing;

use super::TestArgs;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::shell;

/// Bytes of the file that says where the outside is, at most.
const MAX: u64 = 1 << 20;

/// Options about recording.
#[derive(Debug, Args)]
pub(super) struct Recording {
    /// Make each call once against the real outside and write its answers, and what comes of them, into the case: into
    /// those that expect nothing yet, or, with --filter, into those named.
    #[arg(long, requires = "live")]
    record: bool,

    /// Where the outside is: a TOML file, or `-` for standard input, with `[config]` in place of the case's, `[keys]`
    /// with the secrets by name, and `[[private-target]]` for addresses that are not on the open internet.
    #[arg(long, value_name = "FILE", requires = "record")]
    live: Option<PathBuf>,

    /// Record writes without asking.
    #[arg(long, requires = "record")]
    yes: bool,
}

impl Recording {
    /// Where the outside is, when cases are to be recorded.
    pub(super) fn live(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(path) = self.live.as_ref().filter(|_| self.record) else { return Ok(None) };
        let mut text = Zeroizing::new(String::with_capacity(64 << 10));
        let failed = |error: std::io::Error| Failure::file("read", path, &error);
        if path == Path::new("-") {
            std::io::stdin().lock().take(MAX).read_to_string(&mut text).map_err(failed)?;
        } else {
            std::fs::File::open(path).map_err(failed)?.take(MAX).read_to_string(&mut text).map_err(failed)?;
        }
        parsed(&text)?;
        Ok(Some(text))
    }
}

fn parsed(text: &str) -> Result<Live, Failure> {
    Live::parse(text)
        .map_err(|why| Failure::new(Exit::Invalid, "test.live", "it does not say where the outside is").detail(why))
}

/// Records the cases that are to be recorded.
pub(super) async fn run(
    kit: &Kit,
    cases: &[&Case],
    live: Zeroizing<String>,
    args: &TestArgs,
    out: &Output,
) -> Result<Exit, Failure> {
    let named = !args.filter.is_empty();
    let wanted: Vec<&&Case> = cases.iter().filter(|case| named || case.expect.is_none()).collect();
    if wanted.is_empty() {
        out.data(&json!({ "recorded": [] }), |_| {
            "Every case has its expectations; --filter names those to record anew.".to_owned()
        })?;
        return Ok(Exit::Done);
    }
    let effect = |case: &Case| kit.rig().contract().action(&case.part.action).map(|action| action.effect);
    let writes: Vec<&str> = wanted
        .iter()
        .filter(|case| effect(case).is_some_and(|effect| effect > Effect::Read))
        .map(|case| case.name.as_str())
        .collect();
    if !writes.is_empty() && !args.recording.yes {
        let what = format!("Recording really does it: {}.", writes.join(", "));
        if !shell::someone_is_there() || !shell::agrees(&format!("{what} Go on?")).await? {
            return Err(Failure::new(Exit::Refused, "test.record-writes", "a write was not recorded")
                .detail(what)
                .fix("--yes, if it may happen once more"));
        }
    }
    let mut recorded = Vec::new();
    for case in wanted {
        let recording = out.progress(&format!("Recording {}", case.name));
        let made = kit.record(case, parsed(&live)?).await;
        drop(recording);
        let made = made.map_err(|error| not_recorded(case, &error))?;
        made.save(&case.path).map_err(|error| not_recorded(case, &error))?;
        out.table(|| format!("recorded  {}, {} requests", case.path.display(), made.requests))?;
        recorded.push(json!({ "case": case.name, "path": case.path, "requests": made.requests }));
    }
    out.note("Secrets are masked. Look at what else was answered before you share it, such as names and addresses.");
    out.data(&json!({ "recorded": recorded }), |_| String::new())?;
    Ok(Exit::Done)
}

fn not_recorded(case: &Case, error: &RecordError) -> Failure {
    let failure = |exit, code: &str, fix: &str| {
        Failure::new(exit, code, format!("{} was not recorded", case.name)).detail(error.to_string()).fix(fix)
    };
    match error {
        RecordError::Refused(refusal) => Failure::from(refusal.as_ref().clone()),
        RecordError::Outside(_) => failure(Exit::Plugin, "test.outside", "see [config] and [keys] of the file given"),
        RecordError::Plugin(_) => failure(Exit::Plugin, "test.plugin", "change the plugin"),
        RecordError::Differs(_) => {
            failure(Exit::Plugin, "test.differs", "what it asks may follow from nothing but its parameters and answers")
        }
        RecordError::Secret(_) => failure(Exit::Refused, "test.secret", "nothing was written; write this case by hand"),
        RecordError::File(_) => failure(Exit::Unavailable, "test.file", ""),
    }
}
