//! `opsiq audit verify`: is this export what the host signed? Needs the file and the public key, and nothing of the host.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use opsiq_audit::{Format, PublicKey, verify};
use serde_json::json;

use super::ExportForm;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Which export, against what.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The export, or `-` for standard input.
    file: PathBuf,

    /// The log's public key, as `opsiq audit key` printed it, or a file that holds it.
    #[arg(long, value_name = "KEY")]
    key: String,

    /// A checkpoint kept from earlier, which the export must agree with.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// The export's form; by default what its first character says.
    #[arg(long, value_enum)]
    format: Option<ExportForm>,
}

/// Checks the export; ends with 9 and the first bad entry when it was changed.
pub(crate) fn run(args: &VerifyArgs, out: &Output) -> Result<Exit, Failure> {
    let key = public_key(&args.key)?;
    let kept = match &args.checkpoint {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?),
        None => None,
    };
    let source: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).map_err(|error| Failure::file("read", &args.file, &error))?)
    };
    let mut source = BufReader::new(source);
    let format = match args.format {
        Some(form) => form.into(),
        None => match source.fill_buf() {
            Ok([b'{', ..]) => Format::Jsonl,
            Ok(_) => Format::Csv,
            Err(error) => return Err(Failure::file("read", &args.file, &error)),
        },
    };
    let progress = out.progress("Verifying");
    let report = verify::check(source, format, &key, kept.as_deref());
    drop(progress);
    let report = report.map_err(|error| Failure::file("read", &args.file, &error))?;
    let data = json!({
        "good": report.is_good(),
        "log": report.log.as_ref().map(ToString::to_string),
        "from": report.from,
        "to": report.to,
        "entries": report.entries,
        "withheld": report.withheld,
        "first_bad": report.first_bad.as_ref().map(|bad| json!({ "line": bad.line, "seq": bad.seq, "why": bad.why })),
    });
    if let Some(bad) = &report.first_bad {
        return Err(Failure::new(Exit::Tampered, "audit.tampered", "this export is not what the host signed")
            .detail(format!("{bad}\n{} entries before it are good", report.entries))
            .fix("ask an owner for a fresh export; keep this one as evidence")
            .data(data));
    }
    out.data(&data, |_| {
        let log = report.log.as_ref().map(ToString::to_string).unwrap_or_default();
        let withheld = match report.withheld {
            0 => String::new(),
            fields => format!(", {fields} fields withheld"),
        };
        format!("good: {} entries of {log}, as signed{withheld}", report.entries)
    })?;
    Ok(Exit::Done)
}

/// Longest file taken for a key, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;

fn public_key(given: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = given.trim().parse() {
        return Ok(key);
    }
    let mut text = String::new();
    let path = Path::new(given);
    let read = File::open(path).and_then(|file| file.take(MAX_KEY_FILE).read_to_string(&mut text));
    read.ok().and_then(|_| text.trim().parse().ok()).ok_or_else(|| {
        Failure::new(Exit::Invalid, "audit.key", "this is no public key of a log, nor a file that holds one")
            .fix("opsiq audit key prints it; take it from the host once and keep it")
    })
}
