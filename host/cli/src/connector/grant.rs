//! `opsiq connector grant`: more or less of what a contract asks for, never beyond it.

use clap::Args;
use opsiq_contract::Permission;

use super::show;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Which installation, and what to change.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// The installation's name.
    name: String,

    /// Allow an item that the contract asks for, such as `http:refunds`, or have a write wait for a person, such as
    /// `confirm:update-order`; may be repeated.
    #[arg(long, value_name = "ITEM", required_unless_present = "remove")]
    add: Vec<Permission>,

    /// Take an item back; may be repeated.
    #[arg(long, value_name = "ITEM")]
    remove: Vec<Permission>,
}

/// Changes the grant. What waits for confirmation under the old one can no longer be approved.
pub(crate) async fn run(args: GrantArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let changed = session.user_reach().await?.change_grant(&args.name, &args.add, &args.remove).await?;
    show::card(&changed, session)
}
