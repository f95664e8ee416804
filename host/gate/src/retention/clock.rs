//! What time it is for deleting, of which there is no taking back.
//!
//! A clock may be wrong: set forward by a person, a battery, a machine that was restored. So an entry goes only when three
//! things agree that its term is over:
//!
//! - the clock of the host and that of the database, of which the earlier counts, and which must be within an hour of each
//!   other;
//! - a margin of a week beyond the term, so that a clock that is wrong by days deletes nothing early;
//! - a clock that went its way for a week: it is looked at every hour and its way is on record in the store, for all nodes. A step
//!   back, or one forward by more than eight days (a host that was off, or a clock that jumped), begins that week anew, so
//!   that there is time to notice, and doctor says so.

use opsiq_store::JobState;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How far the clocks of host and database may be apart.
const APART_MS: i64 = HOUR_MS;
/// How long beyond its term everything is kept.
pub(crate) const MARGIN_MS: i64 = 7 * DAY_MS;
/// How long the clock must have gone its way.
pub(crate) const STEADY_MS: i64 = 7 * DAY_MS;
/// The longest step forward that is no jump.
const STEP_MS: i64 = 8 * DAY_MS;
/// A step back that is no jump: clocks are corrected by seconds.
const BACK_MS: i64 = 10 * 60_000;

/// What a look at the clock came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// What time it is.
    pub(crate) now_ms: i64,
    /// Since when the clock goes its way.
    pub(crate) steady_ms: i64,
    /// Whether anything may go.
    pub(crate) trusted: bool,
}

/// Looks at the clocks.
pub(crate) fn look(before: &JobState, host_ms: i64, database_ms: i64) -> Look {
    let now_ms = host_ms.min(database_ms);
    let went = now_ms - before.looked_ms;
    let apart = (host_ms - database_ms).abs() > APART_MS;
    let new = before.looked_ms == 0;
    let jumped = !new && !(-BACK_MS..=STEP_MS).contains(&went);
    let steady_ms = if new || jumped || apart { now_ms } else { before.steady_ms };
    Look { now_ms, steady_ms, trusted: now_ms - steady_ms >= STEADY_MS }
}

/// Whether a clock that says `now_ms` goes its way, and did so for a day.
pub(crate) fn goes_its_way(last: &JobState, now_ms: i64) -> bool {
    (-BACK_MS..=STEP_MS).contains(&(now_ms - last.looked_ms)) && now_ms - last.steady_ms >= DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_000 * DAY_MS;

    /// Looks in turn at these times, in days; whether each was trusted.
    fn looks(days: &[f64]) -> Vec<bool> {
        let mut state = JobState::default();
        let mut trusted = Vec::new();
        for day in days {
            #[allow(clippy::cast_possible_truncation, reason = "days of a test")]
            let now = START + (day * 86_400_000.0) as i64;
            let look = look(&state, now, now);
            state = JobState { looked_ms: look.now_ms, steady_ms: look.steady_ms, ran_ms: 0 };
            trusted.push(look.trusted);
        }
        trusted
    }

    #[test]
    fn a_clock_is_trusted_after_a_week_of_going_its_way() {
        assert_eq!(looks(&[0.0, 1.0, 6.9, 7.0, 8.0]), [false, false, false, true, true]);
        assert_eq!(looks(&[0.0, 7.5, 15.0]), [false, true, true], "a host that is on once a week");
    }

    #[test]
    fn a_jump_begins_the_week_anew() {
        assert_eq!(looks(&[0.0, 7.0, 400.0, 401.0, 407.0]), [false, true, false, false, true], "forward by a year");
        assert_eq!(looks(&[0.0, 7.0, 400.0, 7.1, 8.0]), [false, true, false, false, false], "and back");
        assert_eq!(
            looks(&[0.0, 7.0, 8.0, 7.0, 7.1]),
            [false, true, true, false, false],
            "a day, which the margin covers"
        );
        assert_eq!(looks(&[0.0, 7.5, 7.499, 7.6]), [false, true, true, true], "a correction by seconds");
    }

    #[test]
    fn clocks_that_do_not_agree_are_not_trusted() {
        let state = JobState { looked_ms: START, steady_ms: START - 30 * DAY_MS, ran_ms: 0 };
        assert!(look(&state, START + HOUR_MS, START + HOUR_MS).trusted);
        let ahead = look(&state, START + 3 * HOUR_MS, START + HOUR_MS);
        assert_eq!((ahead.trusted, ahead.now_ms), (false, START + HOUR_MS));
    }
}
