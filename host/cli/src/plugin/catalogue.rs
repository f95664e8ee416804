//! `opsiq plugin register` and `list`: which plugins tenants may install.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use opsiq_gate::Registering;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, bytes, time};

/// Registers a component for all tenants.
pub(crate) async fn register(file: &Path, session: &Session<'_>) -> Result<Exit, Failure> {
    let component = super::component(file)?;
    let reach = session.reach().await?;
    let size = bytes(component.len() as u64);
    let shown = Mutex::new(None);
    let watch = |step: Registering| {
        let doing = match step {
            Registering::Checking => format!("Checking {size}"),
            Registering::Compiling { functions } => format!("Compiling {functions} functions"),
            Registering::Storing => "Storing".to_owned(),
        };
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        // One line or spinner at a time: the last one ends before the next begins.
        drop(shown.take());
        *shown = Some(session.out.progress(&doing));
    };
    let registered = reach.register(component, &watch).await;
    drop(shown);
    let (registered, contract) = registered?;
    let data = json!({ "plugin": registered.plugin, "digest": registered.digest, "new": registered.new });
    session.out.data(&data, |_| {
        let mut card = Card::new();
        card.line("plugin", registered.plugin.to_string());
        card.line("digest", registered.digest.to_string());
        card.line("title", &contract.plugin.title);
        card.line("summary", &contract.plugin.summary);
        card.shown()
    })?;
    if !registered.new {
        session.out.note("Exactly these bytes were registered before.");
    }
    Ok(Exit::Done)
}

/// Lists what is registered.
pub(crate) async fn list(session: &Session<'_>) -> Result<Exit, Failure> {
    let entries = session.reach().await?.plugins().await?;
    session.out.data(&entries, |entries| {
        let mut table = Table::new(["plugin", "kind", "title", "size", "registered", "digest"]);
        for entry in entries {
            table.row([
                entry.plugin.to_string(),
                entry.kind.clone(),
                entry.title.clone(),
                bytes(entry.size),
                time(entry.registered_ms),
                entry.digest.to_string(),
            ]);
        }
        table.or("No plugins yet: opsiq plugin register FILE")
    })?;
    Ok(Exit::Done)
}
