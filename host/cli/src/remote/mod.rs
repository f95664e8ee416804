//! A running server in place of a data directory: where it is, who asks it and what proves that, and how it is asked.

pub(crate) mod account;
mod address;
mod api;
mod kept;
pub(crate) mod login;
mod proof;
mod wire;

use std::path::Path;

pub(crate) use self::address::Address;
pub(crate) use self::api::{Api, Sent, WASM, escaped, path};
pub(crate) use self::proof::Proof;
use self::wire::Wire;
use crate::failure::Failure;

/// The server at `addr`, trusting the roots in `ca` besides the public ones. `proof` says who asks.
pub(crate) fn server(
    addr: &str,
    ca: Option<&Path>,
    proof: impl FnOnce(&Address) -> Result<Proof, Failure>,
) -> Result<Api, Failure> {
    let address = Address::read(addr)?;
    let proof = proof(&address)?;
    let wire = Wire::new(address.clone(), ca)?;
    Ok(Api::new(address, proof, wire))
}
