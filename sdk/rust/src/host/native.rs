//! A test's stand-in for the host: whatever [`testing::Host`](crate::testing::Host) is running on this thread.

use core::cell::Cell;

use super::Answer;
use crate::bindings::opsiq::plugin::http::{HttpFailure, Request};
use crate::bindings::opsiq::plugin::keys::Algorithm;
use crate::bindings::opsiq::plugin::kv::KvFailure;
use crate::bindings::opsiq::plugin::log::Level;
use crate::testing::{self, State};
use crate::{Denial, Result};

pub(crate) fn config() -> String {
    testing::with(|host| host.config.to_string())
}

pub(crate) fn invocation_id() -> String {
    "00000000-0000-7000-8000-000000000000".into()
}

pub(crate) fn idempotency_key() -> Option<String> {
    testing::with(|host| host.idempotency_key.clone())
}

pub(crate) fn remaining_ms() -> u64 {
    10_000
}

pub(crate) fn now_ms() -> u64 {
    testing::with(|host| host.now_ms)
}

pub(crate) fn monotonic_ns() -> u64 {
    testing::with(|host| {
        host.elapsed_ns += 1;
        host.elapsed_ns
    })
}

#[allow(clippy::unnecessary_wraps, reason = "the import can fail")]
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    Ok(testing::with(|host| core::array::from_fn(|_| host.next_random())))
}

pub(crate) fn log(level: Level, message: &str) {
    testing::with(|host| host.logs.push((level, message.to_owned())));
}

pub(crate) fn emit(event: &str, detail: &str) -> Result<(), Denial> {
    testing::with(|host| host.emit(event, detail))
}

pub(crate) fn send(request: &Request) -> Result<Answer, HttpFailure> {
    // The handler is taken out while it runs, so that it may itself look at the host.
    let mut handler = testing::with(|host| {
        host.requests.push(request.clone());
        host.handler.take()
    });
    let answer = handler.as_mut().map_or(Err(HttpFailure::Unreachable), |handler| handler(request));
    testing::with(|host| host.handler = handler);
    let testing::Answer { status, headers, body } = answer?;
    Ok(Answer { status, headers, body: Body { bytes: body, at: Cell::new(0) } })
}

#[allow(clippy::unnecessary_wraps, reason = "the import can fail")]
pub(crate) fn kv_get(key: &str) -> Result<Option<(Vec<u8>, u64)>, KvFailure> {
    Ok(testing::with(|host| host.kv.get(key).filter(|(_, version)| *version > 0).cloned()))
}

pub(crate) fn kv_set(key: &str, value: &[u8], expected: Option<u64>) -> Result<u64, KvFailure> {
    testing::with(|host| {
        let current = host.kv.get(key).map_or(0, |(_, version)| *version);
        check(current, expected)?;
        host.kv.insert(key.to_owned(), (value.to_owned(), current + 1));
        Ok(current + 1)
    })
}

pub(crate) fn kv_delete(key: &str, expected: Option<u64>) -> Result<(), KvFailure> {
    testing::with(|host| {
        check(host.kv.get(key).map_or(0, |(_, version)| *version), expected)?;
        host.kv.remove(key);
        Ok(())
    })
}

#[allow(clippy::unnecessary_wraps, reason = "the import can fail")]
pub(crate) fn kv_list(prefix: &str, after: Option<&str>) -> Result<Vec<String>, KvFailure> {
    Ok(testing::with(|host| {
        let keys =
            host.kv.keys().filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        keys.take(100).cloned().collect()
    }))
}

fn check(current: u64, expected: Option<u64>) -> Result<(), KvFailure> {
    match expected {
        Some(expected) if expected != current => Err(KvFailure::Conflict(current)),
        _ => Ok(()),
    }
}

/// A body that is read in pieces of at most 64 KiB, as the host gives it.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    at: Cell<usize>,
}

impl Body {
    #[allow(clippy::unnecessary_wraps, reason = "the import can fail")]
    pub(crate) fn read(&self, max: u32) -> Result<Vec<u8>, HttpFailure> {
        let from = self.at.get();
        let to = self.bytes.len().min(from + usize::min(max as usize, 64 * 1024));
        self.at.set(to);
        Ok(self.bytes[from..to].to_owned())
    }
}

/// A key of the test's host.
#[derive(Debug)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn open(name: &str) -> Result<Self, Denial> {
        testing::with(|host| host.key(name)).map(Self)
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, Denial> {
        State::mac(&self.0, algorithm, data)
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, data: &[u8], mac: &[u8]) -> Result<bool, Denial> {
        Ok(State::mac(&self.0, algorithm, data)? == mac)
    }

    pub(crate) fn derive(&self, algorithm: Algorithm, data: &[u8]) -> Result<Self, Denial> {
        State::mac(&self.0, algorithm, data).map(Self)
    }
}
