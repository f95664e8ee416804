//! The same decisions as an invocation, told instead of acted on: which rule decides at each stage, and what would
//! change it.

use serde::Serialize;

/// How one step comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepVerdict {
    /// It lets the call through.
    Pass,
    /// It refuses the call.
    Refuse,
    /// It makes the call wait for a person.
    Wait,
}

/// One step of the decision.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainStep {
    /// The stage, as in [`Stage`](crate::Stage).
    pub stage: String,
    /// The rule that decides.
    pub rule: String,
    /// How it comes out.
    pub verdict: StepVerdict,
    /// Why, in one sentence.
    pub detail: String,
    /// What would change it; empty when nothing needs to.
    pub change: String,
}

/// What a call would meet, without running it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The steps in order, up to the first that refuses.
    pub steps: Vec<ExplainStep>,
    /// The last word: it would run, wait, or be refused.
    pub verdict: StepVerdict,
}
