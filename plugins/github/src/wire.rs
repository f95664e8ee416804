//! What GitHub answers, as far as the contract promises it on. Deleted accounts are null, and older servers leave out
//! what is newer than they are.

use opsiq_sdk::serde::Deserialize;
use opsiq_sdk::serde::de::IgnoredAny;

use crate::{CommentOnIssueResult, IssueState, Listed, ListedState};

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
pub(crate) struct Issue {
    pub(crate) number: u64,
    title: String,
    pub(crate) state: IssueState,
    #[serde(default)]
    pub(crate) state_reason: Option<String>,
    user: Option<User>,
    #[serde(default)]
    assignees: Vec<User>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    comments: u64,
    html_url: String,
    created_at: String,
    updated_at: String,
    #[serde(default)]
    closed_at: Option<String>,
    #[serde(default)]
    body: Option<String>,
    /// Present on what is no issue.
    #[serde(default)]
    pull_request: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
struct User {
    login: String,
}

/// A label as the API describes it: an object whose name may be null, or the name alone.
#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde", untagged)]
enum Label {
    Name(String),
    Object { name: Option<String> },
}

#[derive(Deserialize)]
#[serde(crate = "opsiq_sdk::serde")]
pub(crate) struct Comment {
    pub(crate) id: u64,
    user: Option<User>,
    html_url: String,
    created_at: String,
}

impl Issue {
    pub(crate) fn is_pull_request(&self) -> bool {
        self.pull_request.is_some()
    }
}

fn logins(users: Vec<User>) -> Vec<String> {
    users.into_iter().map(|user| user.login).collect()
}

fn names(labels: Vec<Label>) -> Vec<String> {
    let name = |label| match label {
        Label::Name(name) => Some(name),
        Label::Object { name } => name,
    };
    labels.into_iter().filter_map(name).collect()
}

impl From<Issue> for crate::Issue {
    fn from(issue: Issue) -> Self {
        Self {
            pull_request: issue.is_pull_request(),
            number: issue.number,
            title: issue.title,
            state: issue.state,
            state_reason: issue.state_reason,
            author: issue.user.map(|user| user.login),
            assignees: logins(issue.assignees),
            labels: names(issue.labels),
            comments: issue.comments,
            url: issue.html_url,
            created: issue.created_at,
            updated: issue.updated_at,
            closed: issue.closed_at,
            body: issue.body,
        }
    }
}

impl From<Issue> for Listed {
    fn from(issue: Issue) -> Self {
        Self {
            number: issue.number,
            title: issue.title,
            state: match issue.state {
                IssueState::Open => ListedState::Open,
                IssueState::Closed => ListedState::Closed,
            },
            state_reason: issue.state_reason,
            author: issue.user.map(|user| user.login),
            assignees: logins(issue.assignees),
            labels: names(issue.labels),
            comments: issue.comments,
            url: issue.html_url,
            created: issue.created_at,
            updated: issue.updated_at,
            closed: issue.closed_at,
        }
    }
}

impl From<Comment> for CommentOnIssueResult {
    fn from(comment: Comment) -> Self {
        Self {
            id: comment.id,
            author: comment.user.map(|user| user.login),
            url: comment.html_url,
            created: comment.created_at,
        }
    }
}
