//! The words `opsiq` understands: the options every command shares, and the list of commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::output::Format;
use crate::plugin::PluginCommand;

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 internal error · 2 usage · 3 refused, with the rule and the fix · 4 waits for a confirmation · \
5 not found · 6 invalid parameters, contract or component · 7 the plugin failed or met a limit · \
8 audit or disk unavailable, nothing happened · 9 tampering detected · 130 interrupted.";

/// Run sandboxed connectors and actions under contract: scoped, confirmed where risky, audited.
#[derive(Debug, Parser)]
#[command(name = "opsiq", version, after_help = EXIT_CODES, propagate_version = false)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The data directory.
    #[arg(long, global = true, env = "OPSIQ_DATA", value_name = "DIR", default_value = "opsiq-data")]
    pub(crate) data: PathBuf,

    /// How results are shown.
    #[arg(short, long, global = true, env = "OPSIQ_OUTPUT", value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `opsiq` can be asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build and inspect plugins, and keep the catalogue.
    #[command(subcommand)]
    Plugin(PluginCommand),

    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete for.
        #[arg(value_enum)]
        shell: Shell,
    },

    /// Print the versions of the host, of the plugin interface and of the engine.
    Version,
}
