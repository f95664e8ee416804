//! The macros of `opsiq-sdk`, used through it.
//!
//! `plugin!` reads the contract at compile time, so that the code cannot drift from it: an action without a method, or
//! a parameter of another type, does not compile. It checks only what it needs to generate code; `opsiq plugin build`
//! checks the whole contract before it compiles.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod contract;
mod names;
mod plugin;
mod types;
mod url;

use proc_macro2::TokenStream;
use quote::quote;

/// Generates types, the trait to implement and the exports from the `contract.toml` beside `Cargo.toml`.
#[proc_macro]
pub fn plugin(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    if !input.is_empty() {
        return error("plugin!() takes nothing; it reads contract.toml beside Cargo.toml").into();
    }
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let path = std::path::Path::new(&dir).join("contract.toml");
    contract::read(&path)
        .and_then(|contract| plugin::generate(&contract, &path))
        .unwrap_or_else(|message| error(&format!("{}: {message}", path.display())))
        .into()
}

/// A URL with percent-encoded path segments, such as `url!("{config.base_url}/orders/{id}")`.
#[proc_macro]
pub fn url(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    url::expand(&TokenStream::from(input)).unwrap_or_else(|message| error(&message)).into()
}

fn error(message: &str) -> TokenStream {
    quote!(::core::compile_error!(#message);)
}
