//! The kill switch: ends running calls of a plugin, a publisher or an installation. Not starting new ones is the
//! gate's part, which asks the store; this one reaches into calls that already run, also while the host waits for
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opsiq_contract::{Authorized, Digest, InstallationId, PluginRef, TenantId};
use tokio::sync::watch;

/// How long an order is remembered; longer than any call may run.
const KEPT: Duration = Duration::from_hours(1);

/// Which running calls to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Those of one component.
    Digest(Digest),
    /// Those of everything a publisher made.
    Publisher(String),
    /// Those of one installation.
    Installation(TenantId, InstallationId),
    /// All.
    All,
}

impl Selector {
    fn selects(&self, authorized: &Authorized, plugin: &PluginRef) -> bool {
        match self {
            Self::Digest(digest) => authorized.digest() == digest,
            Self::Publisher(publisher) => plugin.publisher == *publisher,
            Self::Installation(tenant, id) => authorized.tenant() == tenant && authorized.installation() == id,
            Self::All => true,
        }
    }
}

#[derive(Debug, Clone)]
struct Order {
    number: u64,
    given: Instant,
    selector: Selector,
}

/// Orders given so far; each call looks only at those younger than itself.
#[derive(Debug)]
pub(crate) struct StopBoard {
    orders: watch::Sender<Arc<[Order]>>,
    /// The number of the newest, set under the lock of `orders`: without taking it, a call finds out that there is no order
    /// it has to look at.
    newest: AtomicU64,
}

impl StopBoard {
    pub(crate) fn new() -> Self {
        Self { orders: watch::Sender::new(Arc::from([])), newest: AtomicU64::new(0) }
    }

    /// Ends what `selector` selects among the calls that run now.
    pub(crate) fn stop(&self, selector: Selector) {
        self.orders.send_modify(|orders| {
            let number = orders.last().map_or(1, |last| last.number + 1);
            let recent = orders.iter().filter(|order| order.given.elapsed() < KEPT).cloned();
            *orders = recent.chain([Order { number, given: Instant::now(), selector }]).collect();
            self.newest.store(number, Ordering::SeqCst);
        });
    }

    /// The number of the newest order, to be noted as a call begins.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// Whether an order after `since` selects the call.
    pub(crate) fn selects(&self, authorized: &Authorized, plugin: &PluginRef, since: u64) -> bool {
        self.newest() != since && selected(&self.orders.borrow(), authorized, plugin, since)
    }

    /// Ends when an order after `since` selects the call.
    pub(crate) async fn stopped(&self, authorized: &Authorized, plugin: &PluginRef, since: u64) {
        let mut orders = self.orders.subscribe();
        loop {
            if selected(&orders.borrow_and_update(), authorized, plugin, since) {
                return;
            }
            // The sender lives in the sandbox, which outlives its calls; were it gone, nobody could give orders.
            if orders.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn selected(orders: &[Order], authorized: &Authorized, plugin: &PluginRef, since: u64) -> bool {
    orders.iter().rev().take_while(|order| order.number > since).any(|order| order.selector.selects(authorized, plugin))
}
