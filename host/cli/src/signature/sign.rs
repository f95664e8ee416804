//! `opsiq signature sign`.

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use opsiq_signing::{IDEMPOTENCY_KEY, KeyId, Reading, Request, sign_request, write_idempotency_key};
use serde_json::json;

use super::message::{RequestArgs, header, key_id};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Random bytes of a nonce.
const NONCE: usize = 24;

/// What to sign.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    #[command(flatten)]
    request: RequestArgs,

    /// Whose secret it is: TENANT/CLIENT/VERSION, as `client create` shows it.
    #[arg(long, value_parser = key_id, env = "OPSIQ_KEY_ID")]
    key_id: KeyId,

    /// The idempotency key, printed and signed with the rest; the same one when the same request is tried again.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Another header field that the request has, as `Name: value`; may be given several times. All are printed, so send none
    /// of them again; only content-type, content-encoding, if-match and idempotency-key are signed.
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Sign {
    pub(super) fn run(self, out: &Output) -> Result<Exit, Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        if let Some(key) = &self.idempotency_key {
            let value = write_idempotency_key(key);
            let value =
                value.ok_or_else(|| Failure::usage("an idempotency key is 1 to 255 visible ASCII characters"))?;
            headers.append(HeaderName::from_static(IDEMPOTENCY_KEY), value);
        }
        let (method, target_uri, body) = (self.request.method()?, self.request.target_uri()?, self.request.body()?);
        let secret = self.request.secret()?;
        let mut nonce = [0; NONCE];
        opsiq_vault::fresh(&mut nonce);
        let nonce = hex::encode(nonce);
        let request = Request { method: &method, target_uri: &target_uri, headers: &headers, body: &body };
        let signed = sign_request(&request, &self.key_id, &secret, Reading::now().wall_ms / 1000, &nonce);
        let signed = signed.map_err(|error| {
            Failure::new(Exit::Invalid, error.code(), "this request cannot be signed").detail(error.to_string())
        })?;
        headers.extend(signed);
        let fields: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let data = json!({ "headers": fields, "url": target_uri, "method": method.as_str() });
        out.data(&data, |_| {
            let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            lines.join("\n")
        })?;
        Ok(Exit::Done)
    }
}
