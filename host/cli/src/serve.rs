//! `opsiq serve`: the host over the network, until SIGINT or SIGTERM; then it drains. A second signal does not wait.
//!
//! Without its root key, or with a wrong one, it serves nothing but that it is sealed, and looks for the key again.

use std::time::Duration;

use opsiq_gate::Host;
use opsiq_server::{HostDoor, Server, Settings, StartError};
use serde_json::json;

use crate::config;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::shell::{Signals, interrupted};

/// How often a sealed host looks for its root key.
const LOOK: Duration = Duration::from_secs(1);
/// What the codes of a root key's refusals begin with.
const ROOT: &str = "root.";

/// Serves until it is told to end.
pub(crate) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let settings = config::read(session.place.data()?)?;
    let mut server = start(session, &settings).await?;
    let host = tokio::select! {
        host = opened(session, &server) => host,
        () = signals.next() => {
            server.end().await;
            return Ok(Exit::Done);
        }
    };
    let host = match host {
        Ok(host) => host,
        Err(failure) => {
            server.end().await;
            return Err(failure);
        }
    };
    server.open(host).map_err(|error| not_started(&error))?;
    told(session, &server)?;
    until_told(server, &mut signals, session).await
}

/// Listens, the host not yet open.
pub(crate) async fn start(session: &Session<'_>, settings: &Settings) -> Result<Server, Failure> {
    Server::start(settings, session.place.data()?, Box::new(HostDoor)).await.map_err(|error| not_started(&error))
}

/// Serves until a signal comes, and drains.
pub(crate) async fn until_told(server: Server, signals: &mut Signals, session: &Session<'_>) -> Result<Exit, Failure> {
    signals.next().await;
    session.out.note("Ending: what has begun is finished. Interrupt again to end now.");
    tokio::select! {
        () = server.end() => Ok(Exit::Done),
        () = signals.next() => Err(interrupted()),
    }
}

/// The host, once its root key is there and right.
async fn opened<'s>(session: &'s Session<'_>, server: &Server) -> Result<&'s Host, Failure> {
    let mut told = false;
    loop {
        match session.host().await {
            Ok(host) => return Ok(host),
            Err(failure) if failure.code.starts_with(ROOT) => {
                if !told {
                    tracing::error!(
                        code = failure.code,
                        detail = failure.detail,
                        "sealed: the root key is missing or wrong"
                    );
                    session.out.note(&format!("Sealed: {}\n{}", failure.detail, failure.fix));
                    told = true;
                }
                server.seal(format!("{} ({})", failure.detail, failure.code));
                tokio::time::sleep(LOOK).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

pub(crate) fn not_started(error: &StartError) -> Failure {
    let exit = match error {
        StartError::Tls(_) => Exit::Invalid,
        _ => Exit::Unavailable,
    };
    Failure::new(exit, "server.start", "the server cannot start")
        .detail(error.to_string())
        .fix("opsiq config explain shows the configuration in force")
}

/// Says where it serves: one line of the envelope, so that a script can wait for it.
fn told(session: &Session<'_>, server: &Server) -> Result<(), Failure> {
    let url = format!("https://{}", server.address());
    let operator = server.operator_address().map(|address| format!("http://{address}"));
    let data = json!({ "url": url, "operator": operator });
    session.out.data(&data, |_| {
        let operator = operator.as_ref().map(|at| format!("\nhealth and metrics at {at}")).unwrap_or_default();
        format!("Serving {url}{operator}")
    })
}
