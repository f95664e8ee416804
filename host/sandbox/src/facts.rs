//! `context`, `clock` and `random`: what the host tells a plugin about its call.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::bindings::opsiq::plugin::{clock, context, random, types};
use crate::fault::{Fault, FaultCode};
use crate::state::State;

impl types::Host for State {}

impl context::Host for State {
    fn invocation_id(&mut self) -> wasmtime::Result<String> {
        self.enter(0)?;
        Ok(self.authorized.invocation().to_string())
    }

    fn config(&mut self) -> wasmtime::Result<String> {
        self.enter(0)?;
        Ok(self.authorized.config().to_string())
    }

    fn idempotency_key(&mut self) -> wasmtime::Result<Option<String>> {
        self.enter(0)?;
        Ok(self.idempotency_key.clone())
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        self.enter(0)?;
        if let Some(moment) = &self.moment {
            return Ok(self.authorized.limits().wall_ms.saturating_sub(moment.elapsed_ns() / 1_000_000));
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        Ok(crate::meter::micros(left) / 1000)
    }
}

impl clock::Host for State {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        self.enter(0)?;
        if let Some(moment) = &mut self.moment {
            return Ok(moment.now_ms());
        }
        Ok(now_ms())
    }

    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        self.enter(0)?;
        if let Some(moment) = &mut self.moment {
            return Ok(moment.monotonic_ns());
        }
        Ok(elapsed_ns(self.began))
    }
}

impl random::Host for State {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        self.enter(0)?;
        self.draw(length.into())
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    crate::meter::micros(now) / 1000
}

/// Nanoseconds since the call began.
pub(crate) fn elapsed_ns(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl State {
    /// Randomness, within what a call may take.
    pub(crate) fn draw(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let most = self.authorized.limits().random_bytes;
        self.random_bytes = self.random_bytes.saturating_add(length);
        if self.random_bytes > most {
            let message = format!("a call may take {most} random bytes; it asked for {}", self.random_bytes);
            return Err(Fault::new(FaultCode::RandomExceeded, message).into());
        }
        let mut bytes = vec![0; usize::try_from(length)?];
        if let Some(moment) = &mut self.moment {
            moment.fill(&mut bytes);
            return Ok(bytes);
        }
        getrandom::fill(&mut bytes)
            .map_err(|error| Fault::new(FaultCode::HostPanic, format!("the system gave no randomness: {error}")))?;
        Ok(bytes)
    }

    /// A random number.
    pub(crate) fn draw_u64(&mut self) -> wasmtime::Result<u64> {
        let mut number = [0; 8];
        number.copy_from_slice(&self.draw(8)?);
        Ok(u64::from_le_bytes(number))
    }
}
