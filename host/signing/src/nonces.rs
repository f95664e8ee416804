//! Each signed request is taken once.
//!
//! How: a request is taken in memory before anything else is done for it ([`Nonces::take`]), so of a thousand copies that
//! come together one runs. What is taken is written by the host's next commit, whoever asks for that commit
//! ([`Nonces::begin`]), so a request costs a row and no `fsync` of its own. And nothing is answered to a request before its
//! nonce is durable ([`Nonces::is_durable`]).
//!
//! Why no request runs twice, even when the process is killed at any moment:
//!
//! 1. *While the process lives*, memory holds every nonce taken whose request could still be accepted, from the moment
//!    of the taking.
//! 2. *After it died*, the table holds every nonce whose call wrote anything: the commit of a call's first entry began after its
//!    nonce was taken, and every commit writes all nonces taken before it began. A write runs only after its intent is
//!    durable, and its nonce is then durable in that same commit; an answer goes out only after the nonce is. So what
//!    is lost with the process is the nonce of a request that had no effect and no answer: a read, or a write that never
//!    began. The next process loads the table before it accepts anything.
//! 3. *When old nonces are dropped*, the moment up to which they are (the *floor*) is written with that, and only grows. A request whose nonce may
//!    have been dropped is refused by it, whatever the clock says by then.
//!
//! Where a table is shared by several nodes, memory is not enough for the first point: there a request is taken by adding its
//! row ([`Nonces::take_shared`]), and runs only once that is durable. A row that was there already is another node's.
//!
//! Nonces are kept as hashes, and apart from the guarded tables: whoever can change the database can make a captured
//! request of the last five minutes run again, and nothing else.
//!
//! Fails closed: when memory is full, or a commit fails, nothing more is taken or answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use opsiq_contract::TenantId;
use opsiq_store::NonceRow;
use sha2::{Digest as _, Sha256};

use crate::key_id::KeyId;
use crate::params::WINDOW_S;

/// Seconds of `created` that share a set, which is dropped as a whole.
const SPAN_S: i64 = 20;
/// How long after the end of its window a nonce is kept, in milliseconds: clocks are read at one moment and used at another.
const SLACK_MS: i64 = 10_000;
/// Most nonces kept: a set of them takes about 16 bytes each.
const MOST: usize = 4_000_000;
/// Most of one tenant, so that none uses up the others' share.
const TENANT_MOST: usize = 1_000_000;
/// Most that wait to be written: more only gather while nothing can be.
const WAITING_MOST: usize = 65_536;
/// Rows that one commit removes at most, so that it delays nobody.
const DROP_ROWS: u32 = 2_048;

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It was taken before. HTTP 401.
    #[error("this request was taken before")]
    Replayed,
    /// It is so old that nobody knows any more whether it was taken. HTTP 401.
    #[error("this request is from before what is remembered")]
    Forgotten,
    /// There is no room to remember it. HTTP 503, or 429 when it is the tenant's own share.
    #[error("{}", if *.tenant { "the tenant has sent too many signed requests" } else { "the host remembers too many requests" })]
    Full {
        /// Whether it is the tenant's share that is used up.
        tenant: bool,
    },
}

/// A request that was taken: its place in the order of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl Ticket {
    /// Of a request whose nonce is durable already.
    pub const WRITTEN: Self = Self(0);
}

/// What a commit has to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writing {
    /// Nonces to add, where they are not there already.
    pub add: Vec<NonceRow>,
    /// The floor to write, and to drop rows up to.
    pub floor_ms: Option<i64>,
    /// How many of those at most.
    pub drop_most: u32,
}

/// All nonces of a host.
#[derive(Debug)]
pub struct Nonces {
    hasher: RandomState,
    kept: Mutex<Kept>,
    durable: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    /// By the span of `created`.
    spans: BTreeMap<i64, HashSet<u64>>,
    of_tenant: HashMap<TenantId, HashMap<i64, usize>>,
    total: usize,
    floor_ms: i64,
    /// Whether rows up to the floor may still be there.
    dropping: bool,
    waiting: Vec<NonceRow>,
    /// Being written, and the last ticket among them.
    writing: Vec<NonceRow>,
    writing_floor: bool,
    last: u64,
    last_writing: u64,
}

impl Nonces {
    /// What a store holds: its floor in milliseconds since 1970, and its rows.
    pub fn load(floor_ms: i64, rows: Vec<NonceRow>) -> Self {
        let nonces = Self {
            hasher: RandomState::new(),
            kept: Mutex::new(Kept {
                spans: BTreeMap::new(),
                of_tenant: HashMap::new(),
                total: 0,
                floor_ms,
                dropping: true,
                waiting: Vec::new(),
                writing: Vec::new(),
                writing_floor: false,
                last: 0,
                last_writing: 0,
            }),
            durable: AtomicU64::new(0),
        };
        let mut kept = nonces.kept();
        for row in rows.into_iter().filter(|row| row.expires_ms > floor_ms) {
            let span = span_of(row.expires_ms);
            let hash = nonces.hasher.hash_one((&row.tenant, &row.client, &row.nonce));
            kept.add(span, hash, row.tenant);
        }
        drop(kept);
        nonces
    }

    /// Takes a request that verified. `created` is in seconds, `now_ms` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take(&self, key_id: &KeyId, nonce: &str, created: i64, now_ms: i64) -> Result<Ticket, NotTaken> {
        let mut kept = self.kept();
        let row = kept.keep(&self.hasher, key_id, nonce, created, now_ms)?;
        kept.last += 1;
        let ticket = Ticket(kept.last);
        kept.waiting.push(row);
        Ok(ticket)
    }

    /// The same where other nodes take requests too: the row that is still to be added, and decides. It must not be there,
    /// and must be durable before the request runs; the ticket of that is [`Ticket::WRITTEN`].
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take_shared(&self, key_id: &KeyId, nonce: &str, created: i64, now_ms: i64) -> Result<NonceRow, NotTaken> {
        self.kept().keep(&self.hasher, key_id, nonce, created, now_ms)
    }

    /// Whether a request's nonce is durable, so that it may be answered.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        self.durable.load(Ordering::Acquire) >= ticket.0
    }

    /// Whether a commit would have anything to write.
    pub fn is_waiting(&self) -> bool {
        let kept = self.kept();
        !kept.waiting.is_empty() || kept.dropping
    }

    /// What the commit that begins now writes: everything taken so far. One at a time; [`Nonces::end`] follows.
    pub fn begin(&self) -> Writing {
        let mut kept = self.kept();
        let waiting = std::mem::take(&mut kept.waiting);
        kept.writing.extend(waiting);
        kept.last_writing = kept.last;
        kept.writing_floor = kept.dropping;
        Writing { add: kept.writing.clone(), floor_ms: kept.dropping.then_some(kept.floor_ms), drop_most: DROP_ROWS }
    }

    /// How that commit ended: with how many rows dropped, or not known to have happened, so that it is all written anew
    /// with the next.
    pub fn end(&self, dropped: Option<u64>) {
        let mut kept = self.kept();
        let Some(dropped) = dropped else { return };
        kept.writing = Vec::new();
        if kept.writing_floor && dropped < u64::from(DROP_ROWS) {
            // The floor may have grown meanwhile; then rows of that time go with a later commit.
            kept.dropping = false;
        }
        self.durable.fetch_max(kept.last_writing, Ordering::AcqRel);
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept().total
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each change leaves it whole, so that a thread that panicked while holding it does no harm.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Keeps a nonce in memory, unless it is there, or may have been.
    fn keep(
        &mut self,
        hasher: &RandomState,
        key_id: &KeyId,
        nonce: &str,
        created: i64,
        now_ms: i64,
    ) -> Result<NonceRow, NotTaken> {
        let digest = Sha256::digest(nonce.as_bytes());
        let nonce: [u8; 16] = digest[..16].try_into().expect("a digest has 32 bytes");
        let expires_ms = (created + WINDOW_S) * 1000;
        let hash = hasher.hash_one((&key_id.tenant, &key_id.client, &nonce));
        self.drop_until(now_ms - SLACK_MS);
        if expires_ms <= self.floor_ms {
            return Err(NotTaken::Forgotten);
        }
        let span = span_of(expires_ms);
        if self.spans.get(&span).is_some_and(|taken| taken.contains(&hash)) {
            return Err(NotTaken::Replayed);
        }
        if self.of_tenant.get(&key_id.tenant).is_some_and(|spans| spans.values().sum::<usize>() >= TENANT_MOST) {
            return Err(NotTaken::Full { tenant: true });
        }
        if self.total >= MOST || self.waiting.len() + self.writing.len() >= WAITING_MOST {
            return Err(NotTaken::Full { tenant: false });
        }
        self.add(span, hash, key_id.tenant.clone());
        let (tenant, client) = (key_id.tenant.clone(), key_id.client.clone());
        Ok(NonceRow { tenant, client, nonce, expires_ms })
    }

    fn add(&mut self, span: i64, hash: u64, tenant: TenantId) {
        if self.spans.entry(span).or_default().insert(hash) {
            self.total += 1;
            *self.of_tenant.entry(tenant).or_default().entry(span).or_default() += 1;
        }
    }

    /// Drops whole spans that ended before `until_ms`.
    fn drop_until(&mut self, until_ms: i64) {
        while let Some(entry) = self.spans.first_entry() {
            let ends_ms = (entry.key() + 1) * SPAN_S * 1000;
            if ends_ms > until_ms {
                return;
            }
            let (span, gone) = entry.remove_entry();
            self.total -= gone.len();
            self.of_tenant.retain(|_, spans| {
                spans.remove(&span);
                !spans.is_empty()
            });
            self.floor_ms = self.floor_ms.max(ends_ms);
            self.dropping = true;
        }
    }
}

/// Which span a nonce is dropped with: the end of its window is in it.
fn span_of(expires_ms: i64) -> i64 {
    (expires_ms - 1).div_euclid(SPAN_S * 1000)
}

#[cfg(test)]
mod tests;
