//! The one task that appends: one transaction and one `fsync` for all that is waiting.
//!
//! While a commit is on its way to the disk, requests gather; the next commit takes them all, unless they are so many that
//! others would wait for them: then logs take turns ([`Turns`]). There is no delay by design: a lone caller waits for its
//! own commit alone. Callers seal and hash in their own tasks; here remain the leaf hash, the tree
//! and the statements.
//!
//! After a failed commit memory may be ahead of the disk or, if the commit failed in its last step, behind it. So every end of
//! a log is forgotten and read again before the next entry, and intents of that batch that turn out durable are closed as
//! interrupted. Numbers therefore have no gap, whatever failed.
//!
//! Where other nodes write to the same logs, a transaction holds the logs it adds to from its first statement on, and ends that
//! others have moved meanwhile are forgotten before anything is placed. What a node holds, another's broken connection no
//! longer does: so what is read then of a commit whose end is not known is how it ended.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use opsiq_store::{Store, WriteTx};
use opsiq_vault::TenantVault;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::Instant;

use crate::content::prepare;
use crate::draft::{Draft, field};
use crate::error::{AuditError, OpError};
use crate::head::Heads;
use crate::journal::{Interruptions, QUEUE, Vaults};
use crate::keeper::Keeper;
use crate::key::CheckpointKey;
use crate::kind::Kind;
use crate::log::Log;
use crate::op;
use crate::permit::{Abandoned, Abandonments, Call};
use crate::request::{Part, Request};
use crate::rider::Rider;
use crate::stage::Stage;
use crate::turns::Turns;

mod ended;

/// Most requests of one transaction.
const BATCH: usize = 1024;
/// Bytes after which no more requests join a transaction: a few milliseconds of a disk. Some 350 entries of ordinary calls.
const BATCH_BYTES: usize = 512 << 10;
/// Most calls that ended without an outcome and are sealed between two transactions.
const INTERRUPTIONS: usize = 64;
/// Most checkpoints signed in one transaction, so that a thousand busy tenants delay nobody by more than a few milliseconds.
const CHECKPOINTS: usize = 64;
/// How often a log that grows is signed.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How soon interruptions that could not be written are tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What the task owns.
pub(crate) struct Committer {
    pub(crate) store: Arc<Store>,
    pub(crate) vaults: Arc<dyn Vaults>,
    pub(crate) interruptions: Arc<dyn Interruptions>,
    pub(crate) key: CheckpointKey,
    /// Marks rows.
    pub(crate) host: TenantVault,
    /// Writes along with every commit.
    pub(crate) rider: Arc<dyn Rider>,
    /// Where checkpoints are kept outside the database.
    pub(crate) outside: Keeper,
    pub(crate) requests: Receiver<Request>,
    pub(crate) abandoned: UnboundedReceiver<Abandoned>,
    pub(crate) abandonments: Abandonments,
    pub(crate) state: State,
}

/// What it remembers between commits.
pub(crate) struct State {
    heads: Heads,
    /// Logs with entries that no checkpoint covers.
    dirty: BTreeSet<Log>,
    /// When the next of them are signed, and which was the last.
    checkpoint_at: Instant,
    turn: Option<Log>,
    /// What waits for its turn.
    waiting: Turns<Request>,
    /// Interruptions that could not be written, and when they are tried again.
    pending: Vec<Request>,
    retry_at: Instant,
    /// Intents of a commit whose end is not known.
    unsure: Vec<Call>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            heads: Heads::default(),
            dirty: BTreeSet::new(),
            checkpoint_at: Instant::now(),
            turn: None,
            waiting: Turns::new(),
            pending: Vec::new(),
            retry_at: Instant::now(),
            unsure: Vec::new(),
        }
    }
}

impl Committer {
    /// Works until every journal is dropped or one asks to close.
    pub(crate) async fn run(mut self) {
        loop {
            let (mut asked, mut open) = (Vec::new(), true);
            if self.state.waiting.is_empty() {
                let wake = self.wake();
                tokio::select! {
                    received = self.requests.recv_many(&mut asked, BATCH) => open = received > 0,
                    Some(abandoned) = self.abandoned.recv() => asked.extend(self.interrupt(abandoned).await),
                    () = self.outside.written() => continue,
                    () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                }
            }
            self.gather(&mut asked).await;
            if asked.iter().any(|request| matches!(request.part, Part::Close)) {
                self.requests.close();
                while self.requests.recv_many(&mut asked, BATCH).await > 0 {}
                open = false;
            }
            let most = if open { INTERRUPTIONS } else { usize::MAX };
            for _ in 0..most {
                let Ok(abandoned) = self.abandoned.try_recv() else { break };
                asked.extend(self.interrupt(abandoned).await);
            }
            let batch = self.next(asked, open);
            self.commit(batch, !open).await;
            if !open {
                return;
            }
        }
    }

    /// Lets whoever is about to ask come along: a commit costs the same for one as for many. There is nothing to wait for
    /// when nobody else is ready to run.
    async fn gather(&mut self, asked: &mut Vec<Request>) {
        tokio::task::yield_now().await;
        let room = QUEUE.saturating_sub(self.state.waiting.len());
        while asked.len() < room
            && let Ok(request) = self.requests.try_recv()
        {
            asked.push(request);
        }
    }

    /// What is written next of all that was asked: all of it, or as much as one commit takes.
    fn next(&mut self, mut asked: Vec<Request>, open: bool) -> Vec<Request> {
        let State { waiting, pending, retry_at, .. } = &mut self.state;
        if !open || waiting.is_empty() || Instant::now() >= *retry_at {
            asked.append(pending);
        }
        let fits = || asked.len() <= BATCH && asked.iter().map(Request::cost).sum::<usize>() <= BATCH_BYTES;
        if waiting.is_empty() && (!open || fits()) {
            return asked;
        }
        for request in asked {
            waiting.push(request.log.clone(), request.cost(), request);
        }
        if open { waiting.take(BATCH, BATCH_BYTES) } else { waiting.take_all() }
    }

    /// When there is something to do although nobody asks.
    fn wake(&self) -> Option<Instant> {
        let retry = !self.state.pending.is_empty() || !self.state.unsure.is_empty();
        let checkpoint = (!self.state.dirty.is_empty()).then_some(self.state.checkpoint_at);
        retry.then_some(self.state.retry_at).into_iter().chain(checkpoint).min()
    }

    /// Makes a call that ended without an outcome a record to be written.
    async fn interrupt(&mut self, abandoned: Abandoned) -> Option<Request> {
        let Abandoned { call, why } = abandoned;
        let mut draft = Draft::new(Kind::Interrupted);
        draft.set_missing(field::OUTCOME, "interrupted".to_owned());
        draft.set_missing(field::DETAIL, why.to_owned());
        call.complete(&mut draft);
        let prepared = match self.vaults.vault(&call.log).await {
            Ok(vault) => prepare(draft, &vault),
            Err(error) => Err(error),
        };
        match prepared {
            Ok(entry) => {
                let log = call.log.clone();
                Some(Request::new(log, vec![entry], None, Part::Interruption(call)))
            }
            // The open intent stays on disk, so the next start reports the call.
            Err(error) => {
                self.abandonments.done();
                tracing::error!(log = %call.log, invocation = %call.invocation, %error, "an interruption cannot be sealed");
                None
            }
        }
    }

    /// Writes a batch; every request is answered when this returns, except interruptions, which stay pending until written.
    async fn commit(&mut self, mut batch: Vec<Request>, last: bool) {
        batch.retain(|request| !request.is_forsaken());
        let mut stage = Stage::new(Timestamp::now().as_millisecond());
        let mut committing = false;
        let due = self.due(last);
        match self.attempt(&mut batch, &mut stage, &mut committing, due.clone(), last).await {
            Ok(()) => {
                let signed = std::mem::take(&mut stage.checkpoints);
                self.outside.add(&signed).await;
                self.finish(batch, stage, &due);
            }
            Err(error) => {
                self.fail(batch, &stage, committing, &error);
                self.store.let_go().await;
            }
        }
        if last {
            // What was signed before is kept outside also when this commit failed.
            self.outside.finish().await;
        }
    }

    async fn attempt(
        &mut self,
        batch: &mut [Request],
        stage: &mut Stage,
        committing: &mut bool,
        mut due: BTreeSet<Log>,
        last: bool,
    ) -> Result<(), AuditError> {
        let store = Arc::clone(&self.store);
        let holding = if store.is_shared() {
            let everything = batch.iter().any(|request| request.changes && request.log == Log::Host);
            let logs = batch.iter().map(|request| request.log.clone()).chain(due.iter().cloned()).collect();
            Some(self.hold(&store, logs, everything).await?)
        } else {
            None
        };
        self.settle().await?;
        for request in batch.iter_mut().filter(|request| !matches!(request.part, Part::Close)) {
            match self.state.heads.get(&self.store, &self.key, &request.log).await {
                Ok(_) => {}
                Err(error @ AuditError::Tampered { .. }) => request.refused = Some(error),
                Err(error) => return Err(AuditError::unavailable(error)),
            }
        }
        let idle = batch.iter().all(|request| request.refused.is_some() || matches!(request.part, Part::Close));
        if idle && due.is_empty() {
            if let Some((tx, _)) = holding {
                tx.rollback().await;
            }
            return Ok(());
        }
        let (mut tx, holding) = match holding {
            Some(holding) => holding,
            None => (store.begin().await.map_err(AuditError::unavailable)?, None),
        };
        for request in batch.iter_mut().filter(|request| request.refused.is_none()) {
            self.take(request, &mut tx, stage).await?;
        }
        for (owner, rows) in tx.mark_rows(&self.host).await.map_err(AuditError::unavailable)? {
            let log = Log::from_column(&owner).ok_or_else(|| AuditError::unavailable("rows of no tenant changed"))?;
            if holding.as_ref().is_some_and(|holding| !holding.contains(&log)) {
                // Where that log ends others may be changing: it is signed when it is holding.
                self.state.heads.forget_one(&log);
                self.state.dirty.insert(log);
                continue;
            }
            let known = self.state.heads.get(&self.store, &self.key, &log).await.map_err(AuditError::unavailable)?;
            stage.rows_changed(&log, known, rows);
        }
        if last {
            due.extend(stage.heads.keys().cloned());
        }
        for log in due {
            match self.state.heads.get(&self.store, &self.key, &log).await {
                Ok(head) => drop(stage.sign(&self.key, &log, head)),
                Err(error @ AuditError::Tampered { .. }) => {
                    tracing::error!(%log, %error, "a log is not signed any more");
                    self.state.dirty.remove(&log);
                }
                Err(error) => return Err(AuditError::unavailable(error)),
            }
        }
        if stage.is_empty() && batch.iter().all(|request| request.refused.is_some() || !request.changes) {
            tx.rollback().await;
            return Ok(());
        }
        tx.open_intents_insert(&stage.opened).await.map_err(AuditError::unavailable)?;
        let ended: Vec<_> = batch.iter().filter_map(Request::ends).collect();
        let removed = tx.open_intents_remove(&ended).await.map_err(AuditError::unavailable)?;
        if removed != ended.len() as u64 {
            // One was ended by others. None of the batch is believed; what follows sees to each of them alone.
            return Err(AuditError::unavailable("a call was ended already"));
        }
        for checkpoint in &stage.checkpoints {
            tx.checkpoint_put(checkpoint).await.map_err(AuditError::unavailable)?;
        }
        // Who was told "unavailable" meanwhile must not find the change made. One who left of their own accord may.
        if batch.iter().any(|request| request.changes && request.refused.is_none() && request.is_late()) {
            tx.rollback().await;
            return Err(AuditError::unavailable("the disk answered too late"));
        }
        *committing = true;
        let done = match self.rider.write(&mut tx).await {
            Ok(()) => tx.commit_with(&mut stage.rows).await,
            Err(error) => Err(error),
        };
        self.rider.ended(done.is_ok());
        done.map_err(AuditError::unavailable)
    }

    /// Runs a request's change and stages its entries. An error ends the batch; a refusal ends the request.
    async fn take(&mut self, request: &mut Request, tx: &mut WriteTx<'_>, stage: &mut Stage) -> Result<(), AuditError> {
        let epoch = self.store.node_epoch();
        match &mut request.part {
            Part::Intent(call) => call.epoch = epoch,
            Part::Outcome(open) if open.call().is_some_and(|call| call.intent && call.epoch != epoch) => {
                request.refused = Some(AuditError::Fenced);
                return Ok(());
            }
            _ => {}
        }
        if let Some(change) = request.change.take()
            && let Err(error) = op::run(change, tx).await?
        {
            request.refused = Some(AuditError::Operation(error));
            return Ok(());
        }
        match &request.part {
            // One that has an outcome by now was not interrupted.
            Part::Interruption(call) if call.intent => match end(Arc::clone(&self.interruptions), call, tx).await? {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    request.refused = Some(AuditError::Operation(error));
                    return Ok(());
                }
            },
            Part::Close => return Ok(()),
            _ => {}
        }
        let known = self.state.heads.get(&self.store, &self.key, &request.log).await?;
        for entry in request.take_entries() {
            let seq = stage.append(&request.log, known, entry);
            if let Part::Intent(call) = &request.part {
                stage.opened.push(opsiq_store::OpenIntentRow {
                    log: call.log.column().to_owned(),
                    invocation: call.invocation.clone(),
                    seq,
                });
            }
        }
        if let Part::Head = request.part {
            request.signed = Some(stage.sign(&self.key, &request.log, known));
        }
        Ok(())
    }

    /// Begins a transaction that holds what it may add to, and forgets the ends that others moved. An act of the operator may
    /// change rows of any tenant, so for one everything is held. Which logs are held; `None` for all.
    async fn hold<'s>(
        &mut self,
        store: &'s Store,
        mut logs: BTreeSet<Log>,
        everything: bool,
    ) -> Result<(WriteTx<'s>, Option<BTreeSet<Log>>), AuditError> {
        logs.extend(self.state.unsure.iter().map(|call| call.log.clone()));
        if everything {
            logs.extend(self.state.heads.logs().cloned());
        }
        let mut tx = store.begin().await.map_err(AuditError::unavailable)?;
        let names: Vec<&str> = logs.iter().map(Log::column).collect();
        let ends = tx.hold_logs(&names, everything).await.map_err(AuditError::of_write)?;
        for end in ends.into_iter().flatten() {
            if let Some(log) = Log::from_column(&end.log) {
                self.state.heads.forget_unless(&log, end.size, end.changes);
            }
        }
        Ok((tx, (!everything).then_some(logs)))
    }

    /// Finds out how the last commit ended, if that is not known, and closes the intents it left open.
    async fn settle(&mut self) -> Result<(), AuditError> {
        while let Some(call) = self.state.unsure.pop() {
            match self.store.is_open_intent(call.log.column(), &call.invocation).await {
                Ok(true) => self.abandonments.send(call, "the log could not be written"),
                Ok(false) => {}
                Err(error) => {
                    self.state.unsure.push(call);
                    return Err(AuditError::unavailable(error));
                }
            }
        }
        Ok(())
    }

    /// The logs to be signed now. Each has its turn, however many there are.
    fn due(&self, last: bool) -> BTreeSet<Log> {
        let State { dirty, turn, checkpoint_at, .. } = &self.state;
        if last {
            return dirty.clone();
        }
        if Instant::now() < *checkpoint_at {
            return BTreeSet::new();
        }
        let after = (turn.as_ref().map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        dirty.range::<Log, _>(after).chain(dirty).take(CHECKPOINTS).cloned().collect()
    }
}

/// Forgets the open intent of an interrupted call and lets what else waits for its outcome know: both or neither. Whether there
/// was one.
async fn end(
    interruptions: Arc<dyn Interruptions>,
    call: &Call,
    tx: &mut WriteTx<'_>,
) -> Result<Result<bool, OpError>, AuditError> {
    let (log, invocation) = (call.log.clone(), call.invocation.clone());
    let was_open = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&was_open);
    let change: op::Change = Box::new(move |tx| {
        Box::pin(async move {
            if tx.open_intent_remove(log.column(), &invocation).await? {
                interruptions.close(tx, &log, &invocation).await?;
                told.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
    });
    Ok(op::run(change, tx).await?.map(|()| was_open.load(Ordering::Relaxed)))
}
