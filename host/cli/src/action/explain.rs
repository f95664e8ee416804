//! `opsiq action explain`: which rule decides at each stage, and what would change it.

use std::fmt::Write as _;

use opsiq_gate::StepVerdict;

use super::CallArgs;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::text;

/// Explains a call without running it. Ends as the call would: 0, 3 when refused, 4 when it would wait.
pub(crate) async fn run(args: CallArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let reach = session.user_reach().await?;
    let call = args.read(&reach).await?;
    let explained = reach.explain(call).await?;
    session.out.data(&explained, |explained| {
        let lines = explained.steps.iter().map(|step| {
            let mark = match step.verdict {
                StepVerdict::Pass => "pass  ",
                StepVerdict::Wait => "wait  ",
                StepVerdict::Refuse => "refuse",
            };
            let mut line = format!("{mark}  {:<12}  {}  [{}]", step.stage, text::line(&step.detail), step.rule);
            for change in step.change.lines() {
                let _ = write!(line, "\n        to change it: {}", text::line(change));
            }
            line
        });
        let mut shown: Vec<String> = lines.collect();
        shown.push(match explained.verdict {
            StepVerdict::Pass => "It would run.".to_owned(),
            StepVerdict::Wait => "It would wait for a person.".to_owned(),
            StepVerdict::Refuse => "It would be refused.".to_owned(),
        });
        shown.join("\n")
    })?;
    Ok(match explained.verdict {
        StepVerdict::Pass => Exit::Done,
        StepVerdict::Wait => Exit::Pending,
        StepVerdict::Refuse => Exit::Refused,
    })
}
