//! The catalogue.

use opsiq_contract::World;
use opsiq_contract::component::WIT_PACKAGE;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::ask::{Ask, Done, Reply, segment};
use crate::routes::{Routes, Spec};

/// The media type of a component.
const WASM: &str = "application/wasm";
/// Bytes of an upload; what the operator's ceiling allows is the gate's to say.
const UPLOAD: usize = 64 << 20;

/// What registering did.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegisteredView {
    /// `publisher/id@version`.
    plugin: String,
    /// SHA-256 over the component's bytes.
    digest: String,
    /// `false` when exactly these bytes were registered before.
    new: bool,
}

/// What a component imports, exports and declares.
#[derive(Serialize, ToSchema)]
pub(crate) struct InspectionView {
    /// Whether the host would register it.
    acceptable: bool,
    /// `publisher/id@version`, when it holds a contract.
    plugin: Option<String>,
    /// The interface it is made for, when it holds a contract.
    world: Option<String>,
    /// What was found, item by item.
    #[schema(value_type = Object)]
    inspection: Value,
}

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/plugins", "plugins.list", "List the registered plugins.")
            .paged()
            .gives("PluginPage", "Plugins, by name and version."),
        list,
    );
    routes.add(
        Spec::post("/v1/plugins", "plugins.register", "Register a component for all tenants. For the operator.")
            .unkeyed()
            .body(WASM, "", UPLOAD)
            .gives_as(201, "application/json", "RegisteredView", "It is registered.")
            .gives("RegisteredView", "It was registered before."),
        register,
    );
    routes.add(
        Spec::post(
            "/v1/plugins/inspect",
            "plugins.inspect",
            "What a component asks for, and whether the host would take it. Nothing runs. For the operator, and owners and admins.",
        )
        .unkeyed()
        .body(WASM, "", UPLOAD)
        .gives("InspectionView", "What was found."),
        inspect,
    );
    routes.add(
        Spec::get(
            "/v1/plugins/{plugin}",
            "plugins.show",
            "One plugin: `publisher/id@version`, `publisher/id` or `id` for the newest, or a digest.",
        )
        .gives("CatalogueEntry", "The plugin."),
        show,
    );
    routes.add(
        Spec::get("/v1/plugins/{plugin}/contract", "plugins.contract", "The contract of a plugin.")
            .gives("Contract", "The contract."),
        contract,
    );
}

async fn list(ask: Ask) -> Done {
    let plugins = ask.host.catalogue().list().await?;
    ask.page(plugins, |entry| format!("{} {:020}", entry.plugin.family(), entry.registered_ms))
}

async fn register(ask: Ask) -> Done {
    let made = ask.host.catalogue().register(&ask.actor, ask.body.to_vec()).await?;
    let view = RegisteredView { plugin: made.plugin.to_string(), digest: made.digest.to_string(), new: made.new };
    if !view.new {
        return Reply::json(&view);
    }
    Reply::created(&view, &format!("/v1/plugins/{}", segment(&view.digest)))
}

async fn inspect(ask: Ask) -> Done {
    let seen = ask.host.catalogue().inspect(&ask.actor, ask.body.to_vec()).await?;
    let plugin = seen.plugin.map(|plugin| plugin.to_string());
    let contract = seen.inspection.contract.as_ref();
    let world = contract.map(|contract| contract.plugin.world.map_or(WIT_PACKAGE, World::as_str).to_owned());
    Reply::json(&InspectionView { acceptable: seen.acceptable, plugin, world, inspection: json!(seen.inspection) })
}

async fn show(ask: Ask) -> Done {
    Reply::json(&ask.host.catalogue().find(ask.path("plugin")).await?)
}

async fn contract(ask: Ask) -> Done {
    let catalogue = ask.host.catalogue();
    let entry = catalogue.find(ask.path("plugin")).await?;
    let contract = catalogue.contract(&entry.digest).await?;
    Ok(Reply::bytes(crate::ask::JSON, contract.canonical_json().into()))
}
