//! One line of the stream, read. Parameters stay the text they came as: the gate reads them, strictly.

use opsiq_gate::Call;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::lines::{Line, MAX_LINE};
use crate::failure::{Exit, Failure};

/// What a caller calls a call: a text or an integer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, expecting = "an id is a text or an integer")]
pub(crate) enum CallId {
    /// An integer.
    Number(i64),
    /// A text.
    Text(String),
}

/// Characters of an id, at most.
const ID_MOST: usize = 256;

/// What a line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// A call.
    Call {
        /// Comes back with the answer.
        id: CallId,
        /// As the gate takes it.
        call: Call,
        /// Who calls, when the line says so.
        who: Option<String>,
    },
    /// To let go of the call of this id.
    Cancel(CallId),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    id: Option<CallId>,
    cancel: Option<CallId>,
    installation: Option<String>,
    action: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    idempotency_key: Option<String>,
    #[serde(rename = "as")]
    who: Option<String>,
}

impl Request {
    /// What `line` asks for; `None` when it is empty.
    pub(crate) fn read(line: &Line) -> Result<Option<Self>, Failure> {
        if line.cut {
            let most = format!("a line may have {MAX_LINE} bytes");
            return Err(invalid().detail(most));
        }
        if line.bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        let fields: Fields<'_> =
            serde_json::from_slice(&line.bytes).map_err(|error| invalid().detail(error.to_string()))?;
        let request = match fields {
            Fields {
                id: None,
                cancel: Some(id),
                installation: None,
                action: None,
                params: None,
                idempotency_key: None,
                who: None,
            } => Self::Cancel(id),
            Fields {
                id: Some(id),
                cancel: None,
                installation: Some(installation),
                action: Some(action),
                params,
                idempotency_key,
                who,
            } => {
                let params = params.map_or("{}", RawValue::get).as_bytes().to_vec();
                Self::Call { id, call: Call { installation, action, params, idempotency_key }, who }
            }
            _ => return Err(invalid().detail("a call has `id`, `installation` and `action`; `cancel` stands alone")),
        };
        let (Self::Call { id, .. } | Self::Cancel(id)) = &request;
        if matches!(id, CallId::Text(text) if text.chars().count() > ID_MOST) {
            return Err(invalid().detail(format!("an id may have {ID_MOST} characters")));
        }
        Ok(Some(request))
    }
}

fn invalid() -> Failure {
    Failure::new(Exit::Invalid, "stream.line", "the line is no call")
        .fix(r#"{"id":1,"installation":NAME,"action":NAME,"params":{…}}; see opsiq action stream --help"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Request>, String> {
        let line = Line { number: 1, bytes: text.as_bytes().to_vec(), cut: false };
        Request::read(&line).map_err(|failure| failure.detail)
    }

    #[test]
    fn parameters_stay_as_they_came() {
        let text = r#"{"id":"a","installation":"shop","action":"get","params":{"a":1.0, "a":2},"as":"acme/ada"}"#;
        let Ok(Some(Request::Call { id, call, who })) = read(text) else { panic!("no call") };
        assert_eq!((id, who.as_deref()), (CallId::Text("a".to_owned()), Some("acme/ada")));
        assert_eq!(call.params, br#"{"a":1.0, "a":2}"#);
    }

    #[test]
    fn what_is_no_call_is_refused() {
        assert!(matches!(read(r#"{"cancel":7}"#), Ok(Some(Request::Cancel(CallId::Number(7))))));
        assert!(matches!(read("  "), Ok(None)));
        for text in [
            "x",
            "[]",
            r#"{"id":1}"#,
            r#"{"id":1.5,"installation":"a","action":"b"}"#,
            r#"{"installation":"a","action":"b"}"#,
            r#"{"id":1,"installation":"a","action":"b","more":1}"#,
            r#"{"id":1,"id":2,"installation":"a","action":"b"}"#,
            r#"{"id":1,"cancel":1,"installation":"a","action":"b"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let long = format!(r#"{{"cancel":"{}"}}"#, "x".repeat(ID_MOST + 1));
        assert!(read(&long).is_err());
    }
}
