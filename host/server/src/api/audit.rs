//! The audit log: owners read their tenant's, the operator the host's own. Exports go out piece by piece.

use axum::http::header::CONTENT_DISPOSITION;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use opsiq_audit::export::Range;
use opsiq_audit::{Export, Filter, Format, Kind};
use opsiq_contract::InvocationId;
use opsiq_shield::Class;
use serde_json::json;

use crate::ask::{Ask, Content, Done, Reply, cursor, wrong};
use crate::routes::{Routes, Spec};

/// JSON Lines.
const JSONL: &str = "application/jsonl";
/// CSV (RFC 4180).
const CSV: &str = "text/csv; charset=utf-8";
const NUMBER: &str = r#"{"type":"integer","minimum":0,"format":"int64"}"#;
const TEXT: &str = r#"{"type":"string"}"#;
const KINDS: &str = r#"{"type":"string","enum":["intent","outcome","refused","interrupted","admin","event","denial","confirmation","read","leak","signal"]}"#;

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/audit", "audit.list", "Entries, newest first, each checked against the log's tree. Reading is itself an entry. For owners; the host's own log for the operator.")
            .paged()
            .param("kind", KINDS, "Only of this kind.")
            .param("action", TEXT, "Only about this action.")
            .param("invocation", r#"{"type":"string","format":"uuid"}"#, "Only of this invocation.")
            .gives("AuditPage", "Entries. A page may be short, even empty, and have a next."),
        list,
    );
    routes.add(
        Spec::get("/v1/audit/export", "audit.export", "Entries with all that a stranger with the public key needs to verify them offline, in bounded memory. For owners.")
            .param("format", r#"{"type":"string","enum":["jsonl","csv"],"default":"jsonl"}"#, "The form.")
            .param("from", NUMBER, "The first entry.")
            .param("to", NUMBER, "One past the last entry; all there are unless said.")
            .param("withhold", r#"{"type":"boolean","default":false}"#, "Leave out the values that lists hide. It verifies all the same.")
            .counted(Class::Exports)
            .gives_as(200, JSONL, "", "The entries.")
            .gives_as(200, CSV, "", "The entries, for a spreadsheet."),
        export,
    );
    routes.add(
        Spec::post(
            "/v1/audit/checkpoint",
            "audit.checkpoint",
            "Sign the log as it is now: a C2SP checkpoint, to be kept somewhere else. For owners.",
        )
        .gives("Checkpoint", "The signed head."),
        checkpoint,
    );
    routes.add(
        Spec::get("/v1/audit/key", "audit.key", "The public key that verifies the log.").gives("AuditKey", "The key."),
        key,
    );
    routes.add(
        Spec::get(
            "/v1/audit/{entry}/proof",
            "audit.proof",
            "One entry with its proof, as an export that `opsiq audit verify` checks. For owners.",
        )
        .gives_as(200, JSONL, "", "The entry, its proof, and the signed head it leads to."),
        proof,
    );
}

async fn list(ask: Ask) -> Done {
    let before = ask.cursor()?.map(|text| text.parse().map_err(|_| wrong("cursor"))).transpose()?;
    let filter = Filter {
        kind: ask.query_as::<Kind>("kind")?,
        action: ask.query("action").map(str::to_owned),
        invocation: ask.query_as::<InvocationId>("invocation")?,
        before,
        limit: ask.limit()?,
    };
    let page = ask.host.audit().list(&ask.actor, &filter).await?;
    Reply::json(&json!({ "items": page.entries, "next": page.next.map(|next| cursor(&next.to_string())) }))
}

async fn export(ask: Ask) -> Done {
    let (format, media, name) = match ask.query("format") {
        None | Some("jsonl") => (Format::Jsonl, JSONL, "audit.jsonl"),
        Some("csv") => (Format::Csv, CSV, "audit.csv"),
        Some(_) => return Err(wrong("format")),
    };
    let from = ask.query_as("from")?.unwrap_or(0);
    let range = Range { from, to: ask.query_as("to")?, reveal: !ask.flag("withhold")? };
    let export = ask.host.audit().export(&ask.actor, format, &range).await?;
    Ok(streamed(export, media, name))
}

async fn proof(ask: Ask) -> Done {
    let entry: u64 = ask.path("entry").parse().map_err(|_| wrong("entry"))?;
    let to = entry.checked_add(1).ok_or_else(|| wrong("entry"))?;
    let range = Range { from: entry, to: Some(to), reveal: true };
    let export = ask.host.audit().export(&ask.actor, Format::Jsonl, &range).await?;
    Ok(streamed(export, JSONL, "proof.jsonl"))
}

/// An export as a body: its next piece is made when the one before is taken.
fn streamed(export: Export, media: &'static str, name: &str) -> Reply {
    let pieces = stream::unfold(Some(export), |export| async {
        let mut export = export?;
        match export.next().await {
            Ok(Some(piece)) => Some((Ok(Bytes::from(piece)), Some(export))),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%error, "an export ended before its end");
                Some((Err(std::io::Error::other("the log is not what was signed")), None))
            }
        }
    });
    let mut reply = Reply::bytes(media, Bytes::new());
    reply.content = Content::Stream(pieces.boxed());
    reply.header(CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))
}

async fn checkpoint(ask: Ask) -> Done {
    let note = ask.host.audit().checkpoint(&ask.actor).await?;
    Reply::json(&json!({ "checkpoint": note }))
}

async fn key(ask: Ask) -> Done {
    let key = ask.host.audit().public_key(&ask.actor).await?;
    Reply::json(&json!({ "key": key.to_string() }))
}
