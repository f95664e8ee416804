//! What is said over the socket: one request, a line of JSON, and one answer, a line of JSON. Unknown fields are refused,
//! and so is another version; a request is short.

use opsiq_gate::{Actor, By, Host, Selection};
use opsiq_shield::Verdict;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::acting::Acting;
use crate::failure::{Exit, Failure};

/// The version spoken here.
const VERSION: u32 = 1;
/// Bytes of a request, at most.
pub(crate) const REQUEST_MOST: usize = 64 << 10;
/// Bytes of an answer, at most: some ten thousand calls.
pub(crate) const ANSWER_MOST: usize = 32 << 20;

/// Rules about addresses, and signs, of one answer.
pub(crate) const RULES: usize = 1000;
pub(crate) const SIGNALS: usize = 1000;

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    v: u32,
    /// TENANT/USER; the operator when nobody is named.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// What runs, and what may not.
    List {},
    /// To end what runs.
    Stop {
        /// Which calls.
        selector: String,
    },
    /// To let nothing start any more.
    Quarantine {
        /// Of what.
        selector: String,
        /// Why.
        reason: String,
    },
    /// To lift a quarantine.
    Release {
        /// Of what.
        selector: String,
    },
    /// What calls used.
    Totals {
        /// Added up by what.
        by: By,
    },
    /// The same for Prometheus.
    Metrics {},
    /// To begin a backup.
    Backup {
        /// Into this file.
        file: std::path::PathBuf,
    },
    /// How the backup stands that was begun last.
    BackupShow {},
    /// The rules about addresses, after this network.
    FirewallList {
        /// The network; empty for the first.
        after: String,
    },
    /// To place rules about addresses.
    FirewallPut {
        /// What they say.
        verdict: Verdict,
        /// Of what.
        networks: Vec<String>,
        /// Why.
        note: String,
        /// Even if it locks out who asks.
        force: bool,
    },
    /// To remove some.
    FirewallRemove {
        /// Of what.
        networks: Vec<String>,
        /// Even if it locks out who asks.
        force: bool,
    },
    /// What they say of an address.
    FirewallCheck {
        /// Which.
        address: String,
    },
    /// Which networks have a score.
    FirewallScores {},
    /// Signs that accounts may not be used by their users.
    Signals {
        /// Of one user.
        user: Option<String>,
    },
}

/// Read first, because another version may have other fields.
#[derive(Deserialize)]
struct Spoken {
    v: u32,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    v: u32,
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    /// The exit code of a command that ends with the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
}

impl Request {
    /// What `acting` asks.
    pub(crate) fn new(acting: &Acting, ask: Ask) -> Result<Self, Failure> {
        Ok(Self { v: VERSION, who: acting.named_user()?, ask })
    }

    /// As a line.
    pub(crate) fn line(&self) -> Result<String, Failure> {
        let text = serde_json::to_string(self).map_err(|error| Failure::internal("cannot write JSON", &error))?;
        if text.len() >= REQUEST_MOST {
            return Err(Failure::usage(format!("a request to a running host has {REQUEST_MOST} bytes at most")));
        }
        Ok(text + "\n")
    }

    /// A line that came.
    pub(crate) fn read(line: &[u8]) -> Result<Self, Failure> {
        let wrong = |error: serde_json::Error| {
            Failure::new(Exit::Invalid, "control.request", "that is no request").detail(error.to_string())
        };
        let Spoken { v } = serde_json::from_slice(line).map_err(wrong)?;
        if v != VERSION {
            let said = format!("version {VERSION} is spoken here, not {v}");
            return Err(
                Failure::new(Exit::Invalid, "control.version", said).fix("use the opsiq that runs here; opsiq version")
            );
        }
        serde_json::from_slice(line).map_err(wrong)
    }

    /// Does what is asked.
    pub(crate) async fn answer(&self, host: &Host) -> Result<Value, Failure> {
        let actor = match &self.who {
            Some(who) => Acting::user_called(who)?,
            None => Actor::operator(),
        };
        let control = host.control();
        match &self.ask {
            Ask::List {} => json(&control.list(&actor).await?),
            Ask::Stop { selector } => json(&control.stop(&actor, &selection(selector)?).await?),
            Ask::Quarantine { selector, reason } => {
                json(&control.quarantine(&actor, &selection(selector)?, reason).await?)
            }
            Ask::Release { selector } => json(&control.release(&actor, &selection(selector)?).await?),
            Ask::Totals { by } => json(&control.totals(&actor, *by).await?),
            Ask::Metrics {} => json(&control.metrics(&actor).await?),
            Ask::Backup { file } => json(&host.backups().begin(&actor, file).await?),
            Ask::BackupShow {} => json(&host.backups().last(&actor).await?),
            Ask::FirewallList { after } => json(&host.firewall().list(&actor, after, RULES).await?),
            Ask::FirewallPut { verdict, networks, note, force } => {
                json(&host.firewall().put(&actor, *verdict, networks, note, *force).await?)
            }
            Ask::FirewallRemove { networks, force } => json(&host.firewall().remove(&actor, networks, *force).await?),
            Ask::FirewallCheck { address } => json(&host.firewall().check(&actor, address).await?),
            Ask::FirewallScores {} => json(&host.firewall().scores(&actor).await?),
            Ask::Signals { user } => json(&host.users().signals(&actor, user.as_deref(), None, SIGNALS).await?),
        }
    }
}

/// An answer as a line.
pub(crate) fn answer_line(answer: Result<Value, Failure>) -> String {
    let answer = match answer {
        Ok(data) => Answer { v: VERSION, ok: true, data: Some(data), error: None, exit: None },
        Err(failure) => {
            let exit = Some(failure.exit as u8);
            Answer { v: VERSION, ok: false, data: None, error: Some(failure), exit }
        }
    };
    // It is made of texts, numbers and values that were JSON before.
    serde_json::to_string(&answer).unwrap_or_default() + "\n"
}

/// A line that came back.
pub(crate) fn read_answer(line: &[u8]) -> Result<Value, Failure> {
    let wrong = |detail: String| {
        Failure::new(Exit::Unavailable, "control.answer", "the process that has the data directory answers otherwise")
            .detail(detail)
            .fix("use the opsiq that runs there; opsiq version")
    };
    let answer: Answer = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    match answer {
        Answer { v: VERSION, ok: true, data: Some(data), .. } => Ok(data),
        Answer { v: VERSION, error: Some(mut failure), exit: Some(exit), .. } => {
            failure.exit = Exit::of(exit);
            Err(failure)
        }
        Answer { v, .. } => Err(wrong(format!("in version {v}"))),
    }
}

fn selection(text: &str) -> Result<Selection, Failure> {
    text.parse().map_err(|error: opsiq_gate::NoSelection| {
        Failure::new(Exit::Usage, "sandbox.selector", error.to_string()).fix("opsiq sandbox list")
    })
}

fn json(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::internal("cannot write JSON", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let code = |line: &str| Request::read(line.as_bytes()).map_err(|failure| failure.code).err();
        assert_eq!(code(r#"{"v":1,"ask":{"list":{}}}"#), None);
        assert_eq!(code(r#"{"v":1,"as":"acme/ada","ask":{"stop":{"selector":"all"}}}"#), None);
        assert_eq!(code(r#"{"v":2,"ask":{"dance":{}}}"#).as_deref(), Some("control.version"));
        for line in [
            "",
            "{}",
            r#"{"v":1,"ask":{"list":{}},"more":1}"#,
            r#"{"v":1,"ask":{"list":{"more":1}}}"#,
            r#"{"v":1,"ask":{"stop":{}}}"#,
            r#"{"v":1,"ask":{"stop":{"selector":"all","force":true}}}"#,
            r#"{"v":1,"ask":{"dance":{}}}"#,
        ] {
            assert_eq!(code(line).as_deref(), Some("control.request"), "{line}");
        }
    }

    #[test]
    fn a_failure_arrives_with_its_exit_code() {
        let sent = Failure::new(Exit::Refused, "sandbox.selector", "not yours").detail("why").fix("what to do");
        let came = read_answer(answer_line(Err(sent)).as_bytes()).unwrap_err();
        assert_eq!(
            (came.exit, came.code.as_str(), came.fix.as_str()),
            (Exit::Refused, "sandbox.selector", "what to do")
        );
        assert_eq!(read_answer(answer_line(Ok(Value::from(1))).as_bytes()).unwrap(), 1);
        assert!(read_answer(b"{\"v\":1,\"ok\":true}").is_err());
    }
}
