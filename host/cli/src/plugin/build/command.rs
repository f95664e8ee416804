//! The command itself: words from the command line in, one line about the finished plugin out.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Built, Choice, Options, build};
use crate::failure::Failure;
use crate::output::Output;

/// What to build and where to put it.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The plugin's directory, with `contract.toml` beside `Cargo.toml`, `package.json` or `pyproject.toml`.
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Where the component goes; by default `plugins/ID.wasm` in cargo's target directory, or `build/ID.wasm` in the
    /// plugin's.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) how: How,
}

/// How to build.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Which Rust compiler to use.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) toolchain: Choice,

    /// Keep names, for readable backtraces; a Rust plugin gets about a quarter larger.
    #[arg(long)]
    pub(crate) names: bool,

    /// Fail if `Cargo.lock` would change.
    #[arg(long)]
    pub(crate) locked: bool,

    /// Use only what is already on this machine.
    #[arg(long)]
    pub(crate) offline: bool,
}

impl How {
    /// Builds the plugin in `dir`, telling of each step.
    pub(crate) fn build(&self, dir: &Path, to: Option<PathBuf>, out: &Output) -> Result<Built, Failure> {
        let options = Options {
            out: to,
            toolchain: self.toolchain,
            offline: self.offline,
            locked: self.locked,
            names: self.names,
        };
        let mut shown = None;
        let built = build(dir, &options, &mut |step| {
            // One line or spinner at a time: the last one ends before the next begins.
            drop(shown.take());
            shown = Some(out.progress(step));
        })?;
        drop(shown);
        if !built.remarks.is_empty() {
            out.note(&built.remarks);
        }
        Ok(built)
    }
}

/// Builds the plugin.
pub(crate) fn run(args: &BuildArgs, out: &Output) -> Result<(), Failure> {
    let built = args.how.build(&args.dir, args.out.clone(), out)?;
    told(&built, out)
}

/// Tells what was built.
pub(crate) fn told(built: &Built, out: &Output) -> Result<(), Failure> {
    let plugin = built.contract.plugin_ref().to_string();
    let data = json!({
        "plugin": plugin,
        "path": built.path,
        "digest": built.digest,
        "bytes": built.bytes,
        "toolchain": built.toolchain,
    });
    out.data(&data, |_| {
        format!("{plugin}, {} KiB, {}\n{}", built.bytes.div_ceil(1024), built.digest, built.path.display())
    })
}
