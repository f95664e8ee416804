//! The compatibility linker: components made elsewhere, for `wasi:http` and `wasi:cli`, run within the same limits and over
//! the same way out as plugins of this host.
//!
//! Only what the contract room's judge admits is linked, and each interface gives nothing but what the contract grants:
//! files, environment and terminal are empty, sockets do not exist, requests go to the one way out under the rules of the
//! call's authority, clock and randomness are the host's. The linker is made when the first such component is loaded; a
//! plugin of this host pays for none of it.
//!
//! The engine's own crates implement the interfaces. Every call of theirs is counted where they ask for their state, and a
//! call over its limit is ended at the guest's next tick, or at the end of the call if that comes first. Bytes are counted
//! where they leave the guest for good: the log, the result, request bodies. What else passes a single crossing is held
//! by the engine's limit of that crossing alone. Work of theirs that waits runs in tasks of its own, so its CPU time is not
//! the guest's.

mod budget;
mod command;
mod console;
mod context;
mod flights;
mod link;
mod outgoing;
mod proxy;

use opsiq_contract::{Authorized, Call, World};
use wasmtime::Store;
use wasmtime::component::Component;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::bindings::opsiq::plugin::types::Failure;
use crate::fault::{During, Fault, FaultCode};
use crate::state::State;

pub(crate) use context::Foreign;
pub(crate) use link::linker;

/// How a call of the guest ended: what it answered, as it claims, else why the engine ended it.
type Ended = Result<Result<String, Failure>, (wasmtime::Error, During)>;

/// A linked component made elsewhere.
pub(crate) enum ForeignPre {
    Proxy(ProxyPre<State>),
    Command(CommandPre<State>),
}

impl ForeignPre {
    /// Links a component of `world`, and holds its types against the engine's.
    pub(crate) fn new(world: World, pre: wasmtime::component::InstancePre<State>) -> wasmtime::Result<Self> {
        Ok(match world {
            World::Proxy => Self::Proxy(ProxyPre::new(pre)?),
            World::Command => Self::Command(CommandPre::new(pre)?),
        })
    }

    pub(crate) fn component(&self) -> &Component {
        match self {
            Self::Proxy(pre) => pre.instance_pre().component(),
            Self::Command(pre) => pre.instance_pre().component(),
        }
    }

    /// Runs the action the way its contract maps it.
    pub(crate) async fn call(&self, store: &mut Store<State>, authorized: &Authorized, params: &str) -> Ended {
        let ended = match (self, &authorized.action().call) {
            (Self::Proxy(pre), Some(Call::Request(request))) => {
                proxy::call(pre, store, request, authorized.config(), params).await
            }
            (Self::Command(pre), None) => command::call(pre, store, &[], authorized.config(), params).await,
            (Self::Command(pre), Some(Call::Command(call))) => {
                command::call(pre, store, &call.args, authorized.config(), params).await
            }
            // The contract's reader makes no such pair.
            _ => Err((mismatch().into(), During::Instantiation)),
        };
        // Whatever it answered, a call over its budget did not end well.
        match store.data().overrun() {
            Some(fault) => Err((fault.into(), During::Call)),
            None => ended,
        }
    }
}

fn mismatch() -> Fault {
    Fault::new(FaultCode::InstantiationFailed, "the contract does not say how the component is called")
}
