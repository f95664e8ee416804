//! One invocation: a fresh store, every limit armed before the first instruction, an end in every case.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use opsiq_audit::Permit;
use opsiq_contract::{Authorized, CanonicalJson, Denial};
use opsiq_egress::{Egress, HttpRecord, Kept};
use opsiq_vault::LeakWatch;
use wasmtime::{Store, UpdateDeadline};

use crate::admission::{Full, Place, Who};
use crate::bindings::opsiq::plugin::types::Failure as WitFailure;
use crate::fault::{Bounds, During, Failure, Fault, FaultCode, RunError, classify};
use crate::journal::{Event, LogLine};
use crate::keys::KeySet;
use crate::kv::Kv;
use crate::live::Live;
use crate::meter::{CpuClock, Ended, Meter, micros, supervise};
use crate::plugin::{Entry, Plugin};
use crate::rehearse::Moment;
use crate::sandbox::Sandbox;
use crate::state::{Given, Remains, State};
use crate::straight::{Attempt, Waits};

/// Handles the engine counts above those of the limit: a call lends one while it uses it.
const LENT: usize = 16;

/// One invocation, authorised and permitted.
pub struct Run {
    /// What it may do: made by the one function that decides.
    pub authorized: Authorized,
    /// That there is room for it, from [`Sandbox::enter`].
    pub place: Place,
    /// That it may begin: made by the audit log.
    pub permit: Permit,
    /// The parameters, valid against the action's schema.
    pub params: CanonicalJson,
    /// The key the plugin passes upstream; `None` for reads.
    pub idempotency_key: Option<String>,
    /// What its capabilities reach.
    pub capabilities: Capabilities,
    /// Where others see it and stop it.
    pub live: Arc<Live>,
}

/// A call that has leave to begin.
pub(crate) struct Call {
    pub(crate) authorized: Authorized,
    pub(crate) place: Place,
    pub(crate) params: CanonicalJson,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) capabilities: Capabilities,
    pub(crate) live: Arc<Live>,
    pub(crate) moment: Option<Moment>,
}

/// What the capabilities of one call reach. The authority decides which of them it may use, and how.
pub struct Capabilities {
    /// The installation's secrets.
    pub keys: Arc<KeySet>,
    /// The installation's storage.
    pub kv: Arc<dyn Kv>,
    /// The way out.
    pub egress: Arc<Egress>,
    /// The connections of the installation that outlive a call; without, none does.
    pub kept: Option<Arc<Kept>>,
    /// What looks for the tenant's secrets in what the call stores and sends.
    pub leaks: Arc<LeakWatch>,
}

/// Why a call got no place.
#[derive(Debug)]
pub enum NoPlace {
    /// There is no room.
    Full(Full),
    /// It was stopped before it had one.
    Stopped(Fault),
}

/// How a run ended and what it did, whatever the end.
#[derive(Debug)]
pub struct RunReport {
    /// What it was allowed: what its answer is held against. It cannot run again, since a run takes it by value.
    pub authorized: Arc<Authorized>,
    /// The plugin's answer, unparsed: a JSON text as it claims. Else why there is none.
    pub outcome: Result<String, RunError>,
    /// What it used.
    pub meter: Meter,
    /// What it logged, escaped.
    pub logs: Vec<LogLine>,
    /// The events it recorded, in order.
    pub events: Vec<Event>,
    /// What it was refused, in order.
    pub denials: Vec<Denial>,
    /// What it did over HTTP, in order.
    pub http: Vec<HttpRecord>,
}

impl RunReport {
    /// A run that did not begin.
    pub(crate) fn refused(authorized: Authorized, fault: Fault) -> Self {
        Self {
            authorized: Arc::new(authorized),
            outcome: Err(fault.into()),
            meter: Meter::default(),
            logs: Vec::new(),
            events: Vec::new(),
            denials: Vec::new(),
            http: Vec::new(),
        }
    }
}

/// Counts a call whose caller went away.
struct InFlight<'a> {
    sandbox: &'a Sandbox,
    finished: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let counter = if self.finished { &self.sandbox.ends.finished } else { &self.sandbox.ends.cancelled };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Sandbox {
    /// A place for a call of `plugin`, waiting for it as long as a call may queue. Taken before anything of the call is
    /// durable, so that one without a place leaves nothing behind.
    ///
    /// # Errors
    /// The limit of the installation, the tenant or the host that has no room now, or the order that ended its wait.
    pub async fn enter(&self, plugin: &Plugin, authorized: &Authorized, live: &Live) -> Result<Place, NoPlace> {
        let stopped = || live.order().map_or(Ok(()), |fault| Err(NoPlace::Stopped(fault)));
        stopped()?;
        let place = tokio::select! {
            biased;
            place = self.admission.enter(Who::of(authorized), plugin.lane.class, plugin.slots) => {
                place.map_err(NoPlace::Full)?
            }
            fault = live.stopped() => return Err(NoPlace::Stopped(fault)),
        };
        // It may have been given the place of another that was stopped with it.
        stopped()?;
        Ok(place)
    }

    /// Counts a call that waits for a person, and so takes no place yet, as one of this minute.
    ///
    /// # Errors
    /// The limit of the installation, the tenant or the host that is used up this minute.
    pub fn count(&self, authorized: &Authorized) -> Result<(), Full> {
        self.admission.count(Who::of(authorized))
    }

    /// Runs one action of `plugin`. Always answers, and within the wall limit; when the future is dropped before, the
    /// call ends with it, its slot is free and it counts as cancelled. It must be polled until then: others wait for the
    /// turn it may have.
    pub async fn run(&self, plugin: &Plugin, run: Run) -> RunReport {
        let Run { authorized, place, permit, params, idempotency_key, capabilities, live } = run;
        if !permit.allows(&authorized) {
            let message = "the permit is not for this invocation, or no intent of it is durable";
            return RunReport::refused(authorized, Fault::new(FaultCode::PermitMismatch, message));
        }
        let call = Call { authorized, place, params, idempotency_key, capabilities, live, moment: None };
        self.begin(plugin, call).await
    }

    /// Runs a call that has leave to.
    pub(crate) async fn begin(&self, plugin: &Plugin, run: Call) -> RunReport {
        if let Err(fault) = fits(plugin, &run) {
            return RunReport::refused(run.authorized, fault);
        }
        if let Some(fault) = run.live.order() {
            return RunReport::refused(run.authorized, fault);
        }
        let mut flight = InFlight { sandbox: self, finished: false };
        let running = plugin.lane.ticker.running();
        let report = self.run_in_slot(plugin, run).await;
        drop(running);
        flight.finished = true;
        report
    }

    async fn run_in_slot(&self, plugin: &Plugin, run: Call) -> RunReport {
        let Call { authorized, place, params, idempotency_key, capabilities, live, moment } = run;
        // The place is given back last, when the store is gone, or the pool could be found full.
        let mut seat = place.seat();
        let (authorized, params) = (Arc::new(authorized), params.into_string());
        let limits = authorized.limits();
        let began = Instant::now();
        let clock = live.begin(began);
        let deadline = began + Duration::from_millis(limits.wall_ms);
        let bounds = Bounds {
            result_bytes: limits.result_bytes,
            hostcall_bytes: limits.hostcall_bytes,
            resources: limits.resources,
            fuel: limits.fuel,
        };
        let Capabilities { keys, kv, egress, kept, leaks } = capabilities;
        let given = Given {
            live: Arc::clone(&live),
            cpu_limit_ns: limits.cpu_ms.saturating_mul(1_000_000),
            authorized: Arc::clone(&authorized),
            idempotency_key,
            keys,
            kv,
            egress,
            kept,
            leaks,
            toll: seat.toll(),
            began,
            deadline,
        };
        let action = &authorized.action().name;
        let mut store = Store::new(&plugin.lane.engine, State::new(given, moment));
        let ended = {
            let call = async {
                let unarmed = |error| (error, During::Instantiation);
                let (pre, straight) = match &plugin.entry {
                    Entry::Native(pre, straight) => (pre, straight),
                    Entry::Foreign(foreign) => {
                        arm(&mut store, bounds, plugin.lane.fuel).map_err(unarmed)?;
                        return foreign.call(&mut store, &authorized, &params).await;
                    }
                };
                // A rehearsal's clock and chance go on from where they are, so it has one attempt.
                if straight.is_worth_it(action) && store.data().moment.is_none() {
                    store.data_mut().straight = true;
                    arm(&mut store, bounds, plugin.lane.fuel).map_err(unarmed)?;
                    match straight.attempt(&mut store, action, &params) {
                        Attempt::Ended(invoked) => return invoked,
                        Attempt::Waits => {
                            let anew = store.data().anew();
                            store = Store::new(&plugin.lane.engine, anew);
                        }
                    }
                }
                arm(&mut store, bounds, plugin.lane.fuel).map_err(unarmed)?;
                let instance =
                    pre.instantiate_async(&mut store).await.map_err(|error| (error, During::Instantiation))?;
                let actions = instance.opsiq_plugin_actions();
                let invoked = actions.call_invoke(&mut store, action, &params).await;
                straight.learn(action, store.data().waits || clock.is_long());
                invoked.map_err(|error| (error, During::Call))
            };
            supervise(call, &mut seat, clock, deadline, live.stopped()).await
        };
        // Asked where there is none, the engine makes an error with a backtrace, which costs more than the call.
        let left = if plugin.lane.fuel { store.get_fuel().ok() } else { None };
        let fuel = left.map(|left| bounds.fuel.unwrap_or(u64::MAX).saturating_sub(left));
        let remains = store.data_mut().remains();
        drop(store);
        let meter = meter(&remains, clock, fuel);
        let outcome = outcome(ended, bounds, limits.wall_ms);
        let Remains { logs, events, denials, http, .. } = remains;
        RunReport { authorized, outcome, meter, logs, events, denials, http }
    }
}

/// What must agree before anything is made.
fn fits(plugin: &Plugin, run: &Call) -> Result<(), Fault> {
    let Call { authorized, place, params, .. } = run;
    if !place.is_of(authorized) {
        return Err(Fault::new(FaultCode::PermitMismatch, "the place was taken for another installation"));
    }
    if authorized.digest() != plugin.digest() {
        let message = "the authority was given for another component";
        return Err(Fault::new(FaultCode::DigestMismatch, message));
    }
    let limits = authorized.limits();
    if params.as_str().len() as u64 > limits.input_bytes {
        let (found, most) = (params.as_str().len(), limits.input_bytes);
        return Err(Fault::new(
            FaultCode::InputTooLarge,
            format!("parameters may have {most} bytes; these have {found}"),
        ));
    }
    if limits.fuel.is_some() && !plugin.lane.fuel {
        let message = "a fuel limit is in force and this plugin was loaded without counting fuel";
        return Err(Fault::new(FaultCode::FuelUncounted, message));
    }
    Ok(())
}

/// Arms what the store itself enforces. Before instantiation, in which start functions already run.
fn arm(store: &mut Store<State>, bounds: Bounds, counts_fuel: bool) -> wasmtime::Result<()> {
    store.limiter(|state| &mut state.limiter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| tick(store.data()));
    // For each crossing by itself, an answer among them; what all of them pass together is counted at the door.
    let crossing = bounds.hostcall_bytes.max(bounds.result_bytes);
    store.set_hostcall_fuel(usize::try_from(crossing).unwrap_or(usize::MAX));
    let resources = usize::try_from(bounds.resources).unwrap_or(usize::MAX);
    store.set_max_component_handles(resources.saturating_add(LENT));
    store.data_mut().table.set_max_capacity(resources);
    if counts_fuel {
        store.set_fuel(bounds.fuel.unwrap_or(u64::MAX))?;
    }
    Ok(())
}

/// What a guest passes through at every tick: its CPU time is held against the limit, and others get their turn.
fn tick(state: &State) -> wasmtime::Result<UpdateDeadline> {
    state.live.holds(state.limiter.memory());
    let clock = state.live.clock();
    if clock.now() > state.cpu_limit_ns {
        let most = state.cpu_limit_ns / 1_000_000;
        return Err(Fault::new(FaultCode::CpuExceeded, format!("a call may use {most} ms of CPU time")).into());
    }
    if let Some(fault) = state.overrun() {
        return Err(fault.into());
    }
    if state.straight {
        return if clock.turn_is_over() { Err(Waits.into()) } else { Ok(UpdateDeadline::Continue(1)) };
    }
    Ok(if clock.tick() { UpdateDeadline::Yield(1) } else { UpdateDeadline::Continue(1) })
}

type Invoked = Result<Result<String, WitFailure>, (wasmtime::Error, During)>;

fn outcome(ended: Ended<Invoked>, bounds: Bounds, wall_ms: u64) -> Result<String, RunError> {
    match ended {
        Ended::Done(Ok(Ok(json))) if json.len() as u64 > bounds.result_bytes => Err(Fault::new(
            FaultCode::ResultTooLarge,
            format!("an answer may have {} bytes; this one has {}", bounds.result_bytes, json.len()),
        )
        .into()),
        Ended::Done(Ok(Ok(json))) => Ok(json),
        Ended::Done(Ok(Err(failure))) => Err(RunError::Failure(failure.into())),
        Ended::Done(Err((error, during))) => Err(classify(&error, during, bounds).into()),
        Ended::Late => Err(Fault::new(FaultCode::WallExceeded, format!("a call may take {wall_ms} ms in all")).into()),
        Ended::Stopped(fault) => Err(fault.into()),
        Ended::Panicked => Err(Fault::new(FaultCode::HostPanic, "the host failed while it served an import").into()),
    }
}

fn meter(remains: &Remains, clock: &CpuClock, fuel: Option<u64>) -> Meter {
    Meter {
        cpu_us: clock.total() / 1000,
        wall_us: micros(clock.wall()),
        peak_memory_bytes: remains.peak_memory_bytes,
        host_calls: remains.host_calls,
        hostcall_bytes: remains.hostcall_bytes,
        egress_requests: remains.sent.requests,
        egress_bytes: remains.sent.sent_bytes + remains.sent.received_bytes,
        log_lines: remains.logs.len() as u64,
        fuel,
    }
}

impl From<WitFailure> for Failure {
    fn from(failure: WitFailure) -> Self {
        match failure {
            WitFailure::Invalid(message) => Self::Invalid { message },
            WitFailure::Denied(denial) => Self::Denied { rule: denial.rule, message: denial.message, fix: denial.fix },
            WitFailure::NotFound(message) => Self::NotFound { message },
            WitFailure::Conflict(message) => Self::Conflict { message },
            WitFailure::RateLimited(retry_after) => Self::RateLimited { retry_after },
            WitFailure::Upstream(upstream) => Self::Upstream {
                status: upstream.status,
                request_sent: upstream.request_sent,
                message: upstream.message,
            },
            WitFailure::Internal(message) => Self::Internal { message },
        }
    }
}
