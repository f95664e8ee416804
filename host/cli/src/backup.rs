//! `opsiq backup`: everything that is kept in one sealed and signed file, made by whoever has the data directory, while calls
//! go on; and, with --verify, whether such a file is whole.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use opsiq_gate::{BackupState, BackupVerified, BackupView, Host, PublicKey, VerifyOptions};
use serde::Deserialize as _;
use serde_json::Value;

use crate::control::protocol::Ask;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, bytes, time};

/// How often to look how far it is.
const LOOK: Duration = Duration::from_millis(100);
/// Longest file taken for a key, in bytes.
const KEY_MOST: u64 = 64 << 10;

const KEYS: &str = "\
A backup opens with two keys: the root key, and an epoch key from the file of epoch keys beside it (root.key.epochs, or \
[backup] epochs in opsiq.toml). Keep the newest copy of both apart from the backups, and none that is older: an epoch key is \
destroyed within 30 days, and with it whatever was erased is gone from every backup.";

/// What to back up into, or what to verify.
#[derive(Debug, Args)]
#[command(after_help = KEYS)]
pub(crate) struct BackupArgs {
    /// The file, which is made anew.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Make none: say whether this one is whole and signed, which needs no key; with its keys, open everything in it.
    #[arg(long)]
    verify: bool,

    /// The public key that must have signed it, or a file that holds it; by default the one it names itself.
    #[arg(long, value_name = "KEY", requires = "verify")]
    key: Option<String>,

    /// The file of epoch keys, when it is not beside the root key's.
    #[arg(long, value_name = "FILE", requires = "verify")]
    epochs: Option<PathBuf>,
}

/// Makes one, or verifies one.
pub(crate) async fn run(args: BackupArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    if args.verify { verify(args, session).await } else { make(&args.file, session).await }
}

async fn make(file: &Path, session: &Session<'_>) -> Result<Exit, Failure> {
    let file = std::path::absolute(file).map_err(|error| Failure::file("name", file, &error))?;
    let progress = session.out.progress("Backing up");
    let mut data = session.control(Ask::Backup { file }).await?;
    let made = loop {
        let view = view(&data)?;
        match view.state {
            BackupState::Running => {
                progress.at(&format!("Backing up: {} rows, {}", view.rows, bytes(view.bytes)));
                tokio::time::sleep(LOOK).await;
            }
            BackupState::Failed => {
                let none = || Failure::new(Exit::Unavailable, "backup.failed", "the backup was not made");
                return Err(view.refusal.map_or_else(none, Failure::from));
            }
            BackupState::Done => break view,
        }
        data = session.control(Ask::BackupShow {}).await?;
    };
    drop(progress);
    session.out.data(&made, shown)?;
    if made.missing > 0 {
        session.out.note(&format!("{} plugin files are missing and not in it: see opsiq doctor.", made.missing));
    }
    session.out.note(&format!(
        "It opens until {}, with root key {} and the newest copy of {}; keep both apart from it.",
        time(made.opens_until_ms),
        made.root,
        made.epochs.display()
    ));
    Ok(Exit::Done)
}

fn view(data: &Value) -> Result<BackupView, Failure> {
    BackupView::deserialize(data).map_err(|error| Failure::internal("the host's answer is of another form", &error))
}

fn shown(made: &BackupView) -> String {
    let mut card = Card::new();
    card.line("backup", made.file.display().to_string());
    card.line("of", time(made.made_ms));
    card.line("holds", format!("{} rows, {} plugin files, {}", made.rows, made.plugins, bytes(made.bytes)));
    card.line("sha256", made.sha256.clone().unwrap_or_default());
    card.line("needs", format!("root key {}, epoch key {}", made.root, made.epoch));
    card.line("opens until", time(made.opens_until_ms));
    card.line("signed by", &made.key);
    card.shown()
}

async fn verify(args: BackupArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let key = args.key.as_deref().map(public_key).transpose()?;
    let options = VerifyOptions { file: args.file, key, epochs: args.epochs };
    let progress = session.out.progress("Verifying");
    let found = Host::verify_backup(&session.place.options()?, &options).await?;
    drop(progress);
    session.out.data(&found, verified)?;
    if !found.key_given {
        session.out.note("It is signed by the key it names itself: give the host's with --key to know whose it is.");
    }
    Ok(Exit::Done)
}

fn verified(found: &BackupVerified) -> String {
    let mut card = Card::new();
    card.line("backup", "whole and signed");
    card.line("of", time(found.header.made_ms));
    card.line("signed by", &found.header.key);
    card.line("sha256", &found.sha256);
    card.line("needs", format!("root key {}, epoch key {}", found.header.root, found.header.epoch));
    card.line("opens until", time(found.header.opens_until_ms));
    match (&found.holds, &found.sealed) {
        (Some(holds), _) => {
            let (rows, plugins, keys) = (holds.rows, holds.blobs, found.tenant_keys);
            card.line("opened", format!("all of it: {rows} rows, {plugins} plugin files, {keys} keys of tenants"));
        }
        (None, Some(why)) => card.line("not opened", why),
        (None, None) => {}
    }
    card.shown()
}

fn public_key(given: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = given.trim().parse() {
        return Ok(key);
    }
    let mut text = String::new();
    let read = std::fs::File::open(given).and_then(|file| file.take(KEY_MOST).read_to_string(&mut text));
    read.ok().and_then(|_| text.trim().parse().ok()).ok_or_else(|| {
        Failure::new(Exit::Invalid, "backup.key", "this is no public key of backups, nor a file that holds one")
            .fix("opsiq backup prints it with every backup; keep it")
    })
}
