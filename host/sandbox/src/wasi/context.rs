//! What the engine's crates find when they ask for their state: an empty world, and the doors of this call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opsiq_contract::{Denial, Limits};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::Budget;
use super::console::{Channel, Console};
use super::outgoing::Outgoing;
use crate::fault::Fault;
use crate::journal::Journal;
use crate::rehearse::Moment;
use crate::state::State;

/// In memory, a header takes about this much more than on the wire.
const HEADER_OVERHEAD: u64 = 4;

/// What a call of a component made elsewhere has beside the ordinary state.
pub(crate) struct Foreign {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    pub(super) console: Arc<Console>,
    budget: Arc<Budget>,
    denials: Arc<Mutex<Vec<Denial>>>,
    /// The budget that the call is over, which ends it.
    overrun: Option<Fault>,
}

/// What such a call leaves behind beside the ordinary.
pub(crate) struct ForeignRemains {
    pub(crate) journal: Journal,
    pub(crate) denials: Vec<Denial>,
    pub(crate) passed: u64,
}

impl Foreign {
    /// `program`: arguments and standard input, for a program; its standard output is then the result.
    fn new(state: &mut State, program: Option<(Vec<String>, String)>) -> Self {
        let limits: Limits = state.authorized.limits().clone();
        let budget = Arc::new(Budget::new(limits.hostcall_bytes));
        let denials = Arc::default();
        let result = program.is_some().then_some(limits.result_bytes);
        let console = Arc::new(Console::new(&limits, result, state.began, Arc::clone(&budget)));
        let clock =
            Clock { began: state.began, moment: state.moment.clone().map(|moment| Arc::new(Mutex::new(moment))) };
        let mut wasi = WasiCtx::builder();
        wasi.stdout(Arc::clone(&console).channel(Channel::Out))
            .stderr(Arc::clone(&console).channel(Channel::Err))
            .wall_clock(clock.clone())
            .monotonic_clock(clock)
            .allow_tcp(false)
            .allow_udp(false);
        if let Some((arguments, input)) = program {
            wasi.args(&arguments).stdin(MemoryInputPipe::new(input));
        }
        let mut http = WasiHttpCtx::new();
        let fields = limits.http.header_bytes.saturating_mul(HEADER_OVERHEAD);
        http.set_field_size_limit(usize::try_from(fields).unwrap_or(usize::MAX));
        let outgoing = Outgoing {
            session: Arc::clone(state.session()),
            flights: Arc::default(),
            budget: Arc::clone(&budget),
            console: Arc::clone(&console),
            denials: Arc::clone(&denials),
            body_max: limits.http.egress_bytes,
        };
        Self { wasi: wasi.build(), http, outgoing, console, budget, denials, overrun: None }
    }

    /// Ends what is still on its way, and answers what is left.
    pub(crate) fn into_remains(self) -> ForeignRemains {
        self.outgoing.flights.end();
        let denials = std::mem::take(&mut *self.denials.lock().unwrap_or_else(PoisonError::into_inner));
        ForeignRemains { journal: self.console.finish(), denials, passed: self.budget.passed() }
    }
}

impl State {
    /// Makes the world of a program, before it is instantiated.
    pub(super) fn arm_program(&mut self, arguments: Vec<String>, input: String) {
        self.foreign = Some(Box::new(Foreign::new(self, Some((arguments, input)))));
    }

    /// The budget that a component made elsewhere is over.
    pub(crate) fn overrun(&self) -> Option<Fault> {
        self.foreign.as_ref().and_then(|foreign| foreign.overrun.clone())
    }

    /// The foreign part, made at the first need. Every import of the engine's crates comes by here, so here it is counted;
    /// it cannot be refused here, so who is over is ended at the next tick.
    fn foreign(&mut self) -> (&mut Foreign, &mut wasmtime::component::ResourceTable) {
        let over = self.enter(0).err();
        if self.foreign.is_none() {
            self.foreign = Some(Box::new(Foreign::new(self, None)));
        }
        // It was just made where it was missing.
        let Some(foreign) = self.foreign.as_deref_mut() else { unreachable!() };
        if foreign.overrun.is_none() {
            foreign.overrun = over;
        }
        (foreign, &mut self.table)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (foreign, table) = self.foreign();
        WasiCtxView { ctx: &mut foreign.wasi, table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (foreign, table) = self.foreign();
        WasiHttpCtxView { hooks: &mut foreign.outgoing, table, ctx: &mut foreign.http }
    }
}

/// The host's clocks: what `wit/` plugins read as well, and in a rehearsal the time that is given.
#[derive(Clone)]
struct Clock {
    began: Instant,
    moment: Option<Arc<Mutex<Moment>>>,
}

impl Clock {
    fn moment(&self) -> Option<MutexGuard<'_, Moment>> {
        self.moment.as_ref().map(|moment| moment.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        let now = self.moment().map_or_else(crate::facts::now_ms, |mut moment| moment.now_ms());
        Duration::from_millis(now)
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.moment().map_or_else(|| crate::facts::elapsed_ns(self.began), |mut moment| moment.monotonic_ns())
    }
}
