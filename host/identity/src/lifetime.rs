//! How long a session lives. Times are milliseconds since 1970, as stored.

/// The three times of a session, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimes {
    /// Without a request.
    pub idle_ms: i64,
    /// At most, whatever happens.
    pub absolute_ms: i64,
    /// After a second factor was shown, for what asks for a fresh one.
    pub step_up_ms: i64,
}

impl SessionTimes {
    /// One hour idle, twelve hours in all (NIST SP 800-63B §4.2.3), ten minutes after a second factor.
    pub const USUAL: Self = Self { idle_ms: 60 * 60_000, absolute_ms: 12 * 60 * 60_000, step_up_ms: 10 * 60_000 };
}

/// When a session did what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When it ends at the latest.
    pub expires_ms: i64,
    /// When it was last used.
    pub seen_ms: i64,
    /// When its user last showed a second factor.
    pub stepped_up_ms: i64,
}

/// Whether a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Live,
    /// Nobody used it for too long.
    Idle,
    /// Its time is up.
    Expired,
}

impl Lifetime {
    /// Whether it lives at `now_ms`.
    pub fn at(&self, now_ms: i64, times: &SessionTimes) -> Standing {
        if now_ms >= self.expires_ms || self.expires_ms.saturating_sub(now_ms) > times.absolute_ms.saturating_mul(2) {
            // The second: a clock so far back that it does not tell when this ends.
            return Standing::Expired;
        }
        if now_ms.saturating_sub(self.seen_ms) >= times.idle_ms { Standing::Idle } else { Standing::Live }
    }

    /// Whether a second factor was shown lately. One shown in the future, as a clock set back makes it, was not.
    pub fn is_fresh(&self, now_ms: i64, times: &SessionTimes) -> bool {
        (0..times.step_up_ms).contains(&now_ms.saturating_sub(self.stepped_up_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: SessionTimes = SessionTimes { idle_ms: 100, absolute_ms: 1_000, step_up_ms: 10 };

    #[test]
    fn a_session_ends_idle_or_old_and_never_begins_again() {
        let session = Lifetime { expires_ms: 2_000, seen_ms: 1_500, stepped_up_ms: 1_500 };
        for (now, standing) in [
            (1_500, Standing::Live),
            (1_599, Standing::Live),
            (1_600, Standing::Idle),
            (2_000, Standing::Expired),
            (i64::MAX, Standing::Expired),
            (1_400, Standing::Live),
            (-500, Standing::Expired),
            (i64::MIN, Standing::Expired),
        ] {
            assert_eq!(session.at(now, &TIMES), standing, "{now}");
        }
        for (now, fresh) in [(1_500, true), (1_509, true), (1_510, false), (1_499, false), (i64::MIN, false)] {
            assert_eq!(session.is_fresh(now, &TIMES), fresh, "{now}");
        }
    }
}
