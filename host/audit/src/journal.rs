//! The way into the logs.

use std::sync::Arc;

use futures::future::{self, BoxFuture, FutureExt as _};
use opsiq_contract::{Authorized, InvocationId};
use opsiq_store::{OpenIntentRow, Store, WriteTx};
use opsiq_vault::{KeyId, SubjectKey, TenantVault};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::committer::{Committer, State};
use crate::content::{Prepared, prepare};
use crate::draft::Draft;
use crate::error::{AuditError, OpError};
use crate::head::Signed;
use crate::keeper::Keeper;
use crate::key::{CheckpointKey, PublicKey};
use crate::kind::Kind;
use crate::log::Log;
use crate::op::{Change, Op};
use crate::outside::CheckpointFile;
use crate::permit::{Abandonments, Call, Open, Permit};
use crate::request::{ANSWER_WITHIN, Done, Part, Request};
use crate::rider::Rider;

/// Requests that may wait for the committer; more wait at the door.
pub(crate) const QUEUE: usize = 4096;
/// Interrupted calls that may wait to be recorded before no more calls begin.
const BACKLOG: usize = 1024;

/// Finds the vault that seals a log's entries.
pub trait Vaults: Send + Sync {
    /// The vault of the log's tenant, or the host's own.
    ///
    /// # Errors
    /// When there is none: the entry is then not written, and nothing that needs it happens.
    fn vault<'a>(&'a self, log: &'a Log) -> BoxFuture<'a, Result<TenantVault, AuditError>>;

    /// The key of a data subject of the log's tenant, by its id; `None` once the subject is erased.
    ///
    /// # Errors
    /// [`AuditError::Subject`] when there is no such key although nobody erased it, as for logs without subjects: what is
    /// under it is then not shown as erased, but not at all.
    fn subject<'a>(&'a self, _: &'a Log, key: KeyId) -> BoxFuture<'a, Result<Option<SubjectKey>, AuditError>> {
        future::ready(Err(AuditError::Subject(key))).boxed()
    }
}

/// Told when an intent ends as interrupted, so that what else waits for its outcome (an idempotency key, a confirmation) is closed
/// in the same transaction.
pub trait Interruptions: Send + Sync {
    /// Writes what follows from the interruption. An error undoes what this wrote and keeps the interruption from being recorded:
    /// the intent stays open, and it is tried again.
    fn close<'t>(
        &'t self,
        tx: &'t mut WriteTx<'_>,
        log: &'t Log,
        invocation: &'t InvocationId,
    ) -> BoxFuture<'t, Result<(), OpError>>;
}

/// Nothing follows.
impl Interruptions for () {
    fn close<'t>(
        &'t self,
        _: &'t mut WriteTx<'_>,
        _: &'t Log,
        _: &'t InvocationId,
    ) -> BoxFuture<'t, Result<(), OpError>> {
        future::ready(Ok(())).boxed()
    }
}

/// All logs of a host. Cheap to clone; when the last clone is gone, what was asked is still written, and the task ends.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) vaults: Arc<dyn Vaults>,
    pub(crate) key: CheckpointKey,
    requests: mpsc::Sender<Request>,
    abandonments: Abandonments,
    /// Intents that the previous process left open, until they are recovered.
    pub(crate) previous: Mutex<Vec<OpenIntentRow>>,
}

impl Journal {
    /// Starts the committer on the current runtime.
    ///
    /// # Errors
    /// [`AuditError::Store`] when the open intents cannot be read.
    pub async fn start(store: Arc<Store>, vaults: Arc<dyn Vaults>, key: CheckpointKey) -> Result<Self, AuditError> {
        Self::start_with(store, vaults, key, Arc::new(()), Arc::new(()), None).await
    }

    /// Starts the committer, with somebody to tell of interruptions, something that writes along, and a file to keep
    /// checkpoints in.
    ///
    /// # Errors
    /// [`AuditError::Store`] when the open intents cannot be read; as [`Vaults::vault`] when the host has no vault.
    pub async fn start_with(
        store: Arc<Store>,
        vaults: Arc<dyn Vaults>,
        key: CheckpointKey,
        interruptions: Arc<dyn Interruptions>,
        rider: Arc<dyn Rider>,
        outside: Option<CheckpointFile>,
    ) -> Result<Self, AuditError> {
        let host = vaults.vault(&Log::Host).await?;
        let previous = store.own_open_intents().await?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (sender, abandoned) = mpsc::unbounded_channel();
        let abandonments = Abandonments::new(sender);
        let committer = Committer {
            store: Arc::clone(&store),
            vaults: Arc::clone(&vaults),
            interruptions,
            key: key.clone(),
            host,
            rider,
            outside: Keeper::new(outside),
            requests: receiver,
            abandoned,
            abandonments: abandonments.clone(),
            state: State::new(),
        };
        tokio::spawn(committer.run());
        let previous = Mutex::new(previous);
        Ok(Self(Arc::new(Shared { store, vaults, key, requests, abandonments, previous })))
    }

    /// What verifies exports of a log.
    pub fn public_key(&self, log: &Log) -> PublicKey {
        self.0.key.public(log)
    }

    /// Records entries. Durable when it returns.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] within 2 s; [`AuditError::Tampered`], [`AuditError::Vault`], [`AuditError::Draft`].
    pub async fn record(&self, log: &Log, drafts: Vec<Draft>) -> Result<(), AuditError> {
        self.commit(log, drafts, Op::none()).await
    }

    /// Records entries together with a change: both are durable when it returns, or neither.
    ///
    /// # Errors
    /// As [`Journal::record`]; [`AuditError::Operation`] when the change failed.
    pub async fn commit<T: Send + 'static>(&self, log: &Log, drafts: Vec<Draft>, op: Op<T>) -> Result<T, AuditError> {
        let entries = self.prepare(log, drafts).await?;
        let (change, answer) = op.split();
        self.submit(Request::new(log.clone(), entries, change, Part::Plain)).await?;
        answer.take()
    }

    /// Leave to run a call without an effect, on the duty to record its outcome.
    ///
    /// # Errors
    /// [`AuditError::IntentNeeded`] for a call that may have an effect; [`AuditError::Unavailable`] while too many earlier calls wait to be
    /// recorded.
    pub fn read_permit(&self, authorized: &Authorized) -> Result<(Permit, Open), AuditError> {
        if authorized.needs_intent() {
            return Err(AuditError::IntentNeeded);
        }
        self.accepts()?;
        let call = Call::new(authorized.tenant().clone().into(), authorized, false);
        let permit = Permit::new(call.invocation.clone(), false);
        Ok((permit, Open::new(call, self.0.abandonments.clone())))
    }

    /// Records that a call is about to run, together with a change (the claim of its idempotency key, say). Durable when it returns; only
    /// then may anything with an effect leave. The draft's kind and invocation are set here, and who calls what is filled in.
    ///
    /// # Errors
    /// As [`Journal::commit`]. If the caller gives up waiting and the intent turns out durable, it ends as interrupted.
    pub async fn intent<T: Send + 'static>(
        &self,
        authorized: &Authorized,
        draft: Draft,
        op: Op<T>,
    ) -> Result<(Permit, Open, T), AuditError> {
        self.accepts()?;
        let log = Log::from(authorized.tenant().clone());
        let call = Call::new(log.clone(), authorized, true);
        let mut draft = Draft { kind: Kind::Intent, ..draft };
        call.complete(&mut draft);
        let entries = self.prepare(&log, vec![draft]).await?;
        let (change, answer) = op.split();
        let done = self.submit(Request::new(log, entries, change, Part::Intent(call))).await?;
        let Done::Started(permit, open) = done else { return Err(AuditError::unavailable("no permit was given")) };
        Ok((permit, open, answer.take()?))
    }

    /// Records how a call ended, with what happened during it (events, denials) before it, together with a change. Exactly one draft
    /// ends the call: its kind is [`Kind::Outcome`], [`Kind::Refused`] or [`Kind::Interrupted`]; who called what and how long it took is filled
    /// in. Durable when it returns; only then may the caller be answered.
    ///
    /// # Errors
    /// As [`Journal::commit`]; [`AuditError::NoOutcome`]. After any error the call ends as interrupted in the log.
    pub async fn outcome<T: Send + 'static>(
        &self,
        open: Open,
        mut drafts: Vec<Draft>,
        op: Op<T>,
    ) -> Result<T, AuditError> {
        let Some(call) = open.call() else { return Err(AuditError::NoOutcome) };
        if drafts.iter().filter(|draft| draft.kind.ends()).count() != 1 {
            return Err(AuditError::NoOutcome);
        }
        for draft in &mut drafts {
            call.complete(draft);
        }
        let log = call.log.clone();
        let entries = self.prepare(&log, drafts).await?;
        let (change, answer) = op.split();
        self.submit(Request::new(log, entries, change, Part::Outcome(open))).await?;
        answer.take()
    }

    /// Signs the end of a log as it is now and keeps the checkpoint: a C2SP signed note, for a witness or to be kept outside.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`], [`AuditError::Tampered`].
    pub async fn checkpoint(&self, log: &Log) -> Result<String, AuditError> {
        Ok(self.head(log).await?.note.to_string())
    }

    /// Writes what is waiting, signs every log that grew, and ends. Whatever is asked afterwards is unavailable.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`] when the last commit failed; what was acknowledged before is durable all the same.
    pub async fn close(&self) -> Result<(), AuditError> {
        self.submit(Request::new(Log::Host, Vec::new(), None, Part::Close)).await.map(drop)
    }

    pub(crate) async fn head(&self, log: &Log) -> Result<Signed, AuditError> {
        match self.submit(Request::new(log.clone(), Vec::new(), None, Part::Head)).await? {
            Done::Head(signed) => Ok(signed),
            _ => Err(AuditError::unavailable("the head was not signed")),
        }
    }

    /// Records the interruption of a call of a previous process, or of another node's.
    pub(crate) async fn interrupt(&self, call: Call, draft: Draft) -> Result<(), AuditError> {
        let log = call.log.clone();
        let entries = self.prepare(&log, vec![draft]).await?;
        self.0.abandonments.more();
        self.submit(Request::new(log, entries, None::<Change>, Part::Interruption(call))).await.map(drop)
    }

    /// Whether calls may begin: not while so many ended calls wait to be recorded.
    fn accepts(&self) -> Result<(), AuditError> {
        if self.0.store.is_fenced() {
            Err(AuditError::Fenced)
        } else if self.0.abandonments.backlog() < BACKLOG {
            Ok(())
        } else {
            Err(AuditError::unavailable("too many calls wait to be recorded"))
        }
    }

    async fn prepare(&self, log: &Log, drafts: Vec<Draft>) -> Result<Vec<Prepared>, AuditError> {
        let vault = self.0.vaults.vault(log).await?;
        drafts.into_iter().map(|draft| prepare(draft, &vault)).collect()
    }

    async fn submit(&self, mut request: Request) -> Result<Done, AuditError> {
        let (reply, answer) = oneshot::channel();
        request.reply = Some(reply);
        let wait = async {
            let closed = |()| AuditError::unavailable("the host is closing");
            self.0.requests.send(request).await.map_err(|_| closed(()))?;
            answer.await.map_err(|_| closed(()))?
        };
        let late = |_| Err(AuditError::unavailable("the disk does not answer"));
        tokio::time::timeout(ANSWER_WITHIN, wait).await.unwrap_or_else(late)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("key", &self.0.key).finish_non_exhaustive()
    }
}
