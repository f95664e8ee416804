//! `opsiq sso`: where a tenant's people sign in beside this host. An owner's commands.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use opsiq_gate::{ClaimRole, NameIdFormat, OidcSettings, SamlFrom, SsoProtocol, SsoProviderView, SsoSettings};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::secret::SecretSource;
use crate::session::Session;
use crate::table::{Card, Table};

/// What can be done with providers.
#[derive(Debug, Subcommand)]
pub(crate) enum SsoCommand {
    /// Set a provider up that speaks `OpenID` Connect (`--issuer`) or SAML 2.0 (`--metadata`, `--metadata-url` or `--entity-id`), or
    /// change it, which ends the sessions of all who signed in there.
    Set(Box<Set>),
    /// List the providers.
    List,
    /// Show one, and what to register there.
    Show {
        /// Its name.
        name: String,
    },
    /// Ask a provider who it is and for its keys, as a sign-in would; of SAML, whether its metadata is as it was.
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
#[command(group = ArgGroup::new("who").required(true))]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command")]
pub(crate) struct Set {
    /// Its name: a-z, 0-9 and -, part of where people sign in.
    name: String,
    /// OpenID Connect: who it is, exactly as it shows it.
    #[arg(long, value_name = "URL", requires = "client_id", group = "who")]
    issuer: Option<String>,
    /// OpenID Connect: what it calls this host.
    #[arg(long, value_name = "ID", requires = "issuer")]
    client_id: Option<String>,
    /// OpenID Connect: keep the client's secret that is there.
    #[arg(long, conflicts_with_all = ["stdin", "file"], requires = "issuer")]
    keep_secret: bool,
    #[command(flatten)]
    secret: SecretSource,
    /// OpenID Connect: what it is asked for beside openid; email and profile unless said.
    #[arg(long = "scope", value_name = "SCOPE", requires = "issuer")]
    scopes: Vec<String>,
    /// SAML: its metadata, an XML document of one entity.
    #[arg(long, value_name = "FILE", group = "who")]
    metadata: Option<PathBuf>,
    /// SAML: where its metadata is. It is asked now, and what it says is kept as it is now.
    #[arg(long, value_name = "URL", group = "who")]
    metadata_url: Option<String>,
    /// SAML: who it is, exactly as it shows it.
    #[arg(long, value_name = "ID", requires_all = ["sso_url", "certificates"], group = "who")]
    entity_id: Option<String>,
    /// SAML: where it takes requests by redirect.
    #[arg(long, value_name = "URL", requires = "entity_id")]
    sso_url: Option<String>,
    /// SAML: a certificate by which its signatures are believed, PEM.
    #[arg(long = "certificate", value_name = "FILE", requires = "entity_id")]
    certificates: Vec<PathBuf>,
    /// SAML: what it names its people by: persistent, email or unspecified.
    #[arg(long, value_name = "FORMAT", default_value = "persistent", value_parser = name_id, conflicts_with = "issuer")]
    name_id: NameIdFormat,
    /// SAML: the attribute that is somebody's e-mail address; unless said, those by which it is known.
    #[arg(long, value_name = "ATTRIBUTE", conflicts_with = "issuer")]
    email_attribute: Option<String>,
    /// A domain of e-mail addresses whose people may sign in; without one, all whom the provider knows.
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// The claim or attribute that says roles: its name, or a JSON Pointer into claims such as `/realm_access/roles`.
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

fn name_id(text: &str) -> Result<NameIdFormat, String> {
    let known = [NameIdFormat::Persistent, NameIdFormat::Email, NameIdFormat::Unspecified];
    let found = known.into_iter().find(|format| format.word() == text);
    found.ok_or_else(|| "write persistent, email or unspecified".to_owned())
}

impl Set {
    /// Where what a provider of SAML says of itself is from; nothing for one of another kind.
    fn saml(&self) -> Result<Option<SamlFrom>, Failure> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error));
        Ok(match (&self.metadata, &self.metadata_url, &self.entity_id) {
            (Some(file), ..) => Some(SamlFrom::Metadata(read(file)?)),
            (_, Some(url), _) => Some(SamlFrom::Url(url.clone())),
            (_, _, Some(entity_id)) => Some(SamlFrom::Stated {
                entity_id: entity_id.clone(),
                sso_url: self.sso_url.clone().unwrap_or_default(),
                certificates: self.certificates.iter().map(read).collect::<Result<_, _>>()?,
            }),
            _ => None,
        })
    }
}

/// Runs one of them.
pub(crate) async fn run(command: SsoCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        SsoCommand::Set(set) => {
            session.acting.user()?;
            let saml = set.saml()?;
            let secret = if saml.is_some() || set.keep_secret {
                None
            } else {
                Some(set.secret.read("client secret", session.out)?.secret)
            };
            let (host, actor) = session.as_user().await?;
            let Set { name, issuer, client_id, scopes, name_id, email_attribute, domains, .. } = *set;
            let Set { claim, roles, default_role, make_accounts, enforced, second_factor, .. } = *set;
            let protocol = match saml {
                Some(from) => {
                    let mut saml = host.sso().saml(&actor, from).await?;
                    (saml.name_id, saml.email) = (name_id, email_attribute);
                    SsoProtocol::Saml(saml)
                }
                None => SsoProtocol::Oidc(OidcSettings {
                    issuer: issuer.unwrap_or_default(),
                    client_id: client_id.unwrap_or_default(),
                    scopes: if scopes.is_empty() { vec!["email".to_owned(), "profile".to_owned()] } else { scopes },
                }),
            };
            let domains = domains.into_iter().collect();
            let settings =
                SsoSettings { protocol, domains, claim, roles, default_role, make_accounts, enforced, second_factor };
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
    let below = |what: &str| format!("https://HOST/v1/login/sso/TENANT/{}/{what}", provider.name);
    card.line("kind", provider.kind);
    match &settings.protocol {
        SsoProtocol::Oidc(oidc) => {
            card.line("issuer", &oidc.issuer);
            card.line("client", &oidc.client_id);
            card.line("client secret", provider.fingerprint.as_deref().unwrap_or("none"));
            card.line("register there", below("return"));
            card.line("asks for", format!("openid {}", oidc.scopes.join(" ")));
        }
        SsoProtocol::Saml(saml) => {
            card.line("entity", &saml.entity_id);
            card.line("signs in at", &saml.sso_url);
            card.line("believed by", saml.fingerprints().join("\n"));
            card.line("metadata", saml.metadata_url.as_deref().unwrap_or("as shown"));
            card.line("register there", format!("{} (entity id and metadata)\n{}", below("metadata"), below("acs")));
            card.line("names people by", saml.name_id.word());
            card.line("address", saml.email.as_deref().unwrap_or("the usual attributes"));
        }
    }
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
    let mut table = Table::new(["provider", "kind", "issuer", "accounts", "passwords", "second factor"]);
    for provider in providers {
        let settings = &provider.settings;
        table.row([
            provider.name.clone(),
            provider.kind.to_owned(),
            match &settings.protocol {
                SsoProtocol::Oidc(oidc) => oidc.issuer.clone(),
                SsoProtocol::Saml(saml) => saml.entity_id.clone(),
            },
            if settings.make_accounts { "are made" } else { "are invited" }.to_owned(),
            if settings.enforced { "for owners alone" } else { "as well" }.to_owned(),
            if settings.second_factor { "asked for there" } else { "asked for here" }.to_owned(),
        ]);
    }
    table.or("No providers yet.")
}
