//! The plugins the operator registered for all tenants. Registration reads the contract without running code, compiles
//! once in a bounded child, and only then keeps the component and makes the plugin known, together with its entry in the
//! host log: what is refused leaves nothing behind.

use std::sync::Arc;

use opsiq_audit::{Draft, Kind, Log, Op, field};
use opsiq_contract::component::Inspection;
use opsiq_contract::{Contract, Digest, PluginRef, Role, component, nearest, visible};
use opsiq_sandbox::LoadError;
use opsiq_store::{PluginRow, StoreError};
use serde::{Deserialize, Serialize};

use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::errors;
use crate::refusal::{Class, Fault, Refusal, Stage};

/// What registering did.
#[derive(Debug, Clone)]
pub struct Registered {
    /// `publisher/id@version`.
    pub plugin: PluginRef,
    /// SHA-256 over the component's bytes, code and contract together.
    pub digest: Digest,
    /// The embedded contract.
    pub contract: Arc<Contract>,
    /// `false` when exactly these bytes were registered before.
    pub new: bool,
}

/// What a component asks for, and whether it would be registered.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Whether it would.
    pub acceptable: bool,
    /// `publisher/id@version`, when it holds a contract.
    pub plugin: Option<PluginRef>,
    /// What was found, item by item.
    pub inspection: Inspection,
}

/// How far a registration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registering {
    /// Its size, structure, imports, types and contract are looked at.
    Checking,
    /// It is compiled.
    Compiling {
        /// Functions in it.
        functions: u64,
    },
    /// It is kept, and put on record.
    Storing,
}

/// One registered plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatalogueEntry {
    /// `publisher/id@version`.
    pub plugin: PluginRef,
    /// SHA-256 over the component's bytes.
    pub digest: Digest,
    /// Title, as the contract says it.
    pub title: String,
    /// Summary, as the contract says it.
    pub summary: String,
    /// `connector` or `action`.
    pub kind: String,
    /// Bytes of the component.
    pub size: u64,
    /// When, in milliseconds since 1970.
    pub registered_ms: i64,
}

/// The catalogue. See [`Host::catalogue`](crate::Host::catalogue).
#[derive(Clone)]
pub struct Catalogue {
    pub(crate) core: Arc<Core>,
}

impl Catalogue {
    /// Registers a component for all tenants. For the operator. The same bytes again change nothing.
    ///
    /// # Errors
    /// Every reason why the component is not admissible, such as an import its contract does not declare; another
    /// component under the same `publisher/id@version`; one that does not compile in time.
    pub async fn register(&self, actor: &Actor, bytes: Vec<u8>) -> Result<Registered, Refusal> {
        self.register_watched(actor, bytes, &|_| {}).await
    }

    /// The same, telling `watch` at the beginning of each step.
    ///
    /// # Errors
    /// Those of [`Catalogue::register`].
    pub async fn register_watched(
        &self,
        actor: &Actor,
        bytes: Vec<u8>,
        watch: &(dyn Fn(Registering) + Send + Sync),
    ) -> Result<Registered, Refusal> {
        let about = format!("component {}", Digest::of(&bytes));
        self.core.operate(actor, "plugin register", &about, self.register_now(actor, bytes, watch)).await
    }

    async fn register_now(
        &self,
        actor: &Actor,
        bytes: Vec<u8>,
        watch: &(dyn Fn(Registering) + Send + Sync),
    ) -> Result<Registered, Refusal> {
        let core = &self.core;
        watch(Registering::Checking);
        self.fits(&bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        let (looked_at, most) = (bytes.clone(), core.ceiling.component_bytes);
        // Reading a large one takes a while, in which others go on.
        let admitted = tokio::task::spawn_blocking(move || component::admit_within(&looked_at, most)).await;
        let admitted = admitted
            .map_err(|_| errors::internal(Stage::Admin, "looking at the component ended abnormally"))?
            .map_err(|problems| inadmissible(&problems))?;
        let (digest, contract) = (admitted.digest, Arc::new(admitted.contract));
        if let Some(denial) = core.ceiling.world_denial(&contract) {
            return Err(Refusal::denied(Stage::Admin, denial));
        }
        let plugin = contract.plugin_ref();
        let known = core.store.plugin_versions(&plugin.publisher, &plugin.id).await.map_err(|error| failed(&error))?;
        if known.iter().any(|row| row.digest == digest) {
            return Ok(Registered { plugin, digest, contract, new: false });
        }
        if known.iter().any(|row| row.plugin.version == plugin.version) {
            return Err(Refusal::new(
                Class::Conflict,
                Stage::Admin,
                "plugin.version-taken",
                format!("other bytes are registered as {plugin}"),
                "raise the version in contract.toml; a version names one component for ever",
            ));
        }
        watch(Registering::Compiling { functions: admitted.functions });
        let source = bytes.clone();
        let load = move || Ok::<_, std::convert::Infallible>(source.to_vec());
        core.engine().await?.sandbox.load(&digest, &contract, load).await.map_err(|error| not_loaded(&error))?;
        watch(Registering::Storing);
        let (store, kept) = (core.store.clone(), bytes.clone());
        let put = tokio::task::spawn_blocking(move || store.blobs().put(&kept)).await;
        put.map_err(|_| errors::internal(Stage::Admin, "keeping the component ended abnormally"))?
            .map_err(|error| failed(&error))?;
        core.store.blob_share(&digest).await.map_err(|error| failed(&error))?;
        let row = PluginRow {
            digest,
            plugin: plugin.clone(),
            contract: contract.canonical_json(),
            registered_ms: now_ms(),
            size: bytes.len() as u64,
        };
        let draft = operator_draft(actor, Kind::Admin, "plugin register")
            .field(field::PLUGIN, plugin.to_string())
            .field(field::OUTCOME, "ok")
            .field(field::DETAIL, format!("digest {digest}, {} bytes", bytes.len()));
        let change = Op::new(move |tx| Box::pin(async move { Ok(tx.plugin_insert(&row).await?) }));
        core.journal.commit(&Log::Host, vec![draft], change).await.map_err(|e| errors::audit(Stage::Admin, &e))?;
        Ok(Registered { plugin, digest, contract, new: true })
    }

    /// Says what a component asks for, and whether it would be registered, by the same rules; nothing runs and nothing is
    /// kept. For the operator, and for owners and admins of a tenant, one at a time. Goes on record.
    ///
    /// # Errors
    /// Not one of those; a component larger than the operator allows.
    pub async fn inspect(&self, actor: &Actor, bytes: Vec<u8>) -> Result<Inspected, Refusal> {
        let act = "plugin inspect";
        let digest = Digest::of(&bytes);
        let detail = format!("digest {digest}, {} bytes", bytes.len());
        let told = |draft: Draft, seen: &Inspected| {
            let detail = format!("{detail}, acceptable {}", seen.acceptable);
            vec![draft.field(field::OUTCOME, "ok").field(field::DETAIL, detail)]
        };
        if actor.tenant().is_none() {
            let inspect = async {
                let seen = self.inspect_now(bytes).await?;
                self.core.record(Log::Host, told(operator_draft(actor, Kind::Read, act), &seen)).await?;
                Ok(seen)
            };
            return self.core.operate(actor, act, &detail, inspect).await;
        }
        let person = self.core.person(actor).await?;
        let inspect = async {
            let seen = self.inspect_now(bytes).await?;
            self.core.record(person.log(), told(person.draft(Kind::Read, act), &seen)).await?;
            Ok(seen)
        };
        self.core.act(&person, &[Role::Owner, Role::Admin], act, &detail, inspect).await
    }

    async fn inspect_now(&self, bytes: Vec<u8>) -> Result<Inspected, Refusal> {
        self.fits(&bytes)?;
        let most = self.core.ceiling.component_bytes;
        // Reading a large one takes a while, in which others go on.
        let seen = tokio::task::spawn_blocking(move || component::inspect_within(&bytes, most)).await;
        let mut inspection =
            seen.map_err(|_| errors::internal(Stage::Admin, "looking at the component ended abnormally"))?;
        let denial = inspection.contract.as_ref().and_then(|contract| self.core.ceiling.world_denial(contract));
        inspection.problems.extend(denial.map(|denial| component::Problem {
            code: denial.code,
            subject: None,
            message: denial.message,
            fix: denial.fix,
        }));
        let plugin = inspection.contract.as_ref().map(Contract::plugin_ref);
        Ok(Inspected { acceptable: inspection.problems.is_empty(), plugin, inspection })
    }

    /// Refuses a component larger than the operator allows.
    fn fits(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let most = self.core.ceiling.component_bytes;
        if bytes.len() as u64 <= most {
            return Ok(());
        }
        Err(Refusal::new(
            Class::Denied,
            Stage::Admin,
            "plugin.too-large",
            format!("the component has {} bytes; {most} are allowed", bytes.len()),
            "make it smaller, or let the operator raise `component` under [ceiling] in opsiq.toml",
        ))
    }

    /// All registered plugins, by name and registration.
    ///
    /// # Errors
    /// A disk that does not serve.
    pub async fn list(&self) -> Result<Vec<CatalogueEntry>, Refusal> {
        self.core.store.plugins().await.map_err(|error| failed(&error))?.iter().map(entry).collect()
    }

    /// The plugin that `selector` names: `publisher/id@version`, `publisher/id` or `id` (the newest version, where only
    /// one publisher has that id), or a digest.
    ///
    /// # Errors
    /// No such plugin, naming the nearest; an id that several publishers have.
    pub async fn find(&self, selector: &str) -> Result<CatalogueEntry, Refusal> {
        let rows = self.core.store.plugins().await.map_err(|error| failed(&error))?;
        entry(choose(&rows, selector)?)
    }

    /// The contract of a registered plugin.
    ///
    /// # Errors
    /// No such plugin; a stored component that was changed.
    pub async fn contract(&self, digest: &Digest) -> Result<Arc<Contract>, Refusal> {
        self.core.contract(digest).await
    }
}

fn failed(error: &StoreError) -> Refusal {
    errors::store(Stage::Admin, error)
}

pub(crate) fn inadmissible(problems: &[component::Problem]) -> Refusal {
    let faults = problems.iter().map(|problem| Fault { path: String::new(), message: problem.to_string() }).collect();
    Refusal::new(
        Class::Invalid,
        Stage::Admin,
        "component.inadmissible",
        "the component cannot be registered",
        "opsiq plugin inspect FILE says what it imports and why that is not acceptable",
    )
    .with_faults(faults)
}

/// Why a component cannot be loaded, as a refusal of whoever wants it.
pub(crate) fn not_loaded(error: &LoadError) -> Refusal {
    let message = error.to_string();
    match error {
        LoadError::Digest { .. } => {
            Refusal::new(Class::Tampered, Stage::Resolve, "store.damaged", message, "restore from a backup")
        }
        LoadError::Bytes(_) | LoadError::Sandbox(_) => {
            Refusal::new(Class::Unavailable, Stage::Resolve, "plugin.not-loaded", message, "see opsiq doctor")
        }
        LoadError::Compiler(_) => Refusal::new(
            Class::Unavailable,
            Stage::Resolve,
            "compiler.unavailable",
            message,
            "a plugin is compiled in a confined process of opsiq's own binary, and in no other way: let this machine \
             start one",
        ),
        LoadError::TooLarge { .. } | LoadError::Initial { .. } => Refusal::new(
            Class::Denied,
            Stage::Resolve,
            "plugin.too-large",
            message,
            "make it smaller, or let the operator raise `component` under [ceiling] in opsiq.toml",
        ),
        LoadError::TooSlow(_) => Refusal::new(
            Class::Denied,
            Stage::Resolve,
            "compile.time",
            message,
            "make the component smaller, or let the operator raise `compile` under [ceiling] in opsiq.toml",
        ),
        LoadError::TooMuchMemory(_) => Refusal::new(
            Class::Denied,
            Stage::Resolve,
            "compile.memory",
            message,
            "make the component smaller, or let the operator raise `compile-memory` under [ceiling] in opsiq.toml",
        ),
        LoadError::Crashed(_) => Refusal::new(
            Class::Invalid,
            Stage::Resolve,
            "compile.crashed",
            message,
            "build it in another way, and report it: no component should do that to a compiler",
        ),
        _ => Refusal::new(
            Class::Invalid,
            Stage::Resolve,
            "plugin.not-loaded",
            message,
            "build it anew: opsiq plugin build DIR",
        ),
    }
}

fn entry(row: &PluginRow) -> Result<CatalogueEntry, Refusal> {
    let damaged = || errors::store(Stage::Resolve, &StoreError::Damaged { what: "plugin" });
    let contract = Contract::from_canonical_json(&row.contract).map_err(|_| damaged())?;
    Ok(CatalogueEntry {
        plugin: contract.plugin_ref(),
        digest: row.digest,
        kind: contract.plugin.kind.to_string(),
        size: row.size,
        registered_ms: row.registered_ms,
        title: visible(&contract.plugin.title, 120).text,
        summary: visible(&contract.plugin.summary, 500).text,
    })
}

/// The row that `selector` names among `rows`.
pub(crate) fn choose<'a>(rows: &'a [PluginRow], selector: &str) -> Result<&'a PluginRow, Refusal> {
    let exact = |row: &&PluginRow| selector == row.digest.to_string() || selector == row.plugin.to_string();
    if let Some(row) = rows.iter().find(exact) {
        return Ok(row);
    }
    let family = |row: &&PluginRow| selector == row.plugin.id || selector == row.plugin.family();
    let mut found: Vec<_> = rows.iter().filter(family).collect();
    found.sort_by(|a, b| a.plugin.version.cmp(&b.plugin.version));
    let Some(newest) = found.pop() else { return Err(unknown(rows, selector)) };
    if found.iter().any(|row| row.plugin.publisher != newest.plugin.publisher) {
        let mut names: Vec<_> = found.iter().chain([&newest]).map(|row| row.plugin.family()).collect();
        names.dedup();
        return Err(Refusal::new(
            Class::Conflict,
            Stage::Resolve,
            "plugin.ambiguous",
            "several publishers have a plugin of that id",
            format!("say which: {}", names.join(", ")),
        ));
    }
    Ok(newest)
}

fn unknown(rows: &[PluginRow], selector: &str) -> Refusal {
    let ids: Vec<String> = rows.iter().flat_map(|row| [row.plugin.id.clone(), row.plugin.family()]).collect();
    let fix = match nearest(selector, ids.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? see opsiq plugin list"),
        None => "see opsiq plugin list; the operator registers one: opsiq plugin register FILE".to_owned(),
    };
    let asked = visible(selector, 64).text;
    Refusal::new(Class::NotFound, Stage::Resolve, "plugin.unknown", format!("no plugin `{asked}` is registered"), fix)
}
