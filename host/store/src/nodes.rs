//! Nodes that share databases: each has a lease by the clock of the database, which it renews, and a number (its epoch) that is
//! raised when it registers and when others give it up. What a node writes holds its row under the number it registered with, see
//! [`WriteTx::hold_logs`], so from the moment in which it is given up nothing of it is written, whatever it believes, and others
//! may say how its calls ended.
//!
//! Alone on `SQLite` there is nobody to give a node up: its number stays 0.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::column::unsigned;
use crate::db::{Dialect, query, query_as};
use crate::intents::{Columns, of};
use crate::{JobLease, OpenIntentRow, Store, StoreError, WriteTx};

const WHAT: &str = "node";
/// How long a node is believed to live after it renewed its lease.
const LEASE: Duration = Duration::from_secs(10);

const REGISTER: &str = "INSERT INTO node (tenant, name, epoch, lease_ms) \
    VALUES ('', $1, 1, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint + $2) ON CONFLICT (tenant, name) \
    DO UPDATE SET epoch = node.epoch + 1, lease_ms = excluded.lease_ms RETURNING epoch";
const RENEW: &str = "UPDATE node SET lease_ms = (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint + $3 \
    WHERE tenant = '' AND name = $1 AND epoch = $2";
const LEAVE: &str = "UPDATE node SET lease_ms = 0 WHERE tenant = '' AND name = $1 AND epoch = $2";
/// Whose lease is over and who was not given up for it yet. One that is writing at this moment is looked at the next time.
/// `FOR UPDATE` is what the hold of a transaction of that node excludes; an update alone is not.
const OVERDUE: &str = "SELECT n.name, n.epoch FROM node n WHERE n.tenant = '' AND n.name <> $1 \
    AND n.lease_ms <= (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint AND (n.lease_ms > 0 \
    OR EXISTS (SELECT 1 FROM open_intent o WHERE o.node = n.name AND o.epoch = n.epoch)) FOR UPDATE SKIP LOCKED";
const GIVE_UP: &str = "UPDATE node SET epoch = epoch + 1, lease_ms = 0 WHERE tenant = '' AND name = $1 AND epoch = $2";
/// Of a number that its node has not any more.
const LOST: &str = "SELECT o.tenant, o.invocation, o.seq FROM open_intent o JOIN node n ON n.name = o.node \
    WHERE n.tenant = '' AND o.epoch < n.epoch ORDER BY o.tenant, o.seq LIMIT $1";

/// As what this process registered.
#[derive(Debug, Default)]
pub(crate) struct NodeEpoch {
    current: AtomicI64,
    fenced: AtomicBool,
}

impl NodeEpoch {
    pub(crate) fn current(&self) -> i64 {
        self.current.load(Ordering::Acquire)
    }

    /// It turned out that others gave this node up.
    pub(crate) fn fence(&self) {
        self.fenced.store(true, Ordering::Release);
    }

    fn registered(&self, epoch: i64) {
        self.current.store(epoch, Ordering::Release);
        self.fenced.store(false, Ordering::Release);
    }
}

/// A node that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostNode {
    /// Its name.
    pub name: String,
    /// The number under which it writes nothing any more.
    pub epoch: u64,
}

impl Store {
    /// Registers this node under a new number, where there may be others: calls that it began under an earlier one are not its
    /// own any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn node_register(&self) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let made = query_as::<(i64,)>(REGISTER).bind(self.node()).bind(millis(LEASE));
        let made = made.fetch_one(tx.connection().await?).await.map_err(|error| StoreError::of(WHAT, &error));
        let (epoch,) = tx.noting(made)?;
        // While the transaction lasts no other of this node begins. Were it not to end well, the number is nobody's, under which
        // nothing is written.
        tx.node_epoch().registered(epoch);
        let done = tx.commit().await;
        if done.is_err() {
            self.writer().node.fence();
        }
        done
    }

    /// Renews this node's lease. Nothing where it is alone.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when others gave it up; [`StoreError::Unavailable`].
    pub async fn node_renew(&self) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let renew = query(RENEW).bind(self.node()).bind(self.node_epoch()).bind(millis(LEASE));
        let renewed = tx.run(WHAT, renew).await?;
        tx.commit().await?;
        if renewed == 0 {
            self.writer().node.fence();
            return Err(StoreError::Fenced);
        }
        Ok(())
    }

    /// Gives its lease back when this node ends, so that nobody waits for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn node_leave(&self) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        tx.run(WHAT, query(LEAVE).bind(self.node()).bind(self.node_epoch())).await?;
        tx.commit().await
    }

    /// The number under which this node writes; it is given up and raised, never lowered. 0 where it is alone.
    pub fn node_epoch(&self) -> i64 {
        self.writer().node.current()
    }

    /// Whether others gave this node up, as far as it found out, and it has not registered anew.
    pub fn is_fenced(&self) -> bool {
        self.writer().node.fenced.load(Ordering::Acquire)
    }

    /// How long a node is believed to live after its last sign of life.
    pub fn node_lease(&self) -> Duration {
        LEASE
    }

    /// Gives up the nodes whose lease is over, for the one that has this job: from now on nothing of theirs is written.
    ///
    /// # Errors
    /// As [`WriteTx::job_hold`].
    pub async fn nodes_give_up(&self, lease: &JobLease) -> Result<Vec<LostNode>, StoreError> {
        let mut tx = self.begin().await?;
        if tx.dialect() == Dialect::Sqlite {
            return Ok(Vec::new());
        }
        tx.job_hold(lease).await?;
        let lost = tx.nodes_give_up(self.node()).await?;
        tx.commit().await?;
        Ok(lost)
    }

    /// Open intents that were written under numbers that are given up, at most `most` of them, whosever they are.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn lost_open_intents(&self, most: u32) -> Result<Vec<OpenIntentRow>, StoreError> {
        if !self.is_shared() {
            return Ok(Vec::new());
        }
        let found = query_as::<Columns>(LOST).bind(i64::from(most)).fetch_all(self.reader()).await;
        found.map_err(|error| StoreError::of(WHAT, &error))?.into_iter().map(of).collect()
    }
}

impl WriteTx<'_> {
    async fn nodes_give_up(&mut self, me: &str) -> Result<Vec<LostNode>, StoreError> {
        let overdue = query_as::<(String, i64)>(OVERDUE).bind(me).fetch_all(self.connection().await?).await;
        let overdue = self.noting(overdue.map_err(|error| StoreError::of(WHAT, &error)))?;
        let mut lost = Vec::with_capacity(overdue.len());
        for (name, epoch) in overdue {
            self.run_one(WHAT, query(GIVE_UP).bind(&name).bind(epoch)).await?;
            lost.push(LostNode { name, epoch: unsigned(WHAT, epoch)? });
        }
        Ok(lost)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Dir, invocation};

    async fn overdue(store: &Store, name: &str) {
        let mut tx = store.begin().await.unwrap();
        let run = query("UPDATE node SET lease_ms = 1 WHERE tenant = '' AND name = $1").bind(name);
        tx.run_one(WHAT, run).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn open(store: &Store, number: u8) -> Result<(), StoreError> {
        let row = OpenIntentRow { log: "acme".to_owned(), invocation: invocation(number), seq: number.into() };
        let mut tx = store.begin().await.unwrap();
        tx.hold_logs(&["acme"], false).await?;
        tx.open_intents_insert(&[row]).await?;
        tx.commit().await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_is_given_up_writes_nothing_until_it_registers_anew() {
        fixture::on_server(async {
            let (dir, first) = fixture::store().await;
            let other = Dir::new();
            Store::init_with(other.path(), &other.options()).await.unwrap();
            let second = other.open().await;
            let _dir = dir;
            open(&first, 1).await.unwrap();
            first.node_renew().await.unwrap();
            let lease = second.job_claim("a test", LEASE).await.unwrap().unwrap();
            // The twin: a lease that runs is not taken.
            assert_eq!(second.nodes_give_up(&lease).await.unwrap(), []);
            assert_eq!(second.lost_open_intents(10).await.unwrap(), []);
            open(&first, 2).await.unwrap();

            overdue(&second, first.node()).await;
            // Nor is that of a node which is writing at this moment.
            let mut writing = first.begin().await.unwrap();
            writing.hold_logs(&["acme"], false).await.unwrap();
            assert_eq!(second.nodes_give_up(&lease).await.unwrap(), []);
            writing.commit().await.unwrap();
            let lost = second.nodes_give_up(&lease).await.unwrap();
            let epoch = unsigned(WHAT, first.node_epoch()).unwrap();
            assert_eq!(lost, [LostNode { name: first.node().to_owned(), epoch }]);
            assert_eq!(second.nodes_give_up(&lease).await.unwrap(), [], "it is given up once");
            assert_eq!(second.lost_open_intents(10).await.unwrap().len(), 2);

            assert!(!first.is_fenced());
            assert!(matches!(open(&first, 3).await, Err(StoreError::Fenced)));
            assert!(first.is_fenced());
            assert!(matches!(first.node_renew().await, Err(StoreError::Fenced)));
            first.node_register().await.unwrap();
            assert!(!first.is_fenced());
            open(&first, 3).await.unwrap();
            assert_eq!(second.lost_open_intents(10).await.unwrap().len(), 2, "what is new is its own");
            assert_eq!(first.own_open_intents().await.unwrap().len(), 2, "what was before is not");
            // One that left writes on only until somebody finds what it left open.
            first.node_leave().await.unwrap();
            assert_eq!(second.nodes_give_up(&lease).await.unwrap().len(), 1);
            assert_eq!(second.lost_open_intents(10).await.unwrap().len(), 3);
        })
        .await;
    }

    async fn alone_there_is_nobody_to_give_it_up() {
        let (_dir, store) = fixture::store().await;
        store.node_renew().await.unwrap();
        let lease = store.job_claim("a test", LEASE).await.unwrap().unwrap();
        assert_eq!(store.nodes_give_up(&lease).await.unwrap(), []);
        assert!(!store.is_fenced());
    }

    crate::fixture::on_both_engines! {
        alone_there_is_nobody_to_give_it_up,
    }
}
