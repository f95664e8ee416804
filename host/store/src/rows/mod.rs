//! Heads of rows, so that an older row put back, or a row removed, is noticed although it is authentic.
//!
//! Why sealing alone does not do it: a sealed row opens wherever it stands for as long as its keys live, so yesterday's
//! grant, put back, opens. So every guarded row has a *mark*, a keyed hash of all it holds, and every owner (a tenant, or
//! the host for the catalogue) a *head*: how often its rows changed, and for each table the sum of its marks, sealed. A row that
//! is not as marked is named; rows put back together with their marks no longer make up the sum; rows, marks and head put
//! back together are older than the count and digest that the last signed checkpoint repeats, which is kept outside.
//!
//! The sums are XORs of a second keyed hash (the multiset hash of Clarke et al., ASIACRYPT 2003); they are sealed, so that no
//! relation between older marks can be read off them. Marks leave out what key rotation replaces.
//!
//! Fails closed: a change is marked in the transaction that makes it, by triggers no statement can avoid. On a server they are
//! the tables' own, and whoever has no list of touched rows, which is everybody but a host, cannot change a guarded row.

mod check;
mod guard;
mod table;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use opsiq_contract::Digest;
use opsiq_vault::{Place, Sealed, Secret, TenantVault};

pub use check::{RowFault, RowFaultKind};
pub(crate) use guard::{POSTGRES_SESSION, guard};
pub(crate) use table::SQLITE_SESSION;
use table::{COUNT, Found, Table, tables, term, touched_tables};

use crate::column::{number, unsigned};
use crate::db::{Dialect, query, query_as, query_scalar};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "row mark";
const HEAD: &str = "row head";
/// Rows of one statement. Each size is one prepared statement, so there are few.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];
/// A statement of each size, made once in the life of the process.
static INSERTS: LazyLock<[&'static str; CHUNKS.len()]> = LazyLock::new(|| {
    CHUNKS.map(|rows| {
        let row = |at: usize| format!("(${}, ${}, ${}, ${})", 4 * at + 1, 4 * at + 2, 4 * at + 3, 4 * at + 4);
        let rows: Vec<_> = (0..rows).map(row).collect();
        &*format!(
            "INSERT INTO row_mark (tenant, tbl, pk, mark) VALUES {} \
             ON CONFLICT (tenant, tbl, pk) DO UPDATE SET mark = excluded.mark",
            rows.join(", ")
        )
        .leak()
    })
});

/// The state of an owner's rows, as far as it can be told to somebody without keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHead {
    /// How many commits changed a row of this owner.
    pub changes: u64,
    /// SHA-256 of the sealed sums.
    pub digest: Digest,
}

/// How far the guarded rows and the keys of everybody have come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many commits changed a row of each owner; the empty text is the host.
    pub owners: BTreeMap<String, u64>,
    /// How many keys tenants have, and when the last was made, in milliseconds since 1970.
    pub keys: (i64, i64),
}

/// For each guarded table, the XOR of what its rows' marks add.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sums([[u8; 32]; COUNT]);

impl Sums {
    const NONE: Self = Self([[0; 32]; COUNT]);

    fn add(&mut self, table: usize, term: [u8; 32]) {
        for (sum, byte) in self.0[table].iter_mut().zip(term) {
            *sum ^= byte;
        }
    }

    fn seal(&self, host: &TenantVault, owner: &str, changes: u64) -> Sealed<Secret> {
        let secret = Secret::from(self.0.concat());
        host.seal_secret(&place(&[owner], changes), &secret)
    }

    /// `None` when the bytes are not what was sealed for this owner and count.
    fn open(host: &TenantVault, owner: &str, changes: u64, sealed: Vec<u8>) -> Option<Self> {
        let opened = host.open_secret(&place(&[owner], changes), &Sealed::from_stored(sealed)).ok()?;
        let (found, rest) = opened.expose().as_chunks::<32>();
        // One written before a table was there holds no sum for it, and nothing was in it.
        let mut sums = Self::NONE;
        sums.0.get_mut(..found.len())?.copy_from_slice(found);
        rest.is_empty().then_some(sums)
    }
}

fn place<'a>(row: &'a [&'a str], changes: u64) -> Place<'a> {
    Place { table: "row_head", row, column: "sealed", version: changes }
}

fn head(changes: u64, sealed: &[u8]) -> RowHead {
    RowHead { changes, digest: Digest::of(Sealed::<()>::lasting(sealed)) }
}

/// One changed row.
struct Changed {
    owner: String,
    table: usize,
    pk: String,
    before: Option<Vec<u8>>,
    after: Option<[u8; 32]>,
}

impl Store {
    /// The head of an owner's rows; `None` when none was ever written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn row_head(&self, owner: &str) -> Result<Option<RowHead>, StoreError> {
        let found: Option<(i64, Vec<u8>)> = query_as("SELECT changes, sealed FROM row_head WHERE tenant = $1")
            .bind(owner)
            .fetch_optional(self.reader())
            .await
            .map_err(|error| StoreError::of(HEAD, &error))?;
        found.map(|(changes, sealed)| Ok(head(unsigned(HEAD, changes)?, &sealed))).transpose()
    }
}

impl Store {
    /// How far everybody's rows and keys have come: what is the same as before was not changed by another node.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn changes(&self) -> Result<Changes, StoreError> {
        let owners = query_as::<(String, i64)>("SELECT tenant, changes FROM row_head");
        let owners = owners.fetch_all(self.reader()).await.map_err(|error| StoreError::of(HEAD, &error))?;
        let keys = query_as("SELECT COUNT(*), COALESCE(MAX(created_ms), 0) FROM tenant_key");
        let keys = keys.fetch_one(self.key_db()).await.map_err(|error| StoreError::of("tenant key", &error))?;
        let of = |(owner, changes)| Ok((owner, unsigned(HEAD, changes)?));
        Ok(Changes { owners: owners.into_iter().map(of).collect::<Result<_, StoreError>>()?, keys })
    }
}

impl WriteTx<'_> {
    /// Marks what this transaction changed; to be called once, before the commit. Answers the new heads of the owners
    /// concerned.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a head was changed outside the host; [`StoreError::Conflict`] when another node changed it
    /// meanwhile; [`StoreError::Unavailable`].
    pub async fn mark_rows(&mut self, host: &TenantVault) -> Result<BTreeMap<String, RowHead>, StoreError> {
        if !self.has_written() {
            return Ok(BTreeMap::new());
        }
        let dialect = self.dialect();
        let touched = query_scalar(touched_tables(dialect)).fetch_all(self.connection().await?).await;
        let touched: Vec<String> = self.noting(touched.map_err(|error| StoreError::of(WHAT, &error)))?;
        let accepted = std::mem::take(&mut self.accepted);
        if touched.is_empty() && accepted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut changed = Vec::new();
        let is_touched = |(_, table): &(usize, &Table)| touched.iter().any(|name| name == table.name);
        for (at, table) in tables(dialect).iter().enumerate().filter(is_touched) {
            changed.extend(self.changed(at, table, host).await?);
        }
        self.write_marks(&changed).await?;
        let mut by_owner: BTreeMap<&str, Vec<&Changed>> =
            accepted.iter().map(|owner| (owner.as_str(), Vec::new())).collect();
        for change in &changed {
            by_owner.entry(&change.owner).or_default().push(change);
        }
        let mut heads = BTreeMap::new();
        for (owner, changed) in by_owner {
            heads.insert(owner.to_owned(), self.write_head(owner, &changed, host).await?);
        }
        if dialect == Dialect::Sqlite {
            // Elsewhere the list is emptied by the commit.
            self.run(WHAT, query("DELETE FROM temp.touched")).await?;
        }
        Ok(heads)
    }

    /// Takes an owner's rows for what they are now: new marks, and a head whose count goes on after `changes`. For an operator
    /// who put an older database back on purpose.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn accept_rows(&mut self, owner: &str, changes: u64, host: &TenantVault) -> Result<(), StoreError> {
        for table in tables(self.dialect()) {
            for touch in table.touch_owned {
                self.run(WHAT, query(touch).bind(owner)).await?;
            }
        }
        self.run(WHAT, query("DELETE FROM row_mark WHERE tenant = $1").bind(owner)).await?;
        self.run(WHAT, query("DELETE FROM row_head WHERE tenant = $1").bind(owner)).await?;
        self.accepted.push(owner.to_owned());
        self.put_head(owner, 0, changes, &Sums::NONE.seal(host, owner, changes)).await
    }

    /// Rows of a table that were touched and are not as marked.
    async fn changed(&mut self, at: usize, table: &Table, host: &TenantVault) -> Result<Vec<Changed>, StoreError> {
        let rows = query(table.touched).fetch_all(self.connection().await?).await;
        let rows = self.noting(rows.map_err(|error| StoreError::of(WHAT, &error)))?;
        let mut changed = Vec::new();
        for row in rows {
            let Found { owner, pk, marked, mark } = Found::read(table, &row, host)?;
            if marked.as_deref() != mark.as_ref().map(<[u8; 32]>::as_slice) {
                changed.push(Changed { owner, table: at, pk, before: marked, after: mark });
            }
        }
        Ok(changed)
    }

    async fn write_marks(&mut self, changed: &[Changed]) -> Result<(), StoreError> {
        for gone in changed.iter().filter(|change| change.after.is_none()) {
            let query = query("DELETE FROM row_mark WHERE tenant = $1 AND tbl = $2 AND pk = $3")
                .bind(&gone.owner)
                .bind(tables(self.dialect())[gone.table].name)
                .bind(&gone.pk);
            self.run(WHAT, query).await?;
        }
        let kept: Vec<(&Changed, &[u8; 32])> =
            changed.iter().filter_map(|change| Some((change, change.after.as_ref()?))).collect();
        let mut rest = kept.as_slice();
        for (chunk, insert) in CHUNKS.into_iter().zip(*INSERTS) {
            while let Some((rows, more)) = rest.split_at_checked(chunk) {
                let mut insert = query(insert);
                for (change, mark) in rows {
                    let table = tables(self.dialect())[change.table].name;
                    insert = insert.bind(&change.owner).bind(table).bind(&change.pk).bind(mark.as_slice());
                }
                self.run(WHAT, insert).await?;
                rest = more;
            }
        }
        Ok(())
    }

    async fn write_head(&mut self, owner: &str, rows: &[&Changed], host: &TenantVault) -> Result<RowHead, StoreError> {
        let found = query_as("SELECT changes, sealed FROM row_head WHERE tenant = $1")
            .bind(owner)
            .fetch_optional(self.connection().await?)
            .await;
        let found: Option<(i64, Vec<u8>)> = self.noting(found.map_err(|error| StoreError::of(HEAD, &error)))?;
        let (before, mut sums) = match found {
            Some((changes, sealed)) => {
                let changes = unsigned(HEAD, changes)?;
                (changes, Sums::open(host, owner, changes, sealed).ok_or(StoreError::damaged(HEAD))?)
            }
            None => (0, Sums::NONE),
        };
        for change in rows {
            let marks = change.before.as_deref().into_iter().chain(change.after.as_ref().map(<[u8; 32]>::as_slice));
            for mark in marks {
                sums.add(change.table, term(host, mark));
            }
        }
        let changes = before + 1;
        let sealed = sums.seal(host, owner, changes);
        self.put_head(owner, before, changes, &sealed).await?;
        Ok(head(changes, sealed.as_bytes()))
    }

    /// Writes a head whose count is `before`, 0 when there is none. Another node may have changed it meanwhile.
    async fn put_head(
        &mut self,
        owner: &str,
        before: u64,
        changes: u64,
        sealed: &Sealed<Secret>,
    ) -> Result<(), StoreError> {
        let query = query(
            "INSERT INTO row_head (tenant, changes, sealed) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant) DO UPDATE SET changes = excluded.changes, sealed = excluded.sealed \
             WHERE row_head.changes = $4",
        )
        .bind(owner)
        .bind(number(changes))
        .bind(sealed.as_bytes())
        .bind(number(before));
        self.run_one(HEAD, query).await
    }
}

#[cfg(test)]
mod tests;
