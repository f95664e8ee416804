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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(crate::meter::micros(now) / 1000)
    }

    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        self.enter(0)?;
        if let Some(moment) = &mut self.moment {
            return Ok(moment.monotonic_ns());
        }
        Ok(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl random::Host for State {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        self.enter(0)?;
        let most = self.authorized.limits().random_bytes;
        self.random_bytes = self.random_bytes.saturating_add(u64::from(length));
        if self.random_bytes > most {
            let message = format!("a call may take {most} random bytes; it asked for {}", self.random_bytes);
            return Err(Fault::new(FaultCode::RandomExceeded, message).into());
        }
        let mut bytes = vec![0; length as usize];
        if let Some(moment) = &mut self.moment {
            moment.fill(&mut bytes);
            return Ok(bytes);
        }
        getrandom::fill(&mut bytes)
            .map_err(|error| Fault::new(FaultCode::HostPanic, format!("the system gave no randomness: {error}")))?;
        Ok(bytes)
    }
}
