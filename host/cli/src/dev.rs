//! `opsiq dev`: everything there has to be, made where it is missing, and served. For trying out, and it says so. It works
//! in a directory that it made itself and in no other, so that nobody's tenants meet a demo.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use opsiq_contract::Role;
use opsiq_gate::{Actor, Host, InstallRequest, NewClientKey, NewTenant};
use opsiq_server::OWN_CERTIFICATE;
use serde_json::json;

use crate::config;
use crate::failure::{Exit, Failure};
use crate::plugin;
use crate::serve;
use crate::session::Session;
use crate::shell::Signals;

/// The tenant to try out, and its owner.
const TENANT: &str = "demo";
const OWNER: &str = "dev";

/// What the names of its clients begin with.
const CLIENT: &str = "dev-";
/// The file that marks a data directory it made, and what is in it.
const MARK: &str = "made-by-dev";
const MARKED: &str = "opsiq dev made this directory, and works in no other.\n";
/// The file of the newest client's key: its id on the first line, its secret on the second.
const KEY_FILE: &str = "dev-key";

/// What to serve.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// A built plugin to register and to install, with all that it asks for. May be given more than once.
    #[arg(long, value_name = "FILE")]
    plugin: Vec<PathBuf>,
}

/// Makes what is missing, serves, and says how to use it.
pub(crate) async fn run(args: DevArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    own(session).await?;
    let settings = config::read(session.place.data()?)?;
    let mut server = serve::start(session, &settings).await?;
    let host = session.host().await?;
    let owner = tenant(host).await?;
    let mut installed = Vec::new();
    for file in &args.plugin {
        installed.push(install(host, &owner, file).await?);
    }
    let client = client(host, &owner).await?;
    let key_file = keep(session, &client)?;
    let secret = String::from_utf8_lossy(client.secret.expose()).into_owned();
    let invitation = host.tenants().invite_owner(&Actor::operator(), owner.tenant().ok_or_else(unnamed)?).await;
    server.open(host).map_err(|error| serve::not_started(&error))?;
    let url = format!("https://localhost:{}", server.address().port());
    let certificate = absolute(session.place.data()?.join(OWN_CERTIFICATE));
    let data = json!({
        "url": url,
        "certificate": certificate,
        "tenant": TENANT,
        "owner": OWNER,
        "installed": installed,
        "key_id": client.key_id,
        "key_file": key_file,
        "secret": secret,
        "invitation": invitation.as_ref().ok().map(|invitation| invitation.token.expose()),
    });
    session.out.note(
        "DEVELOPMENT MODE: a certificate nobody else trusts, and a root key beside its data. Not for anybody's real data.",
    );
    session.out.data(&data, |_| {
        let taken_up = match &invitation {
            Ok(invitation) => format!("\nThe owner {OWNER} takes up the account with {}\n", invitation.token.expose()),
            Err(_) => String::new(),
        };
        format!(
            "Serving {url}, documented at {url}/docs\n\nexport OPSIQ_ADDR={url}\nexport OPSIQ_CA={}\nexport OPSIQ_KEY_FILE={}\nexport OPSIQ_KEY_ID={}\nexport OPSIQ_CLIENT_SECRET={secret}\n{taken_up}",
            certificate.display(),
            key_file.display(),
            client.key_id,
        )
    })?;
    serve::until_told(server, &mut signals, session).await
}

/// Makes the directory and marks it, or finds the mark in one that is there.
async fn own(session: &Session<'_>) -> Result<(), Failure> {
    let options = session.place.options()?;
    let mark = session.place.data()?.join(MARK);
    let not_its_own = |why: &str| {
        Failure::new(Exit::Refused, "dev.not-its-own", why)
            .detail("opsiq dev makes a demo tenant, and clients with all its rights")
            .fix("name a directory that is not there yet: opsiq dev --data DIR; or serve this one: opsiq serve")
    };
    if session.place.is_shared() {
        return Err(not_its_own("databases on a server are not opsiq dev's own"));
    }
    match session.place.turn(async || Host::init(options.clone()).await).await {
        Ok(_) => std::fs::write(&mark, MARKED).map_err(|error| Failure::file("write", &mark, &error)),
        Err(failure) if failure.code == "data.initialised" && mark.is_file() => Ok(()),
        Err(failure) if failure.code == "data.initialised" => {
            let data = session.place.data()?.display();
            Err(not_its_own(&format!("opsiq dev did not make the data directory {data}")))
        }
        Err(failure) => Err(failure),
    }
}

/// Keeps the client's key where `OPSIQ_KEY_FILE` may name it, readable by this user alone.
fn keep(session: &Session<'_>, client: &NewClientKey) -> Result<PathBuf, Failure> {
    let path = absolute(session.place.data()?.join(KEY_FILE));
    let failed = |error: std::io::Error| Failure::file("write", &path, &error);
    let _ = std::fs::remove_file(&path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(client.key_id.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.write_all(client.secret.expose()))
        .and_then(|()| file.write_all(b"\n"))
        .map_err(failed)?;
    Ok(path)
}

fn unnamed() -> Failure {
    Failure::new(Exit::Internal, "host.internal", "the owner belongs to no tenant")
}

/// A client that may call everything that is installed. Each start makes one of its own, since a secret is told once, and
/// ends those of earlier starts.
async fn client(host: &Host, owner: &Actor) -> Result<NewClientKey, Failure> {
    for earlier in host.clients().list(owner).await? {
        if earlier.name.starts_with(CLIENT) && !earlier.revoked {
            host.clients().revoke(owner, &earlier.name).await?;
        }
    }
    let installations = host.installations().list(owner).await?;
    let scopes: BTreeSet<String> =
        installations.into_iter().flat_map(|one| one.actions).map(|action| action.scope).collect();
    // A client without scopes could do nothing.
    let scopes = if scopes.is_empty() { BTreeSet::from(["demo:read".to_owned()]) } else { scopes };
    let name = format!("{CLIENT}{}", Timestamp::now().as_millisecond());
    Ok(host.clients().create(owner, &name, Role::Owner, &scopes).await?)
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The tenant's owner; the tenant is made unless it is there.
async fn tenant(host: &Host) -> Result<Actor, Failure> {
    let id: opsiq_contract::TenantId = TENANT.parse().map_err(|error| Failure::internal("no tenant", &error))?;
    let new = NewTenant { id: id.clone(), title: "Demo".to_owned(), owner: OWNER.to_owned() };
    match host.tenants().create(&Actor::operator(), new).await {
        Err(refusal) if refusal.code == "tenant.exists" => {}
        made => drop(made?),
    }
    Ok(Actor::user(id, OWNER))
}

/// Registers and installs a plugin, unless it is.
async fn install(host: &Host, owner: &Actor, file: &std::path::Path) -> Result<String, Failure> {
    let bytes = plugin::component(file)?;
    let registered = host.catalogue().register(&Actor::operator(), bytes).await?;
    let name = registered.plugin.id.clone();
    let request = InstallRequest {
        name: name.clone(),
        plugin: registered.digest.to_string(),
        without: Vec::new(),
        confirm: Vec::new(),
        config: json!({}),
    };
    match host.installations().install(owner, &request).await {
        Err(refusal) if refusal.code == "installation.exists" => {}
        made => drop(made?),
    }
    Ok(name)
}
