//! The `OpenAPI` 3.1 document, made from the table of routes and the shapes of what they take and give. What is not in the
//! table is not served, so nothing that is served can be missing here.

use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;

use crate::api::shapes;
use crate::door::COOKIE_NAME;
use crate::problem::MEDIA;
use crate::routes::{Parameter, Routes, Spec, Takes};
use crate::schema;

/// Statuses that any route may answer with a problem, and what each means.
const PROBLEMS: &[(u16, &str)] = &[
    (400, "The request cannot be read, or says something that is not read here."),
    (401, "It offers no proof of who sends it, or one that proves nobody."),
    (403, "The rule named does not allow it."),
    (404, "There is no such thing, or it is another tenant's."),
    (406, "It is not given in a form that is accepted."),
    (408, "The body did not arrive in time."),
    (409, "It does not go with what is there."),
    (413, "The body is too large."),
    (415, "The body is of another type."),
    (421, "It is for another host."),
    (422, "What was sent is off its schema, or another body came under the same idempotency key."),
    (429, "A limit is reached; nothing happened, and Retry-After says when to try again."),
    (431, "Too many header fields, or too long ones."),
    (500, "The host failed, or found data that was tampered with."),
    (502, "The plugin failed or met a limit."),
    (
        503,
        "Nothing can be recorded now, or the host is sealed, busy or about to end. With Retry-After nothing happened; with effect_possible an effect may have.",
    ),
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "OpsIQ",
        description = "Runs sandboxed connectors and actions under contract: scoped, confirmed where risky, audited.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(
        schema::Problem,
        schema::Fault,
        schema::TenantView,
        schema::CatalogueEntry,
        schema::InstallationView,
        schema::HeldUpgrade,
        schema::ActionView,
        schema::Offered,
        schema::InstallPlan,
        schema::AskGroup,
        schema::AskItem,
        schema::UpgradePlan,
        schema::ChangeGroup,
        schema::UpgradeChange,
        schema::Upgrade,
        schema::KeyView,
        schema::KeyVersionView,
        schema::Meter,
        schema::CallDone,
        schema::CallPending,
        schema::Explanation,
        schema::ExplainStep,
        schema::ConfirmationView,
        schema::Argument,
        schema::AuditEntry,
        schema::Checkpoint,
        schema::AuditKey,
        schema::UserView,
        schema::SubjectView,
        schema::ErasedKey,
        schema::ControlView,
        schema::CallView,
        schema::QuarantineView,
        schema::Stopped,
        schema::Placed,
        schema::TotalsView,
        schema::SealView,
        schema::RuleView,
        schema::FirewallChanged,
        schema::CheckView,
        schema::CheckStep,
        schema::ScoreView,
        schema::Scored,
        schema::SignalView,
        schema::InvitationView,
        schema::InvitedView,
        schema::EnrolmentView,
        schema::EnrolledView,
        schema::PendingView,
        schema::SignedInView,
        schema::SessionView,
        schema::EndedView,
        schema::RoleView,
        schema::SsoProviderView,
        schema::NameIdWord,
        schema::ClaimRole,
        schema::SsoCheckedView,
        schema::SsoAwayView,
        schema::ClientView,
        schema::ClientKeyView,
        schema::RetentionView,
        schema::HoldView,
        shapes::SetRetention,
        shapes::PlaceHold,
        schema::NewClientView,
        shapes::AcceptAt,
        shapes::CodeForm,
        shapes::PutProvider,
        shapes::ProviderKind,
        shapes::ResponseForm,
        shapes::AllowClient,
        shapes::MakeClient,
        shapes::RotateClient,
        shapes::PutRole,
        shapes::AcceptInvitation,
        shapes::CodeOf,
        shapes::Invitation,
        shapes::PendingCode,
        shapes::SignIn,
        shapes::Which,
        shapes::MakeTenant,
        shapes::ConfirmErase,
        shapes::SecondPerson,
        shapes::Me,
        shapes::RegisteredView,
        shapes::InspectionView,
        shapes::Install,
        shapes::ChangeGrant,
        shapes::UpgradeTo,
        shapes::Accept,
        shapes::SecretValue,
        shapes::AddUser,
        shapes::InviteUser,
        shapes::RoleOf,
        shapes::Select,
        shapes::QuarantineAsk,
        shapes::FirewallPut,
        shapes::FirewallRemove,
    ))
)]
struct Shapes;

/// The document.
pub(crate) fn document(routes: &Routes) -> Value {
    let mut document = serde_json::to_value(Shapes::openapi()).unwrap_or_default();
    let mut paths = Map::new();
    for spec in routes.specs() {
        let path = paths.entry(spec.path).or_insert_with(|| json!({}));
        path[spec.method.as_str().to_ascii_lowercase()] = operation(spec);
    }
    document["paths"] = Value::Object(paths);
    let schemas = &mut document["components"]["schemas"];
    for name in [
        "MakeTenant",
        "ConfirmErase",
        "SecondPerson",
        "Install",
        "ChangeGrant",
        "UpgradeTo",
        "Accept",
        "SecretValue",
        "AddUser",
        "InviteUser",
        "RoleOf",
        "Select",
        "QuarantineAsk",
        "AcceptAt",
        "CodeForm",
        "PutProvider",
        "ClaimRole",
        "SetRetention",
        "PlaceHold",
        "FirewallPut",
        "FirewallRemove",
        "AllowClient",
        "MakeClient",
        "RotateClient",
        "PutRole",
        "AcceptInvitation",
        "CodeOf",
        "Invitation",
        "PendingCode",
        "SignIn",
        "Which",
    ] {
        schemas[name]["additionalProperties"] = json!(false);
    }
    for (page, item) in [
        ("TenantPage", "TenantView"),
        ("PluginPage", "CatalogueEntry"),
        ("InstallationPage", "InstallationView"),
        ("ConfirmationPage", "ConfirmationView"),
        ("UserPage", "UserView"),
        ("AuditPage", "AuditEntry"),
        ("ClientPage", "ClientView"),
        ("RulePage", "RuleView"),
    ] {
        schemas[page] = json!({
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": { "type": "array", "items": reference(item) },
                "next": { "type": ["string", "null"], "description": "Where to go on: the cursor of the next page." },
            },
        });
    }
    for (list, item) in [
        ("KeyList", "KeyView"),
        ("ActionList", "Offered"),
        ("TotalsList", "TotalsView"),
        ("SessionList", "SessionView"),
        ("RoleList", "RoleView"),
        ("SsoProviderList", "SsoProviderView"),
        ("ScoreList", "ScoreView"),
        ("SignalList", "SignalView"),
    ] {
        schemas[list] = json!({ "type": "array", "items": reference(item) });
    }
    schemas["Params"] = json!({ "type": "object", "description": "The parameters, as the action's schema says." });
    schemas["Config"] = json!({ "type": "object", "description": "The config, as the contract's schema says." });
    schemas["Contract"] = json!({ "type": "object", "description": "The contract, as it stands in the component." });
    document["components"]["securitySchemes"] = json!({
        "signature": {
            "type": "apiKey", "in": "header", "name": "signature",
            "description": "RFC 9421 with hmac-sha256 over @method, @target-uri, content-digest and, where they are sent, idempotency-key, if-match and content-encoding. The answer is signed, unless it is a stream.",
        },
        "session": { "type": "http", "scheme": "bearer", "description": "The token of a person's session." },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": COOKIE_NAME,
            "description": "The same as a cookie, for pages of this host alone.",
        },
    });
    document["security"] = json!([{ "signature": [] }, { "session": [] }, { "cookie": [] }]);
    document
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn operation(spec: &Spec) -> Value {
    let mut operation = json!({
        "operationId": spec.id,
        "tags": [spec.tag],
        "summary": spec.doc,
        "parameters": parameters(spec),
        "responses": responses(spec),
    });
    if let Takes::Body { media, schema, .. } = spec.takes {
        let schema = if schema.is_empty() { json!({}) } else { reference(schema) };
        operation["requestBody"] = json!({ "required": true, "content": { media: { "schema": schema } } });
    }
    if spec.open {
        operation["security"] = json!([]);
    }
    operation
}

fn parameters(spec: &Spec) -> Vec<Value> {
    let in_path = spec.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }),
    );
    let parameter = |at: &'static str| move |parameter: &Parameter| json!({ "name": parameter.name, "in": at, "description": parameter.doc, "schema": parameter.schema() });
    in_path
        .chain(spec.query.iter().map(parameter("query")))
        .chain(spec.headers.iter().map(parameter("header")))
        .collect()
}

fn responses(spec: &Spec) -> Value {
    let mut responses = Map::new();
    for gives in &spec.gives {
        let response = responses.entry(gives.status.to_string()).or_insert_with(|| json!({ "description": gives.doc }));
        if !gives.media.is_empty() {
            let schema = if gives.schema.is_empty() { json!({}) } else { reference(gives.schema) };
            let bare = gives.media.split(';').next().unwrap_or(gives.media);
            response["content"][bare] = json!({ "schema": schema });
        }
    }
    let revised = spec.headers.iter().any(|header| header.name == "if-match");
    let changed = (412, "It has changed meanwhile; nothing happened.");
    for (status, doc) in PROBLEMS.iter().chain(revised.then_some(&changed)) {
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({ "description": doc }));
        response["content"][MEDIA] = json!({ "schema": reference("Problem") });
    }
    Value::Object(responses)
}
