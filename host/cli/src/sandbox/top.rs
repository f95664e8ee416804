//! `opsiq sandbox top`: what calls use, over and over.
//!
//! It never opens the data directory: what is counted is in the process that has it, and whoever only watches must not keep
//! others from their turn.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use opsiq_gate::{By, TotalsView};

use super::read;
use crate::control::client;
use crate::control::protocol::{Ask, Request};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::session::Session;
use crate::shell::Signals;
use crate::table::{Table, bytes, span};

/// Moves the cursor home and clears what is below (ECMA-48).
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// What to show, and how often.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Add up by what.
    #[arg(long, value_enum, default_value_t = Group::Installation)]
    by: Group,

    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    interval: u16,

    /// Look once, also on a terminal.
    #[arg(long)]
    once: bool,
}

/// What totals are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Each installation by itself.
    Installation,
    /// Each version of a plugin.
    Plugin,
    /// Each tenant.
    Tenant,
}

impl From<Group> for By {
    fn from(group: Group) -> Self {
        match group {
            Group::Installation => Self::Installation,
            Group::Plugin => Self::Plugin,
            Group::Tenant => Self::Tenant,
        }
    }
}

/// Looks once, or until interrupted on a terminal.
pub(super) async fn run(args: TopArgs, session: &Session<'_>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let ask = Ask::Totals { by: args.by.into() };
    if args.once || session.out.is_json() || !io::stdout().is_terminal() {
        let totals = look(&ask, session).await?;
        session.out.data(&totals, |totals| table(totals, &Before::default()))?;
        return Ok(Exit::Done);
    }
    let mut before = Before::default();
    loop {
        let totals = look(&ask, session).await?;
        Output::raw(&format!("{CLEAR}{}\n", table(&totals, &before)))?;
        before = Before::of(&totals);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(args.interval.into())) => {}
            () = signals.next() => return Ok(Exit::Done),
        }
    }
}

/// Without a process that has the directory nothing is counted.
async fn look(ask: &Ask, session: &Session<'_>) -> Result<Vec<TotalsView>, Failure> {
    if session.place.addr().is_some() {
        return read(&session.control(ask.clone()).await?);
    }
    let request = Request::new(&session.acting, ask.clone())?;
    match client::ask(session.place.data()?, &request).await? {
        Some(data) => read(&data),
        None => Ok(Vec::new()),
    }
}

type Key = (Option<String>, Option<String>, Option<String>);

/// The look before, for what happened since.
#[derive(Default)]
struct Before {
    at: Option<Instant>,
    /// Calls and CPU time, in microseconds.
    counted: HashMap<Key, (u64, u64)>,
}

impl Before {
    fn of(totals: &[TotalsView]) -> Self {
        let counted = totals.iter().map(|one| (key(one), (one.calls, one.cpu_us)));
        Self { at: Some(Instant::now()), counted: counted.collect() }
    }

    /// Calls a second and CPUs in use since then, in hundredths.
    fn since(&self, one: &TotalsView) -> Option<(u64, u64)> {
        let us = u64::try_from(self.at?.elapsed().as_micros()).ok()?.max(1);
        let (calls, cpu_us) = self.counted.get(&key(one)).copied().unwrap_or_default();
        let of = |now: u64, before: u64, scale: u64| now.saturating_sub(before).saturating_mul(scale) / us;
        Some((of(one.calls, calls, 1_000_000), of(one.cpu_us, cpu_us, 100)))
    }
}

fn key(one: &TotalsView) -> Key {
    (one.tenant.as_ref().map(ToString::to_string), one.installation.clone(), one.plugin.clone())
}

fn table(totals: &[TotalsView], before: &Before) -> String {
    let mut table = Table::new([
        "tenant",
        "installation",
        "plugin",
        "running",
        "queued",
        "calls/s",
        "cpu %",
        "calls",
        "failed",
        "refused",
        "cancelled",
        "cpu",
        "p50",
        "p99",
        "requests",
        "egress",
    ]);
    for one in totals {
        let (tenant, installation, plugin) = key(one);
        let rates = before.since(one);
        let count = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
        table.row([
            tenant.unwrap_or_default(),
            installation.unwrap_or_default(),
            plugin.unwrap_or_default(),
            one.running.to_string(),
            one.queued.to_string(),
            count(rates.map(|(calls, _)| calls)),
            count(rates.map(|(_, cpu)| cpu)),
            one.calls.to_string(),
            one.failed.to_string(),
            one.refused.to_string(),
            one.cancelled.to_string(),
            span(one.cpu_us),
            one.p50_us.map(span).unwrap_or_default(),
            one.p99_us.map(span).unwrap_or_default(),
            one.egress_requests.to_string(),
            bytes(one.egress_bytes),
        ]);
    }
    table.or("Nothing was called in a process that has the data directory open.")
}
