//! `opsiq keys`: the root key and the keys of tenants, under which everything is sealed. An operator's commands. The secrets
//! of installations are `opsiq key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use opsiq_contract::TenantId;
use opsiq_gate::{Host, KeyStatus, KeysVerified, MasterKeys, RootRotated, TenantRotated, Walked};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, time};

/// What can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Replace a key while calls go on, or go on with a rotation that was stopped: --tenant NAME, --all-tenants or --root.
    Rotate(Which),
    /// Open every key and every sealed value, and name what does not open. Ends with 9 when something does not.
    Verify,
    /// Say which root key is expected, whether it is here, and which generations of keys there are. Needs no root key.
    Status,
    /// Make a new root key in a file of its own, to rotate to where the root key is given as text.
    Generate {
        /// The file, which must not exist.
        file: PathBuf,
    },
}

/// Which key. The tenant is named by the option that all commands share.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The keys of all tenants, one after the other.
    #[arg(long, conflicts_with = "root")]
    all_tenants: bool,

    /// The root key. In a file, it is replaced there by a new one; given as text, the next one is given too, with
    /// --next-root-key-file or in `OPSIQ_ROOT_KEY_NEXT`.
    #[arg(long)]
    root: bool,
}

/// Runs one of them.
pub(crate) async fn run(command: KeysCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        KeysCommand::Rotate(which) => rotate(&which, session).await,
        KeysCommand::Verify => verify(session).await,
        KeysCommand::Status => {
            let status = Host::key_status(&session.place.options()?).await?;
            session.out.data(&status, shown)?;
            Ok(Exit::Done)
        }
        KeysCommand::Generate { file } => {
            let root = MasterKeys::generate_root(&file)?;
            session.out.data(&json!({ "file": file, "root": root }), |_| {
                let mut card = Card::new();
                card.line("root key", format!("{} (id {root})", file.display()));
                card.shown()
            })?;
            Ok(Exit::Done)
        }
    }
}

async fn rotate(which: &Which, session: &Session<'_>) -> Result<Exit, Failure> {
    let named = session.acting.tenant()?;
    if !which.root && !which.all_tenants && named.is_none() {
        return Err(Failure::usage("which keys?").fix("--tenant NAME, --all-tenants, or --root"));
    }
    if which.root {
        let (host, actor) = session.as_anyone().await?;
        let progress = session.out.progress("Putting every key under a new root key");
        let done = host.master_keys().rotate_root(&actor).await?;
        drop(progress);
        session.out.data(&json!({ "root": done }), |_| root_shown(&done))?;
        session.out.note(match &done.file {
            Some(_) => "Keep a copy of the new root key apart from the data; the old one opens nothing here any more.",
            None => "From now on give the next root key alone; the old one opens nothing here any more.",
        });
        return Ok(Exit::Done);
    }
    let (host, actor) = session.as_anyone().await?;
    let tenants: Vec<TenantId> = match named.filter(|_| !which.all_tenants) {
        Some(tenant) => vec![tenant],
        None => host.tenants().list(&actor).await?.into_iter().map(|tenant| tenant.id).collect(),
    };
    let mut all = Vec::new();
    for tenant in tenants {
        let progress = session.out.progress(&format!("Rotating the key of {tenant}"));
        let told = |at: Walked<'_>| progress.at(&format!("Rotating the key of {tenant}: {} {}", at.table, at.values));
        all.push(host.master_keys().rotate_tenant(&actor, &tenant, &told).await?);
    }
    session.out.data(&json!({ "tenants": all }), |_| rotated(&all))?;
    Ok(Exit::Done)
}

fn root_shown(done: &RootRotated) -> String {
    let mut card = Card::new();
    card.line("from", &done.from);
    card.line("to", &done.to);
    card.line("keys moved", done.moved.to_string());
    if let Some(file) = &done.file {
        card.line("file", file.display().to_string());
    }
    card.shown()
}

fn rotated(all: &[TenantRotated]) -> String {
    let mut table = Table::new(["tenant", "generation", "key", "destroyed", "values moved"]);
    for done in all {
        table.row([
            done.tenant.to_string(),
            done.generation.to_string(),
            done.key.clone(),
            done.destroyed.join(" "),
            done.values().to_string(),
        ]);
    }
    table.or("No tenants yet.")
}

async fn verify(session: &Session<'_>) -> Result<Exit, Failure> {
    let (host, actor) = session.as_anyone().await?;
    let progress = session.out.progress("Opening everything");
    let told = |at: Walked<'_>| progress.at(&format!("Opening everything: {} {}", at.table, at.values));
    let found = host.master_keys().verify(&actor, &told).await?;
    drop(progress);
    if found.faulty == 0 {
        session.out.data(&found, verified)?;
        return Ok(Exit::Done);
    }
    session.out.table(|| verified(&found))?;
    let named = found.faults.iter().map(|fault| {
        let whose = if fault.tenant.is_empty() { "host" } else { &fault.tenant };
        format!("{whose}: {}.{} {}: {}", fault.table, fault.column, fault.row, fault.why)
    });
    let mut named: Vec<String> = named.collect();
    if found.faulty > named.len() as u64 {
        named.push(format!("and {} more", found.faulty - named.len() as u64));
    }
    let title = format!("{} keys or values do not open", found.faulty);
    let failure = Failure::new(Exit::Tampered, "keys.faulty", title).detail(named.join("\n"));
    let data = serde_json::to_value(&found).map_err(|error| Failure::internal("cannot write JSON", &error))?;
    Err(failure.fix("restore them from a backup; see opsiq doctor").data(data))
}

fn verified(found: &KeysVerified) -> String {
    let mut card = Card::new();
    card.line("root key", format!("{}, {}", found.root, found.root_kept));
    let mut table = Table::new(["table", "column", "values", "under an older key"]);
    let older = |older: u64| if older == 0 { String::new() } else { older.to_string() };
    table.row(["tenant_key".to_owned(), "wrapped".to_owned(), found.keys.to_string(), String::new()]);
    for column in &found.columns {
        let (values, older) = (column.values.to_string(), older(column.older));
        table.row([column.table.to_owned(), column.column.to_owned(), values, older]);
    }
    format!("{}\n\n{}", card.shown(), table.or(""))
}

fn shown(status: &KeyStatus) -> String {
    let mut card = Card::new();
    card.line("root key", format!("expects {}", status.expected_root));
    card.line("state", if status.sealed { "sealed" } else { "opens" });
    card.line("why", status.why.clone().unwrap_or_default());
    if let Some(to) = &status.rotating_to {
        card.line("rotation", format!("to root key {to}, unfinished: opsiq keys rotate --root"));
    }
    let mut table = Table::new(["tenant", "generation", "key", "under root key", "made", "rotation"]);
    for tenant in &status.tenants {
        for key in &tenant.keys {
            table.row([
                tenant.tenant.to_string(),
                key.generation.to_string(),
                key.key.clone().unwrap_or_else(|| "(damaged)".to_owned()),
                key.root.clone().unwrap_or_default(),
                time(key.created_ms),
                if tenant.rotating { "unfinished".to_owned() } else { String::new() },
            ]);
        }
    }
    format!("{}\n\n{}", card.shown(), table.or("No tenants yet."))
}
