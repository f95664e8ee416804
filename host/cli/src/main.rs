//! The `opsiq` command: the host on a data directory, in one process.
//!
//! Everything that decides lives in the rooms below; this crate reads words from the command line, hands them to the
//! gate, and shows what came back. What is data goes to standard output, what is talk goes to standard error, and the
//! exit code says how it ended, so that a script never has to read prose.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod failure;
mod output;
mod plugin;
mod shell;
mod text;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::failure::{Exit, Failure};
use crate::output::Output;

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let out = Output::new(cli.output);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("the async runtime did not start", &error))
        .and_then(|runtime| {
            let ended = runtime.block_on(shell::until_interrupted(run(cli, &out)));
            runtime.shutdown_timeout(shell::GRACE);
            ended
        });
    out.end(ended)
}

async fn run(cli: Cli, out: &Output) -> Result<Exit, Failure> {
    match cli.command {
        Command::Plugin(command) => plugin::run(command, out).await,
        Command::Completions { shell } => out.completions(shell),
        Command::Version => out.version(),
    }
}
