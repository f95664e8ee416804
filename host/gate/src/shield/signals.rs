//! Signs that an account may not be used by its user: put on record for the owners, and followed by a second factor anew.

use std::sync::Arc;
use std::time::Instant;

use opsiq_audit::{Draft, Filter, Kind, Log, Op, Shown, View, field};
use opsiq_contract::{Digest, Role, TenantId};
use opsiq_shield::{ClientIp, Reason, Seen, Used, judge};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::core::{Core, now_ms};
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::state::{Session, TenantState, User};
use crate::users::Users;

/// The event's name in the log.
const EVENT: &str = "account.signal";
/// Networks known of one user, at most.
pub(crate) const NETWORKS: u32 = 50;
/// Fields of the entry of a signal.
const REASONS: &str = "reasons";
const DEVICE: &str = "device";
const SESSION: &str = "session";
/// Signals of one list, at most.
const MOST: usize = 1000;

/// A signal, as an owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalView {
    /// Its entry's number in the audit log.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Whose account: `user:ada`, `client:till`.
    pub account: String,
    /// Why it may not be used by its user.
    pub reasons: Vec<Reason>,
    /// From where it was used.
    pub address: Option<String>,
    /// What the device says it is.
    pub device: Option<String>,
    /// In which session.
    pub session: Option<String>,
}

/// The entry of a signal.
pub(crate) fn draft(account: &str, reasons: &[Reason], address: Option<ClientIp>) -> Draft {
    let reasons = reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(" ");
    let draft =
        Draft::new(Kind::Signal).field(field::ACTOR, account).field(field::EVENT, EVENT).field(REASONS, reasons);
    match address {
        Some(address) => draft.field(field::IP, address.to_string()),
        None => draft,
    }
}

/// The same of a session, on a device.
pub(crate) fn of_session(draft: Draft, session: &str, device: &str) -> Draft {
    draft.field(SESSION, session).field(DEVICE, device)
}

impl Core {
    /// The blind index of the network that an address is in.
    pub(crate) fn network_index(tenant: &TenantState, client: ClientIp) -> [u8; 32] {
        tenant.vault.blind_index("account network", client.wide().to_string().as_bytes())
    }

    /// Why a sign-in of `user` may not be theirs; `device` is whether they signed in from that device before.
    pub(crate) async fn doubts(
        &self,
        tenant: &TenantState,
        user: &User,
        address: Option<ClientIp>,
        device: bool,
    ) -> Result<Vec<Reason>, Refusal> {
        let failed = |error| errors::store(Stage::Authenticate, &error);
        let known = self.store.account_networks(&tenant.id, &user.id).await.map_err(failed)?;
        let devices = self.store.devices_of::<()>(&tenant.id, &user.id).await.map_err(failed)?;
        let here = address.map(|client| Self::network_index(tenant, client));
        let since = now_ms().saturating_sub(i64::try_from(Seen::PACE_WITHIN.as_millis()).unwrap_or(i64::MAX));
        let elsewhere =
            |index: [u8; 32]| known.iter().filter(|row| row.network_index != index && row.last_ms > since).count();
        let network =
            here.filter(|_| !known.is_empty()).map(|index| known.iter().any(|row| row.network_index == index));
        Ok(judge(&Seen {
            before: !known.is_empty() || !devices.is_empty(),
            device,
            network,
            lately: here.map_or(0, |index| elsewhere(index) + 1),
            many_accounts: address.is_some_and(|client| self.guards.tried.many(client, Instant::now())),
        }))
    }

    /// Notes that a session is used from an address. When it is used from two places at once, its second factor does not count
    /// any more, and the owners are told; answers whether that happened.
    pub(crate) async fn session_used(
        self: &Arc<Self>,
        tenant: &Arc<TenantState>,
        index: &[u8; 32],
        session: &Session,
        address: Option<ClientIp>,
    ) -> Result<bool, Refusal> {
        let Some(client) = address else { return Ok(false) };
        let Used::Twice { first } = self.guards.places.used(*index, client, Instant::now()) else { return Ok(false) };
        if !first && !session.lifetime().is_fresh(now_ms(), &self.identity.times) {
            return Ok(false);
        }
        let account = format!("user:{}", session.doc.name);
        let draft = of_session(draft(&account, &[Reason::TwoPlaces], address), &session.id, &session.doc.device);
        let (whose, id) = (tenant.id.clone(), session.id.clone());
        let op = Op::new(move |tx| Box::pin(async move { Ok(tx.session_step_up(&whose, &id, 0).await?) }));
        self.change_anyway(tenant, vec![draft], op).await?;
        Ok(true)
    }

    /// Notes that a client's secret is used from an address, and tells the owners when it is from two places at once, once an
    /// hour: a program may well run in two.
    pub(crate) async fn client_used(&self, tenant: &TenantId, key: &str, name: &str, client: ClientIp) {
        let credential = *Digest::of_parts("opsiq client", [key.as_bytes()]).as_bytes();
        if self.guards.places.used(credential, client, Instant::now()) != (Used::Twice { first: true }) {
            return;
        }
        let draft = draft(&format!("client:{name}"), &[Reason::TwoPlaces], Some(client));
        if let Err(refusal) = self.record(Log::Tenant(tenant.clone()), vec![draft]).await {
            tracing::error!(%tenant, why = refusal.message, "a signal could not be put on record");
        }
    }
}

impl Users {
    /// Signs that accounts of the tenant may not be used by their users, the latest first: at most `limit`, and of one
    /// user where one is named. `before` is the number of an entry to go on from. For owners; the reading is an entry.
    ///
    /// # Errors
    /// Not an owner; an entry that is not what was recorded.
    pub async fn signals(
        &self,
        actor: &Actor,
        user: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<SignalView>, Refusal> {
        let (person, act) = (self.core.person(actor).await?, "user signals");
        self.core
            .act(&person, &[Role::Owner], act, user.unwrap_or_default(), async {
                let entry = person.draft(Kind::Read, act).field(field::OUTCOME, "ok");
                self.core.record(person.log(), vec![entry]).await?;
                let (limit, account) = (limit.clamp(1, MOST), user.map(|user| format!("user:{user}")));
                let mut filter = Filter { kind: Some(Kind::Signal), before, limit, ..Filter::default() };
                let mut found = Vec::new();
                loop {
                    let page = self.core.journal.list(&person.log(), &filter).await;
                    let page = page.map_err(|error| errors::audit(Stage::Admin, &error))?;
                    let views = page.entries.iter().map(view);
                    found.extend(views.filter(|view| account.as_ref().is_none_or(|account| view.account == *account)));
                    filter.before = page.next;
                    if found.len() >= limit || page.next.is_none() {
                        found.truncate(limit);
                        return Ok(found);
                    }
                }
            })
            .await
    }
}

fn view(entry: &View) -> SignalView {
    let text = |name: &str| match entry.fields.get(name) {
        Some(Shown::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let reason = |word: &str| serde_json::from_value(word.into()).ok();
    SignalView {
        seq: entry.seq,
        time_ms: entry.time_ms,
        account: text(field::ACTOR).unwrap_or_default(),
        reasons: text(REASONS).unwrap_or_default().split(' ').filter_map(reason).collect(),
        address: text(field::IP),
        device: text(DEVICE),
        session: text(SESSION),
    }
}
