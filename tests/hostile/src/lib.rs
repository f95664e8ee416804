//! A plugin that tries to break each rule of the sandbox: one action per attack.
//!
//! It talks to the WIT package directly, without generated types, because half of what it answers is not what its
//! contract says. An attack that is held ends in a failure that the host names; one that gets through answers.

mod about;
mod allocator;
mod flood;
mod leak;
mod memory;
mod reach;
mod results;
mod stack;
mod state;
mod time;

use opsiq_sdk::bindings::exports::opsiq::plugin::actions::Guest;
use opsiq_sdk::serde_json::{self, Value};
use opsiq_sdk::{Failure, json};

/// The plugin.
#[derive(Debug)]
pub struct Hostile;

impl Guest for Hostile {
    fn invoke(action: String, params: String) -> Result<String, Failure> {
        opsiq_sdk::rt::begin();
        let params: Value = serde_json::from_str(&params)?;
        let answer = match action.as_str() {
            "spin" => time::spin(),
            "spin-in-realloc" => time::spin_in_realloc(),
            "sleep-in-host-call" => time::sleep_in_host_call()?,
            "memory-bomb" => memory::bomb(),
            "recursion" => stack::recursion(),
            "giant-result" => return Ok(results::giant()),
            "deep-json" => return Ok(results::deep()),
            "invalid-json" => return Ok(results::invalid()),
            "duplicate-keys" => return Ok(results::duplicate_keys()),
            "off-contract" => return Ok(results::off_contract()),
            "log-flood" => flood::log(),
            "host-call-flood" => flood::host_calls(),
            "random-flood" => flood::random(),
            "many-resources" => flood::resources()?,
            "http-flood" => flood::http()?,
            "fetch" => reach::fetch(&params)?,
            "open-key" => reach::open_key(&params)?,
            "emit-event" => reach::emit_event(&params)?,
            "kv" => reach::kv(&params)?,
            "write-as-read" => reach::write_as_read()?,
            "pass-on" => leak::pass_on(&params)?,
            "state" => state::count(),
            "panic" => panic!("on purpose"),
            "about-read" | "about-write" | "about-risky" => about::answer(&params)?,
            "echo" | "echo-write" => json!({ "text": params["text"] }),
            other => return Err(Failure::internal(format!("no attack is called {other}"))),
        };
        Ok(answer.to_string())
    }
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "generated: exports are unsafe attributes")]
mod exports {
    use super::Hostile;

    opsiq_sdk::bindings::export_actions!(Hostile);
}
