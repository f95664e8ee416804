//! The `opsiq` command: the host on a data directory, in one process.
//!
//! Everything that decides lives in the rooms below; this crate reads words from the command line, hands them to the
//! gate, and shows what came back. What is data goes to standard output, what is talk goes to standard error, and the
//! exit code says how it ended, so that a script never has to read prose.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod acting;
mod action;
mod args;
mod audit;
mod backup;
mod ceiling;
mod client;
mod config;
mod confirm;
mod connector;
mod control;
mod dev;
mod doctor;
mod failure;
mod firewall;
mod hygiene;
mod init;
mod key;
mod keys;
mod log;
mod memory;
mod output;
mod params;
mod plugin;
mod reach;
mod refusal;
mod remote;
mod restore;
mod role;
mod sandbox;
mod secret;
mod serve;
mod session;
mod shell;
mod signature;
mod sso;
mod subject;
mod table;
mod tenant;
mod text;
mod user;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::session::Session;

fn main() -> std::process::ExitCode {
    // Before anything else: the process that compiles a plugin has no command line, no key and one thread.
    if std::env::args_os().nth(1).is_some_and(|word| word == opsiq_gate::COMPILE_CHILD) {
        return opsiq_gate::compile_child();
    }
    let shut = hygiene::shut();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let out = Output::new(cli.output);
    if let Err(failure) = shut {
        return out.end(Err(failure));
    }
    log::start(&out);
    memory::keep();
    // Guests compute on as many threads as there are processors; twice as many leave some to wait on everything else.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("the async runtime did not start", &error))
        .and_then(|runtime| {
            let ended = runtime.block_on(whole(cli, &out));
            runtime.shutdown_timeout(shell::GRACE);
            ended
        });
    out.end(ended)
}

/// The command, and then letting go of the data directory, however it ended.
async fn whole(cli: Cli, out: &Output) -> Result<Exit, Failure> {
    let place = if matches!(cli.command, Command::Dev(_)) { cli.place.for_dev() } else { cli.place };
    let session = Session::new(place, cli.acting, out, cli.command.runs());
    let drains = cli.command.drains();
    let work = Box::pin(run(cli.command, &session));
    let ended = if drains { work.await } else { shell::until_interrupted(work).await };
    let closed = session.close().await;
    // What was asked is done and answered, once; nothing recorded is lost by a close that fails.
    if let (Ok(_), Err(failure)) = (&ended, &closed) {
        tracing::error!(code = failure.code, detail = failure.detail, "the data directory was not closed in order");
    }
    ended
}

async fn run(command: Command, session: &Session<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Init => init::run(session).await,
        Command::Serve => serve::run(session).await,
        Command::Dev(args) => dev::run(args, session).await,
        Command::Config(command) => config::run(command, session),
        Command::Login(args) => remote::login::login(args, session).await,
        Command::Logout => remote::login::logout(session).await,
        Command::Account(command) => remote::account::run(command, session).await,
        Command::Tenant(command) => tenant::run(command, session).await,
        Command::User(command) => user::run(command, session).await,
        Command::Client(command) => client::run(command, session).await,
        Command::Signature(command) => signature::run(command, session.out),
        Command::Role(command) => role::run(command, session).await,
        Command::Sso(command) => sso::run(command, session).await,
        Command::Plugin(command) => plugin::run(command, session).await,
        Command::Connector(command) => connector::run(command, session).await,
        Command::Key(command) => key::run(command, session).await,
        Command::Keys(command) => keys::run(command, session).await,
        Command::Action(command) => action::run(command, session).await,
        Command::Sandbox(command) => sandbox::run(command, session).await,
        Command::Firewall(command) => firewall::run(command, session).await,
        Command::Confirm(command) => confirm::run(command, session).await,
        Command::Subject(command) => subject::run(command, session).await,
        Command::Audit(command) => audit::run(command, session).await,
        Command::Ceiling(command) => ceiling::run(command, session),
        Command::Doctor => doctor::run(session).await,
        Command::Backup(args) => backup::run(args, session).await,
        Command::Restore(args) => restore::run(args, session).await,
        Command::AcceptRestore(accept) => accept::run(accept, session).await,
        Command::Completions { shell } => session.out.completions(shell),
        Command::Version => session.out.version(),
    }
}
