//! Answers that nobody should be handed.

/// More bytes than an answer may have.
pub(crate) fn giant() -> String {
    format!("{{\"text\":\"{}\"}}", "x".repeat(2 << 20))
}

/// Nested far beyond the depth at which parsers fall over.
pub(crate) fn deep() -> String {
    format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))
}

/// No JSON.
pub(crate) fn invalid() -> String {
    "{\"text\": \"unfinished".into()
}

/// JSON in which one name means two things.
pub(crate) fn duplicate_keys() -> String {
    r#"{"text":"a","text":"b"}"#.into()
}

/// JSON, but not what the contract says.
pub(crate) fn off_contract() -> String {
    r#"{"text":5,"extra":true}"#.into()
}
