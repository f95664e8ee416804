//! What GitHub tells by webhook: that an issue or a comment on one changed. Each becomes an audit event, so that the
//! log holds what others did beside what was done from here.
//!
//! The host has checked the signature; what a delivery says beyond it is as trustworthy as whoever wrote the issue.

use opsiq_sdk::prelude::*;
use opsiq_sdk::serde::Deserialize;

use crate::Context;

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
struct Event {
    action: String,
    issue: Numbered,
    #[serde(default)]
    comment: Option<Identified>,
    repository: Named,
    sender: Account,
}

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
struct Numbered {
    number: u64,
}

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
struct Identified {
    id: u64,
}

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
struct Named {
    full_name: String,
}

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
struct Account {
    login: String,
}

/// Takes one delivery. Events other than those of issues are accepted and left alone, as a webhook that sends too much
/// is no failure of GitHub's.
pub(crate) fn receive(ctx: &Context, delivery: &Delivery) -> Result<()> {
    let header = |name: &str| delivery.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let kind = header("x-github-event").ok_or_else(|| Failure::invalid("a delivery without x-github-event"))?;
    let event = match kind {
        "issues" => "issue.event",
        "issue_comment" => "issue-comment.event",
        "ping" => return Ok(()),
        other => {
            debug!("a delivery of `{}` is left alone", other.escape_debug());
            return Ok(());
        }
    };
    let form = header("content-type").is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    if form {
        return Err(Failure::invalid("the webhook sends forms: set its content type to application/json on GitHub"));
    }
    let Event { action, issue, comment, repository, sender } = opsiq_sdk::serde_json::from_slice(&delivery.body)
        .map_err(|error| {
            Failure::invalid(format!("a delivery of `{kind}` that is not as GitHub describes it: {error}"))
        })?;
    let mut detail = json!({
        "delivery": delivery.id,
        "action": action,
        "repository": repository.full_name,
        "issue": issue.number,
        "sender": sender.login,
    });
    if let Some(comment) = comment {
        detail["comment"] = comment.id.into();
    }
    ctx.audit(event, &detail)
}
