//! What the host keeps for one call: its authority, its counters and what it leaves behind. It is made for the call
//! and dropped with it; nothing in it is shared with another.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use opsiq_contract::{Authorized, Denial};
use opsiq_egress::{Egress, HttpRecord, Kept, Session, Usage};
use opsiq_vault::LeakWatch;
use wasmtime::component::ResourceTable;

use crate::admission::Toll;
use crate::fault::{Fault, FaultCode};
use crate::journal::{Event, Journal, LogLine};
use crate::keys::KeySet;
use crate::kv::Kv;
use crate::limits::Limiter;
use crate::live::{Live, Phase};
use crate::rehearse::Moment;
use crate::wasi::Foreign;

/// What a call is given, which stays as it is from its beginning to its end.
#[derive(Clone)]
pub(crate) struct Given {
    /// What is seen of it from outside.
    pub(crate) live: Arc<Live>,
    /// CPU time after which the call ends, in nanoseconds.
    pub(crate) cpu_limit_ns: u64,
    pub(crate) authorized: Arc<Authorized>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) egress: Arc<Egress>,
    pub(crate) kept: Option<Arc<Kept>>,
    pub(crate) leaks: Arc<LeakWatch>,
    /// What requests are charged to.
    pub(crate) toll: Toll,
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
}

/// The data of one call's store: what it was given, and what it did so far.
pub(crate) struct State {
    pub(crate) given: Given,
    pub(crate) limiter: Limiter,
    /// The time and randomness of a rehearsal; the machine's otherwise.
    pub(crate) moment: Option<Moment>,
    /// Made at the first request.
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) table: ResourceTable,
    /// Whether it runs straight through: what would wait then ends it.
    pub(crate) straight: bool,
    /// Whether it called an import that may wait.
    pub(crate) waits: bool,
    pub(crate) host_calls: u64,
    pub(crate) hostcall_bytes: u64,
    pub(crate) random_bytes: u64,
    pub(crate) journal: Journal,
    pub(crate) denials: Vec<Denial>,
    /// Present for components made elsewhere alone.
    pub(crate) foreign: Option<Box<Foreign>>,
}

impl Deref for State {
    type Target = Given;

    fn deref(&self) -> &Given {
        &self.given
    }
}

impl State {
    /// A call that did nothing so far.
    pub(crate) fn new(given: Given, moment: Option<Moment>) -> Self {
        let limits = given.authorized.limits();
        Self {
            limiter: Limiter::new(limits.memory_bytes, limits.table_elements),
            journal: Journal::new(limits.log_lines, limits.log_bytes),
            given,
            moment,
            session: None,
            table: ResourceTable::new(),
            straight: false,
            waits: false,
            host_calls: 0,
            hostcall_bytes: 0,
            random_bytes: 0,
            denials: Vec::new(),
            foreign: None,
        }
    }

    /// The door every import passes first: one more call, and `bytes` the guest passed with it. Both are counted over
    /// the whole invocation; the engine itself caps what one call may pass before it is copied.
    pub(crate) fn enter(&mut self, bytes: usize) -> Result<(), Fault> {
        self.host_calls += 1;
        let limits = self.given.authorized.limits();
        self.live.called(self.host_calls);
        self.live.holds(self.limiter.memory());
        if self.host_calls > limits.host_calls {
            return Err(Fault::new(FaultCode::HostcallCount, format!("a call may use {} imports", limits.host_calls)));
        }
        self.hostcall_bytes = self.hostcall_bytes.saturating_add(bytes as u64);
        if self.hostcall_bytes > limits.hostcall_bytes {
            return Err(Fault::new(
                FaultCode::HostcallBytes,
                format!("calls of imports may pass {} bytes in all", limits.hostcall_bytes),
            ));
        }
        Ok(())
    }

    /// The door of imports that may wait.
    pub(crate) fn enter_to_wait(&mut self, bytes: usize) -> Result<(), Fault> {
        self.waits = true;
        self.enter(bytes)
    }

    /// The same call from its beginning. That it once began is all that is left of this one.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.given.clone(), self.moment.clone())
    }

    /// The host waited for something on the guest's behalf, which goes on.
    pub(crate) fn goes_on(&self) {
        self.live.now(Phase::Computing);
        if let Some(session) = &self.session {
            self.live.sent(session.usage());
        }
    }

    /// Refuses something with an ordinary value, and remembers it for the audit log.
    pub(crate) fn deny(&mut self, denial: Denial) -> crate::bindings::opsiq::plugin::types::Denial {
        let told = crate::fault::denial(&denial);
        self.denials.push(denial);
        told
    }

    /// Puts a resource into the table, within the limit.
    pub(crate) fn hold<T: Send + 'static>(&mut self, entry: T) -> wasmtime::Result<wasmtime::component::Resource<T>> {
        let most = self.authorized.limits().resources;
        self.table.push(entry).map_err(|_| {
            Fault::new(FaultCode::ResourcesExceeded, format!("a call may hold {most} resources at once")).into()
        })
    }

    /// What the call leaves behind, taken out of it.
    pub(crate) fn remains(&mut self) -> Remains {
        let mut journal = std::mem::replace(&mut self.journal, Journal::new(0, 0));
        let mut denials = std::mem::take(&mut self.denials);
        // Before its requests are written down, it makes no more of them.
        if let Some(foreign) = self.foreign.take() {
            let theirs = foreign.into_remains();
            self.table = ResourceTable::new();
            journal = theirs.journal;
            denials.extend(theirs.denials);
            self.hostcall_bytes = self.hostcall_bytes.saturating_add(theirs.passed);
        }
        let session = self.session.take();
        let http = session.as_ref().map(|session| session.records()).unwrap_or_default();
        let sent = session.map(|session| session.usage()).unwrap_or_default();
        let (logs, events) = journal.into_parts();
        Remains {
            logs,
            events,
            denials,
            http,
            sent,
            host_calls: self.host_calls,
            hostcall_bytes: self.hostcall_bytes,
            peak_memory_bytes: self.limiter.memory_peak(),
        }
    }
}

/// What is kept of a [`State`] when its call is over.
pub(crate) struct Remains {
    pub(crate) logs: Vec<LogLine>,
    pub(crate) events: Vec<Event>,
    pub(crate) denials: Vec<Denial>,
    pub(crate) http: Vec<HttpRecord>,
    pub(crate) sent: Usage,
    pub(crate) host_calls: u64,
    pub(crate) hostcall_bytes: u64,
    pub(crate) peak_memory_bytes: u64,
}
