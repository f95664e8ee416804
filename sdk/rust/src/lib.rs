//! What makes a plugin short to write.
//!
//! A plugin begins with its contract, `contract.toml` beside `Cargo.toml`. From it [`plugin!`] makes a struct for the
//! parameters and for the result of each action, one for the config, and the trait `Actions` with one method per
//! action, to be implemented for `Plugin`:
//!
//! ```ignore
//! use opsiq_sdk::prelude::*;
//!
//! opsiq_sdk::plugin!();
//!
//! impl Actions for Plugin {
//!     fn get_order(ctx: &Context, params: GetOrderParams) -> Result<GetOrderResult> {
//!         let base = &ctx.config()?.base_url;
//!         ctx.http().get(url!("{base}/orders/{params.id}")).json()
//!     }
//! }
//! ```
//!
//! What a plugin may reach, it reaches through its [`Context`]; there are no files, sockets, clocks or environment
//! variables besides. Everything the host refuses, and every answer of the outside that is a failure, is an ordinary
//! [`Failure`] that `?` passes on with its meaning. Nothing kept in memory survives a call.
//!
//! Compiled for the host's own machine, as `cargo test` does, the same plugin runs against [`testing::Host`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(all(target_arch = "wasm32", feature = "arena"))]
mod arena;
#[doc(hidden)]
pub mod bindings;
mod context;
mod encode;
mod failure;
mod host;
pub mod http;
pub mod keys;
pub mod kv;
pub mod log;
#[doc(hidden)]
pub mod rt;
pub mod standard_webhooks;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod url;

pub use bindings::opsiq::plugin::types::{Denial, Failure, UpstreamFailure};
pub use bindings::webhooks::exports::opsiq::plugin::webhooks::Delivery;
pub use context::{Context, NoConfig};
pub use failure::Result;
pub use opsiq_sdk_macros::{plugin, url};
pub use serde;
pub use serde_json;
pub use serde_json::json;
pub use url::Url;

/// What a plugin's code mostly needs.
pub mod prelude {
    pub use crate::{Delivery, Denial, Failure, Result, UpstreamFailure, Url, debug, error, info, json, url, warn};
}
