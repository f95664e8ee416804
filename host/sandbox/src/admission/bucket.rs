//! What a minute gives of something that is not known before it is used. A bucket holds one minute's worth and fills
//! evenly; what is used is taken afterwards, so it can be in debt, and whoever asks next waits until that is paid.

/// Nanoseconds in which a bucket fills.
const MINUTE: i128 = 60_000_000_000;

/// One bucket. Times are nanoseconds of one monotonic clock.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_minute: i128,
    /// In units times [`MINUTE`], so that nothing is lost in rounding.
    level: i128,
    at: u64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(per_minute: u64, now: u64) -> Self {
        let per_minute = i128::from(per_minute);
        Self { per_minute, level: per_minute * MINUTE, at: now }
    }

    fn fill(&mut self, now: u64) {
        let passed = i128::from(now.saturating_sub(self.at));
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_minute)).min(self.per_minute * MINUTE);
        self.at = self.at.max(now);
    }

    /// Nanoseconds until it holds a whole unit; 0 when it does.
    pub(crate) fn wait(&mut self, now: u64) -> u64 {
        self.fill(now);
        let missing = (MINUTE - self.level).max(0);
        u64::try_from((missing + self.per_minute - 1) / self.per_minute).unwrap_or(u64::MAX)
    }

    /// Takes `amount`, whether it is there or not.
    pub(crate) fn spend(&mut self, amount: u64, now: u64) {
        self.fill(now);
        self.level -= i128::from(amount) * MINUTE;
    }

    /// Whether it is as good as a new one.
    pub(crate) fn is_full(&mut self, now: u64) -> bool {
        self.fill(now);
        self.level == self.per_minute * MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn holds_a_minutes_worth_and_no_more() {
        let mut bucket = Bucket::new(60, 0);
        for _ in 0..60 {
            assert_eq!(bucket.wait(0), 0);
            bucket.spend(1, 0);
        }
        assert_eq!(bucket.wait(0), SECOND);
        assert_eq!(bucket.wait(SECOND / 2), SECOND / 2);
        assert_eq!(bucket.wait(SECOND), 0);
        assert!(bucket.is_full(1_000 * SECOND));
        bucket.spend(60, 1_000 * SECOND);
        assert_eq!(bucket.wait(1_000 * SECOND), SECOND, "a thousand seconds of rest are worth one minute");
    }

    #[test]
    fn a_debt_is_waited_for() {
        let mut bucket = Bucket::new(600, 0);
        bucket.spend(1_200, 0);
        assert_eq!(bucket.wait(0), 60 * SECOND + SECOND / 10);
        assert_eq!(bucket.wait(60 * SECOND + SECOND / 10), 0);
        assert!(!bucket.is_full(60 * SECOND + SECOND / 10));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::new(u64::MAX, u64::MAX - 1);
        bucket.spend(u64::MAX, u64::MAX);
        bucket.spend(u64::MAX, 0);
        assert!(bucket.wait(u64::MAX) > 0);
        let mut bucket = Bucket::new(u64::MAX, 0);
        assert_eq!(bucket.wait(u64::MAX), 0);
    }
}
