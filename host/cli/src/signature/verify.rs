//! `opsiq signature verify`.

use std::path::PathBuf;

use clap::Args;
use http::StatusCode;
use opsiq_signing::{Presented, Reading, Refused, Request, verify_reply};
use serde_json::json;

use super::message::{RequestArgs, read_body, read_headers};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::table::time;

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    request: RequestArgs,

    /// The file that holds the request's header fields, one `Name: value` a line, as `signature sign` printed them.
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,

    /// The file that holds the status line and header fields of the reply, as `curl -D FILE` writes them: then it is the
    /// reply that is verified, and the request may be from any time.
    #[arg(long, value_name = "FILE", requires = "reply_body")]
    reply: Option<PathBuf>,

    /// The file whose bytes are the reply's body.
    #[arg(long, value_name = "FILE", requires = "reply")]
    reply_body: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, out: &Output) -> Result<Exit, Failure> {
        let (method, target_uri, body) = (self.request.method()?, self.request.target_uri()?, self.request.body()?);
        let (_, headers) = read_headers(&self.headers)?;
        let secret = self.request.secret()?;
        let request = Request { method: &method, target_uri: &target_uri, headers: &headers, body: &body };
        let presented = Presented::read(&request).map_err(|error| refused("the request", error))?;
        presented.is_made_with(&secret).map_err(|error| refused("the request", error))?;
        let (what, created) = if let (Some(reply), Some(reply_body)) = (&self.reply, &self.reply_body) {
            let (status, headers) = read_headers(reply)?;
            let status: StatusCode = status.ok_or_else(|| {
                Failure::new(Exit::Invalid, "signature.headers", "the reply has no status line")
                    .fix("write it with curl -D FILE")
            })?;
            let (key_id, bound, body) = (&presented.key_id, presented.bound(), read_body(reply_body)?);
            let created = verify_reply(&secret, key_id, bound, status, &headers, &body);
            ("reply", created.map_err(|error| refused("the reply", error))?)
        } else {
            presented.is_timely(Reading::now().wall_ms).map_err(|error| refused("the request", error))?;
            ("request", presented.created)
        };
        let key_id = presented.key_id.to_string();
        let data = json!({ "valid": true, "message": what, "key_id": key_id, "created_ms": created * 1000 });
        out.data(&data, |_| format!("The {what} is signed by {key_id}, made {}.", time(created * 1000)))?;
        Ok(Exit::Done)
    }
}

fn refused(what: &str, error: Refused) -> Failure {
    Failure::new(Exit::Refused, error.code(), format!("{what} is not what was signed"))
        .detail(error.to_string())
        .fix(error.fix())
}
