//! The Rust side of `wit/`, generated. Imports may trap, so that a limit ends the call; those in which the host waits
//! are `async`. Types of `webhooks` come with the inbound path.

#![allow(
    missing_docs,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    reason = "generated from wit/, which documents each item"
)]
#![allow(
    unsafe_code,
    reason = "generated: typed calls of functions whose types were checked when the plugin was loaded"
)]

wasmtime::component::bindgen!({
    world: "connector",
    path: "../../wit/0.1.0",
    imports: {
        "opsiq:plugin/http.send": async | trappable,
        "opsiq:plugin/http.[method]body.read": async | trappable,
        "opsiq:plugin/kv": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "opsiq:plugin/keys.key": crate::keys::Handle,
        "opsiq:plugin/http.body": crate::http::Body,
    },
});

/// The same world for a call that runs straight through: what would wait ends it instead.
pub(crate) mod straight {
    wasmtime::component::bindgen!({
        world: "connector",
        path: "../../wit/0.1.0",
        imports: { default: trappable },
        with: {
            "opsiq:plugin/types": super::opsiq::plugin::types,
            "opsiq:plugin/context": super::opsiq::plugin::context,
            "opsiq:plugin/keys": super::opsiq::plugin::keys,
            "opsiq:plugin/audit": super::opsiq::plugin::audit,
            "opsiq:plugin/log": super::opsiq::plugin::log,
            "opsiq:plugin/clock": super::opsiq::plugin::clock,
            "opsiq:plugin/random": super::opsiq::plugin::random,
            "opsiq:plugin/http.body": crate::http::Body,
        },
    });
}
