//! The catalogue.

use opsiq_contract::DEFAULT_COMPONENT_BYTES;
use opsiq_contract::component::inspect_within;
use opsiq_gate::{Class, Refusal, Stage};
use serde::Serialize;
use serde_json::Value;
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
            .body(WASM, "", UPLOAD)
            .gives_as(201, "application/json", "RegisteredView", "It is registered.")
            .gives("RegisteredView", "It was registered before."),
        register,
    );
    routes.add(
        Spec::post(
            "/v1/plugins/inspect",
            "plugins.inspect",
            "What a component asks for, and whether the host would take it. Nothing runs.",
        )
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
    let body = ask.body.clone();
    let most = DEFAULT_COMPONENT_BYTES.max(body.len() as u64);
    let seen = tokio::task::spawn_blocking(move || {
        let seen = inspect_within(&body, most);
        let plugin = seen.contract.as_ref().map(|contract| contract.plugin_ref().to_string());
        let acceptable = seen.problems.is_empty();
        serde_json::to_value(&seen).map(|inspection| InspectionView { acceptable, plugin, inspection })
    });
    if let Ok(Ok(view)) = seen.await {
        return Reply::json(&view);
    }
    let message = "looking at the component ended abnormally";
    Err(Refusal::new(Class::Internal, Stage::Admin, "internal", message, "report it").into())
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
