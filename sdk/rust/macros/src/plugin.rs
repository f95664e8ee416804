//! From the contract to the trait to implement, the dispatch and the exports.

use std::path::Path;

use proc_macro2::TokenStream;
use quote::quote;

use crate::contract::{Action, Contract};
use crate::names::{ident, pascal, snake};
use crate::types::Types;

/// All code of `plugin!()`.
///
/// # Errors
/// What cannot be generated, with its place in the contract.
pub(crate) fn generate(contract: &Contract, path: &Path) -> Result<TokenStream, String> {
    let mut types = Types::default();
    let config = if let Some(schema) = &contract.config {
        types.add(schema, "Config").map_err(|error| format!("[config]: {error}"))?
    } else {
        quote!(::opsiq_sdk::NoConfig)
    };
    let mut methods = Vec::new();
    let mut arms = Vec::new();
    for action in &contract.actions {
        let (method, arm) = method(action, &mut types).map_err(|error| format!("action `{}`: {error}", action.name))?;
        methods.push(method);
        arms.push(arm);
    }
    let webhooks = webhooks(&contract.webhooks)?;
    let types = types.into_items();
    let path = path.display().to_string();
    Ok(quote! {
        #(#types)*

        /// What an action is given: the tenant's config, and the means the contract grants.
        #[allow(unreachable_pub)]
        pub type Context = ::opsiq_sdk::Context<#config>;

        /// The plugin; implement [`Actions`] for it.
        #[derive(::std::fmt::Debug, ::std::clone::Clone, ::std::marker::Copy)]
        #[allow(unreachable_pub)]
        pub struct Plugin;

        /// One method for each action of the contract. Parameters are valid against their schema when a method runs;
        /// what it answers is checked against the result's schema before anyone sees it.
        #[allow(missing_docs, unreachable_pub, clippy::missing_errors_doc)]
        pub trait Actions {
            #(#methods)*
        }

        #[allow(unsafe_code, clippy::all, clippy::pedantic, reason = "generated: exports are unsafe attributes")]
        const _: () = {
            // A changed contract compiles the crate anew.
            const _: &[u8] = ::core::include_bytes!(#path);

            impl ::opsiq_sdk::bindings::exports::opsiq::plugin::actions::Guest for Plugin {
                fn invoke(
                    action: ::std::string::String,
                    params: ::std::string::String,
                ) -> ::core::result::Result<::std::string::String, ::opsiq_sdk::Failure> {
                    ::opsiq_sdk::rt::begin();
                    match action.as_str() {
                        #(#arms)*
                        other => ::core::result::Result::Err(::opsiq_sdk::rt::unknown("action", other)),
                    }
                }
            }

            #[cfg(target_arch = "wasm32")]
            ::opsiq_sdk::bindings::export_actions!(Plugin);
        };

        #webhooks
    })
}

fn method(action: &Action, types: &mut Types) -> Result<(TokenStream, TokenStream), String> {
    let base = pascal(&action.name);
    let params = types.add(&action.params, &format!("{base}Params")).map_err(|error| format!("params: {error}"))?;
    let result = types.add(&action.result, &format!("{base}Result")).map_err(|error| format!("result: {error}"))?;
    let method = ident(&snake(&action.name), &action.name)?;
    let name = &action.name;
    let doc = format!(" {} (`{name}`, {}).", action.title, action.effect);
    let declared = quote! {
        #[doc = #doc]
        fn #method(ctx: &Context, params: #params) -> ::core::result::Result<#result, ::opsiq_sdk::Failure>;
    };
    Ok((declared, quote! { #name => ::opsiq_sdk::rt::run(&params, <Plugin as Actions>::#method), }))
}

/// The trait and the export for inbound webhooks; nothing where the contract declares none.
fn webhooks(names: &[String]) -> Result<TokenStream, String> {
    if names.is_empty() {
        return Ok(TokenStream::new());
    }
    let methods = names.iter().map(|name| ident(&snake(name), name)).collect::<Result<Vec<_>, _>>()?;
    let docs =
        names.iter().map(|name| format!(" Handles a delivery to `{name}`, whose signature the host has checked."));
    Ok(quote! {
        /// One method for each webhook of the contract.
        #[allow(unreachable_pub, clippy::missing_errors_doc)]
        pub trait Webhooks {
            #(
                #[doc = #docs]
                fn #methods(ctx: &Context, delivery: ::opsiq_sdk::Delivery) -> ::core::result::Result<(), ::opsiq_sdk::Failure>;
            )*
        }

        #[allow(unsafe_code, clippy::all, clippy::pedantic, reason = "generated: exports are unsafe attributes")]
        const _: () = {
            impl ::opsiq_sdk::bindings::webhooks::exports::opsiq::plugin::webhooks::Guest for Plugin {
                fn receive(
                    name: ::std::string::String,
                    delivery: ::opsiq_sdk::Delivery,
                ) -> ::core::result::Result<(), ::opsiq_sdk::Failure> {
                    ::opsiq_sdk::rt::begin();
                    let ctx = Context::new();
                    match name.as_str() {
                        #(#names => <Plugin as Webhooks>::#methods(&ctx, delivery),)*
                        other => ::core::result::Result::Err(::opsiq_sdk::rt::unknown("webhook", other)),
                    }
                }
            }

            #[cfg(target_arch = "wasm32")]
            ::opsiq_sdk::bindings::webhooks::export_webhooks!(Plugin);
        };
    })
}

#[cfg(test)]
mod tests;
