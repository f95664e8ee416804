//! Issues of the GitHub repositories of one account: list, read, open, comment on, close.
//!
//! The token is the host's to inject and never seen here. What GitHub answers is read into shapes of our own, so that
//! only what the contract promises goes on; every refusal of GitHub becomes a failure that a caller can act on, and a
//! write whose answer makes no sense is never told as if nothing had happened.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod events;
mod pages;
mod refusals;
mod wire;

use opsiq_sdk::http::{Request, Response};
use opsiq_sdk::prelude::*;

use crate::pages::Place;

opsiq_sdk::plugin!();

impl Actions for Plugin {
    fn list_issues(ctx: &Context, params: ListIssuesParams) -> Result<ListIssuesResult> {
        let Config { base_url: base, owner } = ctx.config()?;
        let ListIssuesParams { repo, state, since, limit, labels, cursor } = params;
        let place = cursor.as_deref().map(Place::parse).transpose()?.unwrap_or_default();
        let request = ctx
            .http()
            .get(url!("{base}/repos/{owner}/{repo}/issues"))
            .query_if("state", state)
            .query_if("labels", labels.map(|labels| labels.join(",")))
            .query_if("since", since)
            .query_if("per_page", limit)
            .query_if("page", place.page)
            .query_if("after", place.after.as_ref());
        let answer = send(ctx, request)?;
        let next = place.next(answer.headers())?.map(|next| next.to_string());
        let issues: Vec<wire::Issue> = answer
            .json()
            .map_err(|failure| failure.context("a page of issues (a smaller `limit` makes it smaller)"))?;
        let issues = issues.into_iter().filter(|issue| !issue.is_pull_request()).map(Listed::from).collect();
        Ok(ListIssuesResult { issues, next })
    }

    fn get_issue(ctx: &Context, params: GetIssueParams) -> Result<Issue> {
        Ok(read(ctx, &params.repo, params.number)?.into())
    }

    fn create_issue(ctx: &Context, params: CreateIssueParams) -> Result<Issue> {
        let Config { base_url: base, owner } = ctx.config()?;
        let CreateIssueParams { repo, title, body, labels, assignees } = params;
        let mut issue = json!({ "title": title });
        for (name, value) in [("body", json!(body)), ("labels", json!(labels)), ("assignees", json!(assignees))] {
            if !value.is_null() {
                issue[name] = value;
            }
        }
        let request = ctx.http().post(url!("{base}/repos/{owner}/{repo}/issues")).json(&issue);
        let made: wire::Issue = send(ctx, request)?.json()?;
        record(ctx, "issue.created", &json!({ "repository": format!("{owner}/{repo}"), "issue": made.number }));
        Ok(made.into())
    }

    fn comment_on_issue(ctx: &Context, params: CommentOnIssueParams) -> Result<CommentOnIssueResult> {
        let Config { base_url: base, owner } = ctx.config()?;
        let CommentOnIssueParams { repo, number, body } = params;
        let url = url!("{base}/repos/{owner}/{repo}/issues/{number}/comments");
        let made: wire::Comment = send(ctx, ctx.http().post(url).json(&json!({ "body": body })))?.json()?;
        let detail = json!({ "repository": format!("{owner}/{repo}"), "issue": number, "comment": made.id });
        record(ctx, "issue.commented", &detail);
        Ok(made.into())
    }

    fn close_issue(ctx: &Context, params: CloseIssueParams) -> Result<Issue> {
        let Config { base_url: base, owner } = ctx.config()?;
        let CloseIssueParams { repo, number, reason } = params;
        // The same request would close a pull request, which the contract does not promise.
        let found = read(ctx, &repo, number)?;
        if found.is_pull_request() {
            return Err(Failure::invalid(format!("#{number} is a pull request; this closes issues only")));
        }
        let reason = reason.map(|reason| reason.to_string());
        if found.state == IssueState::Closed && (reason.is_none() || reason == found.state_reason) {
            return Ok(found.into());
        }
        let mut change = json!({ "state": "closed" });
        if let Some(reason) = reason {
            change["state_reason"] = reason.into();
        }
        let request = ctx.http().patch(url!("{base}/repos/{owner}/{repo}/issues/{number}")).json(&change);
        let closed: wire::Issue = send(ctx, request)?.json()?;
        if (closed.number, closed.state) != (number, IssueState::Closed) {
            let wrong = format!("GitHub was asked to close #{number} and left #{} {}", closed.number, closed.state);
            return Err(Failure::upstream(Some(200), true, wrong));
        }
        let detail = json!({ "repository": format!("{owner}/{repo}"), "issue": number, "reason": closed.state_reason });
        record(ctx, "issue.closed", &detail);
        Ok(closed.into())
    }
}

impl Webhooks for Plugin {
    fn events(ctx: &Context, delivery: Delivery) -> Result<()> {
        events::receive(ctx, &delivery)
    }
}

/// One issue or pull request.
fn read(ctx: &Context, repo: &str, number: u64) -> Result<wire::Issue> {
    let Config { base_url: base, owner } = ctx.config()?;
    let issue: wire::Issue = send(ctx, ctx.http().get(url!("{base}/repos/{owner}/{repo}/issues/{number}")))?.json()?;
    if issue.number != number {
        let wrong = format!("GitHub was asked for #{number} and answered with #{}", issue.number);
        return Err(Failure::upstream(Some(200), true, wrong));
    }
    Ok(issue)
}

/// Sends a request as GitHub asks for it: it refuses whoever does not say a name.
fn send(ctx: &Context, request: Request) -> Result<Response> {
    let answer = request
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
        .header("user-agent", concat!("opsiq-github/", env!("CARGO_PKG_VERSION")))
        .send()?;
    refusals::accepted(ctx, answer)
}

/// Puts what happened into the audit log. It has happened: a refused event must not make the call look as if it had
/// not, since whoever then calls again does it twice. The host records the refusal itself.
fn record(ctx: &Context, event: &str, detail: &opsiq_sdk::serde_json::Value) {
    if let Err(failure) = ctx.audit(event, detail) {
        error!("{event} {detail}: it was done, but its audit event was refused: {failure:?}");
    }
}

#[cfg(test)]
mod tests;
