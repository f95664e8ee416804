//! The audit log.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use opsiq_audit::export::Range;
use opsiq_audit::{Export, Filter, Format, Page, View};
use serde::Deserialize;

use super::Reach;
use crate::failure::{Exit, Failure};
use crate::remote::{Api, Sent, escaped};

/// Entries of one page of the API.
const PAGE: usize = 1000;

/// A page as the API gives it.
#[derive(Deserialize)]
struct Given {
    items: Vec<View>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
struct Checkpoint {
    checkpoint: String,
}

/// An export, piece by piece.
pub(crate) enum Exporting {
    /// From the data directory.
    Here(Box<Export>),
    /// From a server.
    There(Box<Api>, Incoming),
}

impl Exporting {
    /// The first entry whose content is still there, where that is known before the export is read.
    pub(crate) fn from(&self) -> Option<u64> {
        match self {
            Self::Here(export) => Some(export.from()),
            Self::There(..) => None,
        }
    }

    /// The next piece, if there is one. An export that ends early is a failure, never a short file.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Here(export) => Ok(export.next().await?.map(Bytes::from)),
            Self::There(api, body) => loop {
                let Some(frame) = body.frame().await else { return Ok(None) };
                if let Ok(piece) = frame.map_err(|error| api.broken(&error))?.into_data() {
                    return Ok(Some(piece));
                }
            },
        }
    }
}

async fn list_there(api: &Api, filter: &Filter) -> Result<Page, Failure> {
    // As the gate reads it.
    let most = if filter.limit == 0 { 100 } else { filter.limit };
    let mut page = Page { entries: Vec::new(), next: filter.before };
    loop {
        let limit = (most - page.entries.len()).min(PAGE);
        let mut path = format!("/v1/audit?limit={limit}");
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(path, "&{name}={}", escaped(&value));
            }
        };
        add("kind", filter.kind.map(|kind| kind.to_string()));
        add("action", filter.action.clone());
        add("invocation", filter.invocation.as_ref().map(ToString::to_string));
        add("cursor", page.next.map(|before| URL_SAFE_NO_PAD.encode(before.to_string())));
        let Given { items, next } = api.get(path).await?;
        page.entries.extend(items);
        page.next = next.as_deref().map(place).transpose()?;
        if page.next.is_none() || page.entries.len() >= most || most <= PAGE {
            return Ok(page);
        }
    }
}

/// The number of an entry that a cursor names.
fn place(cursor: &str) -> Result<u64, Failure> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Failure::new(Exit::Internal, "addr.answer", "the server's cursor is none that is known here"))
}

impl Reach<'_> {
    /// Entries, newest first.
    pub(crate) async fn entries(&self, filter: &Filter) -> Result<Page, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.audit().list(actor, filter).await?),
            Self::There(api) => list_there(api, filter).await,
        }
    }

    /// Begins an export.
    pub(crate) async fn export(&self, format: Format, range: &Range) -> Result<Exporting, Failure> {
        match self {
            Self::Here(host, actor) => Ok(Exporting::Here(Box::new(host.audit().export(actor, format, range).await?))),
            Self::There(api) => {
                let form = match format {
                    Format::Jsonl => "jsonl",
                    Format::Csv => "csv",
                };
                let to = range.to.map(|to| format!("&to={to}")).unwrap_or_default();
                let path = format!("/v1/audit/export?format={form}&from={}{to}&withhold={}", range.from, !range.reveal);
                let body = api.stream(Sent::new(Method::GET, path)).await?;
                Ok(Exporting::There(Box::new(api.clone()), body))
            }
        }
    }

    /// Signs the log as it is now.
    pub(crate) async fn checkpoint(&self) -> Result<String, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.audit().checkpoint(actor).await?),
            Self::There(api) => Ok(api.post::<Checkpoint>("/v1/audit/checkpoint".to_owned()).await?.checkpoint),
        }
    }

    /// What verifies the log.
    pub(crate) async fn audit_key(&self) -> Result<String, Failure> {
        match self {
            Self::Here(host, actor) => Ok(host.audit().public_key(actor).await?.to_string()),
            Self::There(api) => Ok(api.get::<Key>("/v1/audit/key".to_owned()).await?.key),
        }
    }
}
