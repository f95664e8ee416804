//! Knows how many calls with an effect still run, so that closing waits for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Calls in progress.
#[derive(Clone)]
pub(crate) struct Running(Arc<watch::Sender<usize>>);

/// One of them; counted until dropped.
pub(crate) struct Ticket(Arc<watch::Sender<usize>>);

impl Default for Running {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Running {
    /// Counts one more.
    pub(crate) fn enter(&self) -> Ticket {
        self.0.send_modify(|count| *count += 1);
        Ticket(self.0.clone())
    }

    /// Waits until none is left, or `most` has passed; answers whether none is left.
    pub(crate) async fn drained(&self, most: Duration) -> bool {
        let mut count = self.0.subscribe();
        tokio::time::timeout(most, count.wait_for(|count| *count == 0)).await.is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_the_last() {
        let running = Running::default();
        assert!(running.drained(Duration::from_secs(1)).await);
        let (a, b) = (running.enter(), running.enter());
        drop(a);
        assert!(!running.drained(Duration::from_millis(10)).await);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(b);
        });
        assert!(running.drained(Duration::from_secs(5)).await);
    }
}
