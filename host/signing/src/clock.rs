//! The time that signatures are held against, and what to do when the clock jumps.
//!
//! Why it matters: a clock set back by an hour would take requests of an hour ago for new, and one set forward would refuse
//! everybody while forgetting what it has seen. So the wall clock is held against one that nobody can set. While both pass at
//! the same pace, the wall clock counts, which lets it be slewed; when it jumps, nothing is accepted until it is back where it
//! belongs or has kept a whole window's time since, so that a jump that was a correction heals by itself. What may have been
//! forgotten before stays refused whatever the clock says: see [`Nonces`](crate::Nonces).

use std::sync::{Mutex, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use crate::params::WINDOW_S;

/// By how many milliseconds the clocks may part between two looks.
const TOLERANCE_MS: i64 = 5_000;

/// Both clocks at one moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since 1970, as the machine believes.
    pub wall_ms: i64,
    /// Since the machine started, sleep included. Nobody can set it.
    pub steady_ms: i64,
}

impl Reading {
    /// Now.
    pub fn now() -> Self {
        let ms = |id| {
            let time = clock_gettime(id);
            time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        };
        Self { wall_ms: ms(ClockId::Realtime), steady_ms: ms(ClockId::Boottime) }
    }
}

/// The clock jumped, so it is not known what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the clock of the host jumped by {} s", .by_ms / 1000)]
pub struct Jumped {
    /// By how much, in milliseconds; less than 0 is back.
    pub by_ms: i64,
    /// Whether this is the first look that noticed, for an alarm.
    pub first: bool,
}

/// Watches the clock.
#[derive(Debug)]
pub struct Watch(Mutex<State>);

#[derive(Debug)]
struct State {
    trusted: Reading,
    /// The jump, and the last look since.
    jumped: Option<(Jump, Reading)>,
}

#[derive(Debug, Clone, Copy)]
struct Jump {
    by_ms: i64,
    since_ms: i64,
}

/// How far the wall clock is from where it would be had it kept pace.
fn parted(from: Reading, now: Reading) -> i64 {
    (now.wall_ms - from.wall_ms).saturating_sub(now.steady_ms - from.steady_ms)
}

impl Watch {
    /// Trusts the clock as it is now.
    pub fn new(now: Reading) -> Self {
        Self(Mutex::new(State { trusted: now, jumped: None }))
    }

    /// What time it is, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Jumped`].
    pub fn time(&self, now: Reading) -> Result<i64, Jumped> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by_ms = parted(state.trusted, now);
        if by_ms.abs() <= TOLERANCE_MS {
            state.jumped = None;
            // Looks come from many threads, so this one may be older than the last.
            if now.steady_ms > state.trusted.steady_ms {
                state.trusted = now;
            }
            return Ok(now.wall_ms);
        }
        let (jump, first) = match state.jumped {
            Some((jump, last)) if parted(last, now).abs() <= TOLERANCE_MS => (jump, false),
            _ => (Jump { by_ms, since_ms: now.steady_ms }, true),
        };
        if now.steady_ms - jump.since_ms > WINDOW_S * 1000 {
            *state = State { trusted: now, jumped: None };
            return Ok(now.wall_ms);
        }
        state.jumped = Some((jump, now));
        Err(Jumped { by_ms: jump.by_ms, first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(wall_ms: i64, steady_ms: i64) -> Reading {
        Reading { wall_ms, steady_ms }
    }

    #[test]
    fn a_clock_that_is_slewed_is_followed() {
        let watch = Watch::new(at(0, 0));
        // A tenth too fast, for an hour: more in all than a jump, and none.
        for second in 1..3600 {
            assert_eq!(watch.time(at(second * 1100, second * 1000)), Ok(second * 1100));
        }
    }

    #[test]
    fn a_jump_is_refused_either_way_and_told_once() {
        for by_ms in [HOUR, -HOUR] {
            let watch = Watch::new(at(10 * HOUR, 0));
            let told: Vec<_> =
                (1..=300).map(|s| watch.time(at(10 * HOUR + by_ms + s * 1000, s * 1000)).unwrap_err()).collect();
            assert!(told[0].first && told[1..].iter().all(|jumped| !jumped.first));
            assert!(told.iter().all(|jumped| jumped.by_ms == by_ms));
            // It kept that time for a whole window.
            assert!(watch.time(at(10 * HOUR + by_ms + 301_500, 301_500)).is_ok());
        }
    }

    #[test]
    fn a_clock_that_comes_back_is_trusted_at_once() {
        let watch = Watch::new(at(10 * HOUR, 0));
        assert!(watch.time(at(11 * HOUR, 1000)).unwrap_err().first);
        assert_eq!(watch.time(at(10 * HOUR + 2000, 2000)), Ok(10 * HOUR + 2000));
        assert!(watch.time(at(9 * HOUR, 3000)).unwrap_err().first);
    }

    #[test]
    fn a_clock_that_keeps_jumping_is_never_trusted() {
        let watch = Watch::new(at(10 * HOUR, 0));
        for s in 1..1000 {
            assert!(watch.time(at(10 * HOUR + (s % 7 + 1) * HOUR, s * 1000)).is_err(), "{s}");
        }
    }

    #[test]
    fn the_machine_has_both_clocks() {
        let (a, b) = (Reading::now(), Reading::now());
        assert!(a.wall_ms > 1_700_000_000_000 && b.steady_ms >= a.steady_ms && a.steady_ms > 0);
        assert!(Watch::new(a).time(b).is_ok());
    }
}
