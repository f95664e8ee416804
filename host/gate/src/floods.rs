//! Refusals for want of room, or at the door, on record without filling the disk: whoever floods the host is refused
//! thousands of times a second. Of one limit and one installation, the first refusal is an entry before it is answered; those of the minute
//! after it are counted, and are one entry at its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use opsiq_audit::{Draft, Kind, Log, field};

use crate::core::Core;
use crate::refusal::{Refusal, Stage};

/// How long refusals are counted before they are an entry.
const WINDOW: Duration = Duration::from_mins(1);

/// What is counted together: the log, the stage and rule that refused, and what was called, or from where.
type Of = (Log, Stage, String, String);

/// Networks whose refusals at the door are counted apart; those of any more are counted together.
const NETWORKS: usize = 1024;

/// Refusals that are counted and not yet on record. There are no more of them than installations called in the last
/// minute have limits, and than networks that are told apart at the door.
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

    fn close(&self, of: &Of) -> Option<Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(of)
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

    /// Puts the first such refusal on record, and counts those that follow it.
    pub(crate) async fn record_counted(
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
            tokio::time::sleep(WINDOW).await;
            if let Some(core) = core.upgrade() {
                core.record_count(&of).await;
            }
        });
        Ok(())
    }

    /// Puts on record what is counted so far, before the log is closed.
    pub(crate) async fn record_counts(&self) {
        for of in self.floods.open() {
            self.record_count(&of).await;
        }
    }

    async fn record_count(&self, of: &Of) {
        let Some(Count { since, more }) = self.floods.close(of).filter(|count| count.more > 0) else { return };
        let (log, stage, code, called) = of;
        let (from, what) = match *stage {
            Stage::Admission => (field::INSTALLATION, "calls"),
            // What counts all of them together is no address.
            _ if called == crate::door::SIGNED => (field::ACTION, "calls"),
            _ => (field::IP, "attempts"),
        };
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
        assert_eq!(floods.close(&of).unwrap().more, 1_000);
        assert_eq!(floods.close(&other).unwrap().more, 0);
        assert!(floods.count(&of), "the next minute begins with an entry");
    }
}
