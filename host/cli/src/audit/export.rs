//! `opsiq audit export`: entries with their proof, streamed to a file or to standard output.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Args;
use opsiq_audit::export::Range;
use serde_json::json;

use super::ExportForm;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::Session;

/// What to export, and where to.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write, by default standard output. It says what the log says, so only you may read it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The form.
    #[arg(long, value_enum, default_value_t = ExportForm::Jsonl)]
    format: ExportForm,

    /// The first entry.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,

    /// One past the last entry; by default all there are.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,

    /// Leave out the values that lists hide, such as parameters. The export verifies all the same.
    #[arg(long)]
    withhold: bool,
}

/// Writes the export.
pub(crate) async fn run(args: ExportArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    if args.out.is_none() && session.out.is_json() {
        return Err(Failure::usage("with -o json an export goes to a file").fix("--out FILE"));
    }
    let range = Range { from: args.from, to: args.to, reveal: !args.withhold };
    let mut export = session.reach().await?.export(args.format.into(), &range).await?;
    let from = export.from();
    if let Some(from) = from.filter(|from| *from > args.from) {
        session.out.note(&format!("The content of entries before {from} is past its term: the export begins there."));
    }
    let failed = |error: io::Error| match &args.out {
        Some(path) => Failure::file("write", path, &error),
        None => output::closed(&error),
    };
    let sink: Box<dyn io::Write + Send> = match &args.out {
        Some(path) => {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
            Box::new(file.map_err(failed)?)
        }
        None => Box::new(io::stdout()),
    };
    let mut sink = BufWriter::new(sink);
    let progress = session.out.progress("Exporting");
    while let Some(piece) = export.next().await? {
        sink.write_all(&piece).map_err(failed)?;
    }
    sink.flush().map_err(failed)?;
    drop(progress);
    if let Some(path) = &args.out {
        session.out.data(&json!({ "file": path, "from": from }), |_| format!("wrote {}", path.display()))?;
    }
    Ok(Exit::Done)
}
