//! `opsiq signature`: signs and verifies requests and replies as API clients do, without a host: what a request must
//! carry for `curl`, and why one was refused.

mod message;
mod sign;
mod verify;

use clap::Subcommand;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What can be done with signatures.
#[derive(Debug, Subcommand)]
pub(crate) enum SignatureCommand {
    /// Print the header fields that sign a request, one a line, as `curl -H @-` reads them.
    Sign(sign::Sign),
    /// Say whether a signed request, or the reply to one, is what its signature says.
    Verify(verify::Verify),
}

/// Runs one of them.
pub(crate) fn run(command: SignatureCommand, out: &Output) -> Result<Exit, Failure> {
    match command {
        SignatureCommand::Sign(sign) => sign.run(out),
        SignatureCommand::Verify(verify) => verify.run(out),
    }
}
