//! `opsiq tenant`: the businesses this host serves. An operator's commands.

use clap::{Subcommand, ValueEnum};
use opsiq_contract::TenantId;
use opsiq_gate::{EraseTenant, Invitation, NewTenant, Standing, TenantView};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Card, Table, time};
use crate::user;

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
    /// Invite a tenant's first owner anew: prints a token, once. Later owners are invited by an owner.
    Invite {
        /// The tenant's name.
        id: TenantId,
    },
    /// List the tenants.
    List,
    /// Cancel a tenant: nothing of it runs or changes any more, and for 30 days its owners read and export.
    Cancel {
        /// Its name.
        id: TenantId,
    },
    /// Take a cancellation back, within those 30 days.
    Restore {
        /// Its name.
        id: TenantId,
    },
    /// Destroy a tenant's keys, so that nothing of it can be read any more, in no copy, by nobody. For ever.
    Erase {
        /// Its name.
        id: TenantId,
        /// Its name once more, since this cannot be taken back.
        #[arg(long, value_name = "TENANT")]
        confirm: Option<String>,
        /// Do not wait for the end of its 30 days, nor for it to be cancelled.
        #[arg(long)]
        now: bool,
    },
    /// Say whether a risky write needs a person other than the one who asked for it. An owner's decision.
    SecondPerson {
        /// on or off.
        #[arg(value_enum)]
        required: Switch,
    },
}

/// A new tenant, and the invitation of its first owner.
#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    tenant: TenantView,
    invitation: Invitation,
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
    let reach = session.reach().await?;
    match command {
        TenantCommand::Create { id, owner, title } => {
            let title = title.unwrap_or_else(|| id.to_string());
            let tenant = reach.tenant_create(NewTenant { id, title, owner: owner.clone() }).await?;
            let invitation = reach.tenant_invite(&tenant.id).await?;
            let created = Created { tenant, invitation };
            session.out.data(&created, |created| {
                let mut card = Card::new();
                card.line("tenant", created.tenant.id.to_string());
                card.line("title", &created.tenant.title);
                card.line("owner", &owner);
                card.line("invitation", created.invitation.token.expose());
                card.line("good until", time(created.invitation.expires_ms));
                card.shown()
            })?;
            session.out.note(&format!(
                "Next: act as its owner with --as {}/{owner}; to sign in over the network, the owner takes up the account with the invitation, which is not shown again.",
                created.tenant.id
            ));
        }
        TenantCommand::Invite { id } => {
            return user::invited(&reach.tenant_invite(&id).await?, session);
        }
        TenantCommand::List => {
            let tenants = reach.tenants().await?;
            session.out.data(&tenants, |tenants| shown(tenants))?;
        }
        TenantCommand::Cancel { id } => {
            let tenant = reach.tenant_cancel(&id).await?;
            session.out.data(&tenant, |tenant| shown(std::slice::from_ref(tenant)))?;
            session.out.note(&format!("Its owners can read and export. Then: opsiq tenant erase {id} --confirm {id}"));
        }
        TenantCommand::Restore { id } => {
            let tenant = reach.tenant_restore(&id).await?;
            session.out.data(&tenant, |tenant| shown(std::slice::from_ref(tenant)))?;
        }
        TenantCommand::Erase { id, confirm, now } => {
            let erase = EraseTenant { id, confirm: confirm.unwrap_or_default(), now };
            let tenant = reach.tenant_erase(&erase).await?;
            session.out.data(&tenant, |tenant| shown(std::slice::from_ref(tenant)))?;
        }
        TenantCommand::SecondPerson { required } => {
            let tenant = reach.second_person(required == Switch::On).await?;
            session.out.data(&tenant, |tenant| shown(std::slice::from_ref(tenant)))?;
        }
    }
    Ok(Exit::Done)
}

fn shown(tenants: &[TenantView]) -> String {
    let mut table = Table::new(["tenant", "title", "standing", "second person", "created"]);
    for tenant in tenants {
        let standing = match (tenant.standing, tenant.until_ms, tenant.erased_ms) {
            (Standing::Active, ..) => "active".to_owned(),
            (Standing::Cancelled, until_ms, _) => format!("cancelled, until {}", time(until_ms.unwrap_or_default())),
            (Standing::Erased, _, erased_ms) => format!("erased {}", time(erased_ms.unwrap_or_default())),
        };
        let second = if tenant.second_person { "required" } else { "not required" };
        table.row([tenant.id.to_string(), tenant.title.clone(), standing, second.to_owned(), time(tenant.created_ms)]);
    }
    table.or("No tenants yet.")
}
