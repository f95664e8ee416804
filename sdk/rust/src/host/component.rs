//! The imports of a component.

use super::Answer;
use crate::bindings::opsiq::plugin::http::{HttpFailure, Request};
use crate::bindings::opsiq::plugin::keys::Algorithm;
use crate::bindings::opsiq::plugin::kv::KvFailure;
use crate::bindings::opsiq::plugin::{audit, clock, context, http, keys, kv, log as host_log, random as host_random};
use crate::{Denial, Failure, Result};

pub(crate) use crate::bindings::opsiq::plugin::http::Body;

pub(crate) fn config() -> String {
    context::config()
}

pub(crate) fn invocation_id() -> String {
    context::invocation_id()
}

pub(crate) fn idempotency_key() -> Option<String> {
    context::idempotency_key()
}

pub(crate) fn remaining_ms() -> u64 {
    context::remaining_ms()
}

pub(crate) fn now_ms() -> u64 {
    clock::now_ms()
}

pub(crate) fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let length = u32::try_from(N).map_err(|_| Failure::internal("more random bytes than there can be"))?;
    host_random::bytes(length).try_into().map_err(|_| Failure::internal("the host gave another number of random bytes"))
}

pub(crate) fn log(level: host_log::Level, message: &str) {
    host_log::write(level, message);
}

pub(crate) fn emit(event: &str, detail: &str) -> Result<(), Denial> {
    audit::emit(event, detail)
}

pub(crate) fn send(request: &Request) -> Result<Answer, HttpFailure> {
    let http::Response { status, headers, body } = http::send(request)?;
    Ok(Answer { status, headers, body })
}

pub(crate) fn kv_get(key: &str) -> Result<Option<(Vec<u8>, u64)>, KvFailure> {
    Ok(kv::get(key)?.map(|kv::Entry { value, version }| (value, version)))
}

pub(crate) fn kv_set(key: &str, value: &[u8], expected: Option<u64>) -> Result<u64, KvFailure> {
    kv::set(key, value, expected)
}

pub(crate) fn kv_delete(key: &str, expected: Option<u64>) -> Result<(), KvFailure> {
    kv::delete(key, expected)
}

pub(crate) fn kv_list(prefix: &str, after: Option<&str>) -> Result<Vec<String>, KvFailure> {
    kv::list_keys(prefix, after)
}

/// A handle to a key in the host.
#[derive(Debug)]
pub(crate) struct Key(keys::Key);

impl Key {
    pub(crate) fn open(name: &str) -> Result<Self, Denial> {
        keys::Key::open(name).map(Self)
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, Denial> {
        self.0.sign(algorithm, data)
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, data: &[u8], mac: &[u8]) -> Result<bool, Denial> {
        self.0.verify(algorithm, data, mac)
    }

    pub(crate) fn derive(&self, algorithm: Algorithm, data: &[u8]) -> Result<Self, Denial> {
        self.0.derive(algorithm, data).map(Self)
    }
}
