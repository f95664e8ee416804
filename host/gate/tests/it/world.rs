//! A tenant with a plugin, ready to call.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use opsiq_audit::{Filter, Kind};
use opsiq_contract::{Contract, Role, TenantId, component};
use opsiq_gate::{Actor, Answer, Call, Compiler, Done, Host, HostOptions, InstallRequest, NewTenant, Refusal};
use opsiq_vault::Secret;
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding};

/// The value of the one key.
pub(crate) const SECRET: &str = "c4n4ry/secret+value-of-the-key";

/// The plugin: built from text once.
pub(crate) static PLUGIN: LazyLock<Vec<u8>> = LazyLock::new(|| plugin(include_str!("contract.toml")));

/// The plugin under another contract.
pub(crate) fn plugin(contract: &str) -> Vec<u8> {
    let mut module = wat::parse_str(include_str!("guest.wat")).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.1.0");
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("connector")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoded = ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap();
    component::embed(&encoded, &Contract::parse_toml(contract).unwrap()).unwrap()
}

/// A host with the tenant `acme`: olga owns it, adam administers, sam supports. `echo` is installed, its key set.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) host: Host,
}

pub(crate) fn options(dir: &TempDir) -> HostOptions {
    // This program is no `opsiq`, which could be started as the child that compiles.
    HostOptions { compiler: Compiler::InProcess, ..HostOptions::new(data(dir)) }
}

pub(crate) fn data(dir: &TempDir) -> PathBuf {
    dir.path().join("data")
}

pub(crate) fn acme(user: &str) -> Actor {
    Actor::user(tenant("acme"), user)
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn secret() -> Secret {
    Secret::from(SECRET.as_bytes().to_vec())
}

pub(crate) fn request(name: &str) -> InstallRequest {
    InstallRequest {
        name: name.to_owned(),
        plugin: "opsiq/echo".to_owned(),
        without: Vec::new(),
        confirm: Vec::new(),
        config: serde_json::json!({}),
    }
}

pub(crate) fn call(action: &str, params: &str) -> Call {
    Call {
        installation: "echo".to_owned(),
        action: action.to_owned(),
        params: params.as_bytes().to_vec(),
        idempotency_key: None,
    }
}

pub(crate) fn keyed(action: &str, params: &str, key: &str) -> Call {
    Call { idempotency_key: Some(key.to_owned()), ..call(action, params) }
}

impl World {
    /// With confirmations that wait a day.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With this `opsiq.toml`.
    pub(crate) async fn with(config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        Host::init(options(&dir)).await.unwrap();
        if !config.is_empty() {
            std::fs::write(data(&dir).join("opsiq.toml"), config).unwrap();
        }
        let host = Host::open(options(&dir)).await.unwrap();
        let operator = Actor::operator();
        host.catalogue().register(&operator, PLUGIN.clone()).await.unwrap();
        for id in ["acme", "other"] {
            let new = NewTenant { id: tenant(id), title: id.to_uppercase(), owner: "olga".to_owned() };
            host.tenants().create(&operator, new).await.unwrap();
        }
        host.users().add(&acme("olga"), "adam", Role::Admin).await.unwrap();
        host.users().add(&acme("olga"), "sam", Role::Support).await.unwrap();
        host.installations().install(&acme("adam"), &request("echo")).await.unwrap();
        host.keys().set(&acme("adam"), "echo", "api-key", secret()).await.unwrap();
        Self { dir, host }
    }

    pub(crate) async fn invoke(&self, user: &str, call: Call) -> Result<Answer, Refusal> {
        self.host.invoke(&acme(user), call).await
    }

    pub(crate) async fn done(&self, user: &str, call: Call) -> Done {
        match self.invoke(user, call).await.unwrap() {
            Answer::Done(done) => done,
            Answer::Pending(view) => panic!("it waits: {}", view.id),
        }
    }

    pub(crate) async fn refused(&self, user: &str, call: Call) -> Refusal {
        self.invoke(user, call).await.unwrap_err()
    }

    /// The id of the confirmation a call waits for.
    pub(crate) async fn pending(&self, user: &str, call: Call) -> String {
        match self.invoke(user, call).await.unwrap() {
            Answer::Pending(view) => view.id,
            Answer::Done(done) => panic!("it ran: {done:?}"),
        }
    }

    /// How many entries of this kind the tenant's log holds.
    pub(crate) async fn entries(&self, kind: Kind) -> usize {
        self.fields(kind).await.len()
    }

    /// Those entries, newest first, as `name=value` texts.
    pub(crate) async fn fields(&self, kind: Kind) -> Vec<String> {
        let filter = Filter { kind: Some(kind), limit: 1000, ..Filter::default() };
        let page = self.host.audit().list(&acme("olga"), &filter).await.unwrap();
        let text = |entry: &opsiq_audit::View| {
            entry.fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")
        };
        page.entries.iter().map(text).collect()
    }
}
