//! Actions: the body of a call is its parameters, passed to the gate byte for byte.

use axum::http::StatusCode;
use opsiq_contract::{Effect, InvocationId};
use opsiq_gate::{ActionView, Answer, Call, ConfirmationView, Done as Finished, KeyRule, Meter, idempotency_key};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::ask::{Ask, Done, JSON, Reply, segment};
use crate::problem::Problem;
use crate::routes::{Routes, Spec};

/// Bytes of parameters: as many as any plugin takes.
const PARAMS: usize = 1 << 20;

/// One action of one installation.
#[derive(Serialize)]
struct Offered<'a> {
    installation: &'a str,
    action: &'a ActionView,
}

/// A finished call.
#[derive(Serialize)]
struct Ran<'a> {
    status: &'static str,
    invocation: &'a InvocationId,
    effect: Effect,
    replayed: bool,
    result: &'a RawValue,
    redacted: bool,
    meter: &'a Meter,
}

/// A call that waits.
#[derive(Serialize)]
struct Waits<'a> {
    status: &'static str,
    confirmation: &'a ConfirmationView,
}

const REVEAL: &str = "Show fields of the result that the contract marks secret or personal.";
const BOOLEAN: &str = r#"{"type":"boolean","default":false}"#;

pub(super) fn add(routes: &mut Routes) {
    routes.add(
        Spec::get("/v1/actions", "actions.list", "List what can be called.")
            .param("installation", r#"{"type":"string"}"#, "Only of this installation.")
            .gives("ActionList", "Actions, with the schemas of their parameters and results."),
        list,
    );
    routes.add(
        Spec::post("/v1/installations/{installation}/actions/{action}/call", "actions.call", "Call an action with the parameters in the body. The same Idempotency-Key with the same parameters is the same call: it has one effect and one answer.")
            .body(JSON, "Params", PARAMS)
            .unkeyed()
            .reads("idempotency-key", "1 to 255 visible ASCII characters, in quotes.")
            .param("reveal", BOOLEAN, REVEAL)
            .gives("CallDone", "It ran, and its outcome is on record.")
            .gives_as(202, JSON, "CallPending", "It waits for a person; nothing has run."),
        call,
    );
    routes.add(
        Spec::post(
            "/v1/installations/{installation}/actions/{action}/explain",
            "actions.explain",
            "What a call with these parameters would meet, stage by stage. Nothing runs.",
        )
        .unkeyed()
        .body(JSON, "Params", PARAMS)
        .gives("Explanation", "The stages, up to the first that refuses."),
        explain,
    );
}

async fn list(ask: Ask) -> Done {
    let installations = match ask.query("installation") {
        Some(name) => vec![ask.host.installations().get(&ask.actor, name).await?],
        None => ask.host.installations().list(&ask.actor).await?,
    };
    let all: Vec<Offered<'_>> = installations
        .iter()
        .flat_map(|one| one.actions.iter().map(|action| Offered { installation: &one.name, action }))
        .collect();
    Reply::json(&all)
}

fn asked(ask: &Ask, idempotency_key: Option<String>) -> Call {
    let (installation, action) = (ask.path("installation").to_owned(), ask.path("action").to_owned());
    Call { installation, action, params: ask.body.to_vec(), idempotency_key }
}

async fn call(ask: Ask) -> Done {
    let call = asked(&ask, idempotency_key(&ask.headers, KeyRule::Optional)?);
    let reveal = ask.flag("reveal")?;
    answered(&ask.host.invoke(&ask.actor, call).await?, reveal)
}

async fn explain(ask: Ask) -> Done {
    Reply::json(&ask.host.explain(&ask.actor, &asked(&ask, None)).await?)
}

/// What became of a call: its result, or that it waits.
pub(super) fn answered(answer: &Answer, reveal: bool) -> Done {
    match answer {
        Answer::Done(done) => finished(done, reveal),
        Answer::Pending(confirmation) => {
            let waits = Waits { status: "pending", confirmation };
            Ok(Reply::json_as(StatusCode::ACCEPTED, &waits)?
                .at(&format!("/v1/confirmations/{}", segment(&confirmation.id))))
        }
    }
}

fn finished(done: &Finished, reveal: bool) -> Done {
    let unreadable =
        || Problem::request(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the result is no JSON", "see opsiq doctor");
    let shown = if reveal { None } else { Some(done.shown().to_string()) };
    let redacted = shown.as_ref().is_some_and(|shown| *shown != done.result);
    let result: &RawValue = serde_json::from_str(shown.as_deref().unwrap_or(&done.result)).map_err(|_| unreadable())?;
    Reply::json(&Ran {
        status: "done",
        invocation: &done.invocation,
        effect: done.effect,
        replayed: done.replayed,
        result,
        redacted,
        meter: &done.meter,
    })
}
