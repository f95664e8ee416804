//! A shop's order server, small enough to copy.
//!
//! It answers only requests that carry a Standard Webhooks signature over the raw body, checked by the scheme's own
//! library, so that nobody without the secret can read an order or refund one. Orders live in memory; every refund is
//! also appended to a log file, if one is named, before it is answered.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod book;
mod ledger;
mod routes;
mod signature;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::book::Book;
use crate::ledger::Ledger;
use crate::signature::Signatures;

/// Serve a few orders over HTTP to whoever can sign for them.
#[derive(Debug, Parser)]
#[command(after_help = "The secret (`whsec_` and base64) comes from the environment variable ORDERS_SECRET or from \
                        --secret-file. Two secrets separated by a space both count, so that one can be rotated.")]
struct Args {
    /// Where to listen; port 0 picks a free one. The address is printed once bound.
    #[arg(long, default_value = "127.0.0.1:8088")]
    listen: SocketAddr,

    /// A file holding the secret, instead of the environment variable.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Append every refund to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "orders: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), String> {
    let secret = match &args.secret_file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
        None => std::env::var("ORDERS_SECRET").map_err(|_| "set ORDERS_SECRET, or name a --secret-file".to_owned())?,
    };
    let signatures = Signatures::new(&secret)?;
    let ledger = Ledger::open(args.log.as_deref())?;
    let listener =
        TcpListener::bind(args.listen).await.map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let address = listener.local_addr().map_err(|error| format!("cannot tell the address: {error}"))?;
    // Before anyone can know that it serves: a signal sent right then must already end it in order.
    let listen_to = |kind| signal(kind).map_err(|error| format!("no signals: {error}"));
    let (mut terminate, mut interrupt) = (listen_to(SignalKind::terminate())?, listen_to(SignalKind::interrupt())?);
    let mut stdout = std::io::stdout();
    // A reader that went away after starting the server is no reason to stop serving.
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());

    axum::serve(listener, routes::router(Book::seeded(ledger), signatures))
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
        .map_err(|error| error.to_string())
}
