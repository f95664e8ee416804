//! Calls that end without waiting for anything, which most do that compute, look something up in their parameters, or refuse
//! them. Such a call needs no stack of its own to be left and come back to, and giving it one costs more than all that guards
//! it. So a call is first run straight through, on the stack of its thread. Where it would wait for the network or for
//! storage, or computes for a whole turn, it is begun anew on a stack of its own.
//!
//! Nobody can tell: until it waits, nothing of a call leaves it, since lines, events and denials are kept for its end. They
//! are dropped with the first attempt, whose processor time counts all the same. What an action did last time says whether
//! to try.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use opsiq_contract::Contract;
use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::opsiq::plugin::types::Failure;
use crate::bindings::straight::opsiq::plugin::{http, kv};
use crate::bindings::straight::{Connector, ConnectorPre};
use crate::fault::During;
use crate::http::Body;
use crate::state::State;

/// Why an attempt ended that was to run straight through.
#[derive(Debug)]
pub(crate) struct Waits;

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call waits")
    }
}

impl std::error::Error for Waits {}

/// A plugin linked to run straight through, and which of its actions are not to be tried.
pub(crate) struct Straight {
    pre: ConnectorPre<State>,
    /// By action: whether its last call waited.
    waited: HashMap<String, AtomicBool>,
}

/// What an attempt came to.
pub(crate) enum Attempt {
    /// The call ended.
    Ended(Result<Result<String, Failure>, (wasmtime::Error, During)>),
    /// It waits, so it is to be begun anew.
    Waits,
}

impl Straight {
    pub(crate) fn new(pre: ConnectorPre<State>, contract: &Contract) -> Self {
        let waited = contract.actions.iter().map(|action| (action.name.clone(), AtomicBool::new(false))).collect();
        Self { pre, waited }
    }

    /// Whether `action` is worth an attempt.
    pub(crate) fn is_worth_it(&self, action: &str) -> bool {
        self.waited.get(action).is_some_and(|waited| !waited.load(Ordering::Relaxed))
    }

    /// Remembers whether a call of `action` waited.
    pub(crate) fn learn(&self, action: &str, waits: bool) {
        if let Some(waited) = self.waited.get(action)
            && waited.load(Ordering::Relaxed) != waits
        {
            waited.store(waits, Ordering::Relaxed);
        }
    }

    /// Runs `action` in a store that is armed and nothing ran in. Takes of the stack it is called on what the guest may
    /// have and what its imports need, a mebibyte at most.
    #[allow(clippy::ptr_arg, reason = "what the generated call takes")]
    pub(crate) fn attempt(&self, store: &mut Store<State>, action: &String, params: &String) -> Attempt {
        let error = match self.pre.instantiate(&mut *store) {
            Ok(instance) => match invoke(&instance, store, action, params) {
                Ok(invoked) => return Attempt::Ended(Ok(invoked)),
                Err(error) => (error, During::Call),
            },
            Err(error) => (error, During::Instantiation),
        };
        if error.0.downcast_ref::<Waits>().is_some() { Attempt::Waits } else { Attempt::Ended(Err(error)) }
    }
}

#[allow(clippy::ptr_arg, reason = "what the generated call takes")]
fn invoke(
    instance: &Connector,
    store: &mut Store<State>,
    action: &String,
    params: &String,
) -> wasmtime::Result<Result<String, Failure>> {
    instance.opsiq_plugin_actions().call_invoke(store, action, params)
}

/// Adds what waits to a linker of everything else.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    http::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    kv::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl http::Host for State {
    fn send(&mut self, _: http::Request) -> wasmtime::Result<Result<http::Response, http::HttpFailure>> {
        Err(Waits.into())
    }
}

impl http::HostBody for State {
    fn read(&mut self, _: Resource<Body>, _: u32) -> wasmtime::Result<Result<Vec<u8>, http::HttpFailure>> {
        Err(Waits.into())
    }

    fn drop(&mut self, _: Resource<Body>) -> wasmtime::Result<()> {
        Err(Waits.into())
    }
}

impl kv::Host for State {
    fn get(&mut self, _: String) -> wasmtime::Result<Result<Option<kv::Entry>, kv::KvFailure>> {
        Err(Waits.into())
    }

    fn set(&mut self, _: String, _: Vec<u8>, _: Option<u64>) -> wasmtime::Result<Result<u64, kv::KvFailure>> {
        Err(Waits.into())
    }

    fn delete(&mut self, _: String, _: Option<u64>) -> wasmtime::Result<Result<(), kv::KvFailure>> {
        Err(Waits.into())
    }

    fn list_keys(&mut self, _: String, _: Option<String>) -> wasmtime::Result<Result<Vec<String>, kv::KvFailure>> {
        Err(Waits.into())
    }
}
