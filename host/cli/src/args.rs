//! The words `opsiq` understands: the options every command shares, and the list of commands.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::accept::AcceptRestore;
use crate::acting::Acting;
use crate::action::ActionCommand;
use crate::audit::AuditCommand;
use crate::backup::BackupArgs;
use crate::ceiling::CeilingCommand;
use crate::client::ClientCommand;
use crate::config::ConfigCommand;
use crate::confirm::ConfirmCommand;
use crate::connector::ConnectorCommand;
use crate::dev::DevArgs;
use crate::firewall::FirewallCommand;
use crate::key::KeyCommand;
use crate::keys::KeysCommand;
use crate::output::Format;
use crate::plugin::PluginCommand;
use crate::remote::account::AccountCommand;
use crate::remote::login::LoginArgs;
use crate::restore::RestoreArgs;
use crate::role::RoleCommand;
use crate::sandbox::SandboxCommand;
use crate::session::Place;
use crate::signature::SignatureCommand;
use crate::sso::SsoCommand;
use crate::subject::SubjectCommand;
use crate::tenant::TenantCommand;
use crate::user::UserCommand;

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 internal error · 2 usage · 3 refused, with the rule and the fix · 4 waits for a confirmation · \
5 not found · 6 invalid parameters, contract or component · 7 the plugin failed or met a limit · \
8 audit or disk unavailable, nothing happened · 9 tampering detected · 130 interrupted.";

/// Run sandboxed connectors and actions under contract: scoped, confirmed where risky, audited.
#[derive(Debug, Parser)]
#[command(name = "opsiq", version, after_help = EXIT_CODES, propagate_version = false)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) acting: Acting,

    /// How results are shown.
    #[arg(short, long, global = true, env = "OPSIQ_OUTPUT", value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `opsiq` can be asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new data directory.
    Init,

    /// Serve the API over HTTPS, for as long as this runs.
    Serve,

    /// Serve it for trying out: a data directory, a certificate and a tenant of its own, made where they are missing.
    Dev(DevArgs),

    /// Say which configuration is in force, and why.
    #[command(subcommand)]
    Config(ConfigCommand),

    /// Sign in at the server named by --addr or `OPSIQ_ADDR`, so that commands may be done there in a user's name.
    Login(LoginArgs),

    /// Sign out there.
    Logout,

    /// Renew what one signs in with there: password, authenticator, recovery codes, passkeys.
    #[command(subcommand)]
    Account(AccountCommand),

    /// Make, list, cancel and erase tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),

    /// Add, invite, list and disable the users of a tenant.
    #[command(subcommand)]
    User(UserCommand),

    /// Make, rotate and revoke the programs of a tenant, which sign what they ask for.
    #[command(subcommand)]
    Client(ClientCommand),

    /// Sign a request as such a program, and verify requests and replies.
    #[command(subcommand)]
    Signature(SignatureCommand),

    /// Make, list and remove custom roles of a tenant.
    #[command(subcommand)]
    Role(RoleCommand),

    /// Say where people of a tenant sign in beside this host, and what is believed of it.
    #[command(subcommand)]
    Sso(SsoCommand),

    /// Build and inspect plugins, and keep the catalogue.
    #[command(subcommand)]
    Plugin(PluginCommand),

    /// Install plugins for a tenant, and say what each may do.
    #[command(subcommand)]
    Connector(ConnectorCommand),

    /// Set, rotate and retire the secrets of an installation.
    #[command(subcommand)]
    Key(KeyCommand),

    /// Rotate and verify the root key and the keys of tenants, under which everything is sealed.
    #[command(subcommand)]
    Keys(KeysCommand),

    /// List, call and explain actions.
    #[command(subcommand)]
    Action(ActionCommand),

    /// See what runs now, end it, and let nothing of it start again.
    #[command(subcommand)]
    Sandbox(SandboxCommand),

    /// Say which addresses may come, and see which behave like a machine that looks for a way in.
    #[command(subcommand)]
    Firewall(FirewallCommand),

    /// Approve or deny what waits for a person.
    #[command(subcommand)]
    Confirm(ConfirmCommand),

    /// Erase whom a tenant's calls are about.
    #[command(subcommand)]
    Subject(SubjectCommand),

    /// Read, export and verify the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),

    /// Show and check what the operator allows at most.
    #[command(subcommand)]
    Ceiling(CeilingCommand),

    /// Find what is wrong with the data directory or the machine, and what was interrupted.
    Doctor,

    /// Make a backup of everything while calls go on, or verify one.
    Backup(BackupArgs),

    /// Make a new data directory of a backup. Goes on record.
    Restore(RestoreArgs),

    /// Say that an older database was put back on purpose, so that it is served again. Goes on record.
    AcceptRestore(AcceptRestore),

    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete for.
        #[arg(value_enum)]
        shell: Shell,
    },

    /// Print the versions of the host and of the plugin interface.
    Version,
}

impl Command {
    /// Whether it listens for SIGINT and SIGTERM itself, and ends in order.
    pub(crate) fn drains(&self) -> bool {
        matches!(
            self,
            Self::Action(ActionCommand::Stream(_)) | Self::Sandbox(SandboxCommand::Top(_)) | Self::Serve | Self::Dev(_)
        )
    }

    /// Whether it runs plugins.
    pub(crate) fn runs(&self) -> bool {
        matches!(self, Self::Action(ActionCommand::Call { .. } | ActionCommand::Stream(_)) | Self::Serve | Self::Dev(_))
    }
}
