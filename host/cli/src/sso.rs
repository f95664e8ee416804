//! `opsiq sso`: where a tenant's people sign in beside this host. An owner's commands.

use clap::{Args, Subcommand};
use opsiq_gate::{ClaimRole, SsoProviderView, SsoSettings};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::secret::SecretSource;
use crate::session::Session;
use crate::table::{Card, Table};

/// What can be done with providers.
#[derive(Debug, Subcommand)]
pub(crate) enum SsoCommand {
    /// Set a provider up that speaks `OpenID` Connect, or change it, which ends the sessions of all who signed in there.
    Set(Box<Set>),
    /// List the providers.
    List,
    /// Show one, and what to register there.
    Show {
        /// Its name.
        name: String,
    },
    /// Ask a provider who it is and for its keys, as a sign-in would.
    Check {
        /// Its name.
        name: String,
    },
    /// Let nobody sign in there any more. Accounts stay.
    Remove {
        /// Its name.
        name: String,
    },
}

/// A provider. What is not said is not so.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command")]
pub(crate) struct Set {
    /// Its name: a-z, 0-9 and -, part of where people sign in.
    name: String,
    /// Who it is, exactly as it shows it.
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// What it calls this host.
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// Keep the client's secret that is there.
    #[arg(long, conflicts_with_all = ["stdin", "file"])]
    keep_secret: bool,
    #[command(flatten)]
    secret: SecretSource,
    /// What it is asked for beside openid.
    #[arg(long = "scope", value_name = "SCOPE", default_values = ["email", "profile"])]
    scopes: Vec<String>,
    /// A domain of e-mail addresses whose people may sign in; without one, all whom the provider knows.
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// The claim that says roles: its name, or a JSON Pointer such as `/realm_access/roles`.
    #[arg(long, value_name = "CLAIM", requires = "roles")]
    claim: Option<String>,
    /// A role by a value of that claim, as VALUE=ROLE; the first that is there counts.
    #[arg(long = "role", value_name = "VALUE=ROLE", requires = "claim", value_parser = mapped)]
    roles: Vec<ClaimRole>,
    /// The role of who has none of these.
    #[arg(long, value_name = "ROLE")]
    default_role: Option<String>,
    /// Make an account for who has none yet.
    #[arg(long)]
    make_accounts: bool,
    /// Let passwords open nothing but the accounts of owners, who come back in by them.
    #[arg(long)]
    enforced: bool,
    /// State that the provider asks everybody for a second factor. Otherwise a code follows here.
    #[arg(long)]
    second_factor: bool,
}

fn mapped(text: &str) -> Result<ClaimRole, String> {
    // Roles have no `=` in them; values may.
    let (value, role) = text.rsplit_once('=').ok_or("write VALUE=ROLE")?;
    Ok(ClaimRole { value: value.to_owned(), role: role.to_owned() })
}

/// Runs one of them.
pub(crate) async fn run(command: SsoCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        SsoCommand::Set(set) => {
            session.acting.user()?;
            let Set { name, issuer, client_id, scopes, claim, roles, default_role, .. } = *set;
            let Set { make_accounts, enforced, second_factor, .. } = *set;
            let secret =
                if set.keep_secret { None } else { Some(set.secret.read("client secret", session.out)?.secret) };
            let domains = set.domains.into_iter().collect();
            let settings = SsoSettings {
                issuer,
                client_id,
                scopes,
                domains,
                claim,
                roles,
                default_role,
                make_accounts,
                enforced,
                second_factor,
            };
            let (host, actor) = session.as_user().await?;
            let provider = host.sso().set(&actor, &name, settings, secret).await?;
            session.out.data(&provider, one)?;
        }
        SsoCommand::List => {
            let (host, actor) = session.as_user().await?;
            session.out.data(&host.sso().list(&actor).await?, |providers| shown(providers))?;
        }
        SsoCommand::Show { name } => {
            let (host, actor) = session.as_user().await?;
            session.out.data(&host.sso().show(&actor, &name).await?, one)?;
        }
        SsoCommand::Check { name } => {
            let (host, actor) = session.as_user().await?;
            let checked = host.sso().check(&actor, &name).await?;
            session.out.data(&checked, |checked| format!("{} answers as {}.", checked.name, checked.issuer))?;
        }
        SsoCommand::Remove { name } => {
            let (host, actor) = session.as_user().await?;
            host.sso().remove(&actor, &name).await?;
            session.out.data(&json!({ "removed": name }), |_| format!("The provider {name} is removed."))?;
        }
    }
    Ok(Exit::Done)
}

fn one(provider: &SsoProviderView) -> String {
    let settings = &provider.settings;
    let mut card = Card::new();
    let or = |list: String, none: &str| if list.is_empty() { none.to_owned() } else { list };
    card.line("provider", &provider.name);
    card.line("issuer", &settings.issuer);
    card.line("client", &settings.client_id);
    card.line("client secret", &provider.fingerprint);
    card.line("register there", format!("https://HOST/v1/login/sso/TENANT/{}/return", provider.name));
    card.line("asks for", format!("openid {}", settings.scopes.join(" ")));
    let domains = settings.domains.iter().cloned().collect::<Vec<_>>().join(", ");
    card.line("domains", or(domains, "all"));
    let roles = settings.roles.iter().map(|mapped| format!("{} is {}", mapped.value, mapped.role));
    let roles = roles.collect::<Vec<_>>().join(", ");
    card.line(
        "roles",
        settings.claim.as_ref().map_or("as given here".to_owned(), |claim| format!("by {claim}: {roles}")),
    );
    card.line("other role", settings.default_role.as_deref().unwrap_or("none"));
    card.line("accounts", if settings.make_accounts { "are made" } else { "are invited" });
    card.line("passwords", if settings.enforced { "for owners alone" } else { "as well" });
    card.line("second factor", if settings.second_factor { "asked for there" } else { "asked for here" });
    card.shown()
}

fn shown(providers: &[SsoProviderView]) -> String {
    let mut table = Table::new(["provider", "issuer", "accounts", "passwords", "second factor"]);
    for provider in providers {
        let settings = &provider.settings;
        table.row([
            provider.name.clone(),
            settings.issuer.clone(),
            if settings.make_accounts { "are made" } else { "are invited" }.to_owned(),
            if settings.enforced { "for owners alone" } else { "as well" }.to_owned(),
            if settings.second_factor { "asked for there" } else { "asked for here" }.to_owned(),
        ]);
    }
    table.or("No providers yet.")
}
