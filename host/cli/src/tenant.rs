//! `opsiq tenant`: the businesses this host serves. An operator's commands.

use clap::{Subcommand, ValueEnum};
use opsiq_contract::TenantId;
use opsiq_gate::{NewTenant, TenantView};

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, time};

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant with a first owner.
    Create {
        /// Its name for ever: a-z, 0-9 and -.
        id: TenantId,
        /// The first user, who becomes owner.
        #[arg(long, value_name = "USER")]
        owner: String,
        /// What people call it; by default its name.
        #[arg(long)]
        title: Option<String>,
    },
    /// List the tenants.
    List,
    /// Say whether a risky write needs a person other than the one who asked for it. An owner's decision.
    SecondPerson {
        /// on or off.
        #[arg(value_enum)]
        required: Switch,
    },
}

/// Whether something is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// Runs one of them.
pub(crate) async fn run(command: TenantCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let (host, actor) = session.as_anyone().await?;
    match command {
        TenantCommand::Create { id, owner, title } => {
            let title = title.unwrap_or_else(|| id.to_string());
            let tenant = host.tenants().create(&actor, NewTenant { id, title, owner: owner.clone() }).await?;
            session.out.data(&tenant, |tenant| {
                let mut card = Card::new();
                card.line("tenant", tenant.id.to_string());
                card.line("title", &tenant.title);
                card.line("owner", &owner);
                card.shown()
            })?;
            session.out.note(&format!("Next: act as its owner with --as {}/{owner}", tenant.id));
        }
        TenantCommand::List => {
            let tenants = host.tenants().list(&actor).await?;
            session.out.data(&tenants, |tenants| shown(tenants))?;
        }
        TenantCommand::SecondPerson { required } => {
            let tenant = host.tenants().require_second_person(&actor, required == Switch::On).await?;
            session.out.data(&tenant, |tenant| shown(std::slice::from_ref(tenant)))?;
        }
    }
    Ok(Exit::Done)
}

fn shown(tenants: &[TenantView]) -> String {
    let mut table = Table::new(["tenant", "title", "second person", "created"]);
    for tenant in tenants {
        let second = if tenant.second_person { "required" } else { "not required" };
        table.row([tenant.id.to_string(), tenant.title.clone(), second.to_owned(), time(tenant.created_ms)]);
    }
    table.or("No tenants yet.")
}
