//! Refusals for want of room, and of whoever is nobody, on record without filling the disk: whoever floods the host is
//! refused thousands of times a second. Of one limit and one installation, or one network at the door, the first refusal is an entry before it is answered; those that follow are
//! counted, and each second's are one entry at its end. A second without any ends the flood.
//!
//! A host that is killed loses the count of that one second at most, never the first of a flood: that refusals were many
//! is on record, and how many but for the last second. Nothing that was refused had begun.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use opsiq_audit::{Draft, Kind, Log, field};

use crate::core::Core;
use crate::refusal::{Refusal, Stage};

/// How long refusals are counted before they are an entry.
const WINDOW: Duration = Duration::from_secs(1);

/// What is counted together: the log, the stage and rule that refused, and what was called, or from where.
type Of = (Log, Stage, String, String);

/// Networks whose refusals at the door are counted apart; those of any more are counted together.
const NETWORKS: usize = 1024;

/// Refusals that are counted and not yet on record. There are no more of them than installations called in the last
/// second have limits, and than networks that are told apart at the door.
#[derive(Debug, Default)]
pub(crate) struct Floods(Mutex<HashMap<Of, Count>>);

#[derive(Debug)]
struct Count {
    since: Timestamp,
    more: u64,
}

impl Floods {
    /// Counts a refusal; answers whether it is the first.
    fn count(&self, of: &Of) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(of) {
            count.more += 1;
            return false;
        }
        open.insert(of.clone(), Count { since: Timestamp::now(), more: 0 });
        true
    }

    /// Ends the counting.
    fn close(&self, of: &Of) -> Option<Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(of)
    }

    /// What was counted since the last time; none ends the counting.
    fn next(&self, of: &Of) -> Option<Count> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get_mut(of)?;
        if count.more == 0 {
            open.remove(of);
            return None;
        }
        Some(std::mem::replace(count, Count { since: Timestamp::now(), more: 0 }))
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn open(&self) -> Vec<Of> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl Core {
    /// Puts the refusal of a call on record, and counts it where it is for want of room; `draft` is its entry and `called` what
    /// was called.
    pub(crate) async fn record_refused_call(
        self: &Arc<Self>,
        log: Log,
        draft: Draft,
        refusal: &Refusal,
        called: &str,
    ) -> Result<(), Refusal> {
        if refusal.stage != Stage::Admission {
            return self.record_refusal(log, draft, refusal).await;
        }
        self.record_counted(log, draft, refusal, called).await
    }

    /// Puts the refusal of whoever knocks from this network on record, and counts those that follow.
    pub(crate) async fn record_refused_knock(
        self: &Arc<Self>,
        log: Log,
        draft: Draft,
        refusal: &Refusal,
        network: &str,
    ) -> Result<(), Refusal> {
        let network = if self.floods.len() < NETWORKS { network } else { "others" };
        self.record_counted(log, draft, refusal, network).await
    }

    async fn record_counted(
        self: &Arc<Self>,
        log: Log,
        draft: Draft,
        refusal: &Refusal,
        called: &str,
    ) -> Result<(), Refusal> {
        let of = (log.clone(), refusal.stage, refusal.code.to_string(), called.to_owned());
        if !self.floods.count(&of) {
            return Ok(());
        }
        if let Err(unrecorded) = self.record_refusal(log, draft, refusal).await {
            self.floods.close(&of);
            return Err(unrecorded);
        }
        // A host that is closed meanwhile has recorded it then.
        let core = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(WINDOW).await;
                let Some(core) = core.upgrade() else { return };
                let Some(count) = core.floods.next(&of) else { return };
                core.record_count(&of, count).await;
            }
        });
        Ok(())
    }

    /// Puts on record what is counted so far, before the log is closed.
    pub(crate) async fn record_counts(&self) {
        for of in self.floods.open() {
            if let Some(count) = self.floods.close(&of).filter(|count| count.more > 0) {
                self.record_count(&of, count).await;
            }
        }
    }

    async fn record_count(&self, of: &Of, Count { since, more }: Count) {
        let (log, stage, code, called) = of;
        let (from, what) =
            if *stage == Stage::Admission { (field::INSTALLATION, "calls") } else { (field::IP, "attempts") };
        let draft = Draft::new(Kind::Refused)
            .field(field::ACTOR, "host")
            .field(from, called.as_str())
            .field(field::OUTCOME, "refused")
            .field(field::RULE, code.as_str())
            .field(field::STAGE, stage.as_str())
            .field(
                field::DETAIL,
                format!("{more} more {what} were refused from {since:.0} to {:.0}", Timestamp::now()),
            );
        if let Err(error) = self.record(log.clone(), vec![draft]).await {
            tracing::error!(%log, code, more, why = %error.message, "refusals could not be put on record");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_an_entry_and_the_others_are_counted() {
        let floods = Floods::default();
        let of = (Log::Host, Stage::Admission, "limit.tenant.queue".to_owned(), "shop".to_owned());
        let other = (Log::Host, Stage::Admission, "limit.tenant.queue".to_owned(), "till".to_owned());
        assert!(floods.count(&of) && floods.count(&other));
        for _ in 0..1_000 {
            assert!(!floods.count(&of));
        }
        assert_eq!(floods.next(&of).unwrap().more, 1_000);
        assert!(!floods.count(&of), "the flood goes on");
        assert_eq!(floods.next(&of).unwrap().more, 1);
        assert!(floods.next(&of).is_none(), "a second without any ends it");
        assert!(floods.count(&of), "the next flood begins with an entry");
        assert_eq!(floods.close(&other).unwrap().more, 0);
    }
}
