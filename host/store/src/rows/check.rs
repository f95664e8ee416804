//! Holding all rows against their heads. One pass over the tables, without a look at single marks; only an owner whose sums
//! do not fit is looked at row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::TryStreamExt as _;
use opsiq_vault::TenantVault;

use super::table::{Found, Table, tables, term};
use super::{HEAD, Sums, WHAT};
use crate::column::unsigned;
use crate::db::{query, query_as, query_scalar};
use crate::{Store, StoreError};

/// What is wrong with a row, or with the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// In which table.
    pub table: &'static str,
    /// Which row: what names it beside its owner; empty when that cannot be told, and for a tenant's own row.
    pub row: String,
    /// What is wrong.
    pub kind: RowFaultKind,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFaultKind {
    /// It is not as it was last written: changed outside the host, or an older one put back.
    NotAsWritten,
    /// It was removed outside the host.
    Removed,
    /// It was added outside the host, or put back after the host removed it.
    Added,
    /// Rows of the table were put back together with their marks: their sum is not the head's.
    PutBack,
    /// The head of the owner's rows is missing or was changed.
    Head,
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, row, kind } = self;
        let at = if row.is_empty() { String::new() } else { format!(" {row}") };
        match kind {
            RowFaultKind::NotAsWritten => {
                write!(f, "{table}{at} is not as last written: changed, or an older row put back")
            }
            RowFaultKind::Removed => write!(f, "{table}{at} was removed outside the host"),
            RowFaultKind::Added => write!(f, "{table}{at} was added, or put back after its removal"),
            RowFaultKind::PutBack => write!(f, "older rows of {table} were put back together with their marks"),
            RowFaultKind::Head => f.write_str("the head of its rows is missing or was changed"),
        }
    }
}

impl Store {
    /// Holds every guarded row of every owner against its head. Answers what is wrong, by owner: nothing when all is well.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Damaged`] for columns that hold what no host writes.
    pub async fn check_rows(&self, host: &TenantVault) -> Result<BTreeMap<String, Vec<RowFault>>, StoreError> {
        let mut found: BTreeMap<String, Sums> = BTreeMap::new();
        for (at, table) in tables(self.reader().dialect()).iter().enumerate() {
            let rows = query(table.all).fetch(self.reader());
            let mut rows = rows.map_err(|error| StoreError::of(WHAT, &error))?;
            while let Some(row) = rows.try_next().await.map_err(|error| StoreError::of(WHAT, &error))? {
                let Found { owner, mark, .. } = Found::read(table, &row, host)?;
                let Some(mark) = mark else { continue };
                if let Some(sums) = found.get_mut(&owner) {
                    sums.add(at, term(host, &mark));
                } else {
                    let mut sums = Sums::NONE;
                    sums.add(at, term(host, &mark));
                    found.insert(owner, sums);
                }
            }
        }
        let heads: Vec<(String, i64, Vec<u8>)> = query_as("SELECT tenant, changes, sealed FROM row_head")
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(HEAD, &error))?;
        let mut wrong = BTreeMap::new();
        for (owner, changes, sealed) in heads {
            let sums = found.remove(&owner).unwrap_or(Sums::NONE);
            let head = unsigned(HEAD, changes).ok().and_then(|changes| Sums::open(host, &owner, changes, sealed));
            if head != Some(sums) {
                let faults = self.name_faults(host, &owner, &sums, head.as_ref()).await?;
                wrong.insert(owner, faults);
            }
        }
        for (owner, sums) in found {
            let faults = self.name_faults(host, &owner, &sums, None).await?;
            wrong.insert(owner, faults);
        }
        Ok(wrong)
    }

    /// Which rows of an owner are not as marked.
    async fn name_faults(
        &self,
        host: &TenantVault,
        owner: &str,
        sums: &Sums,
        head: Option<&Sums>,
    ) -> Result<Vec<RowFault>, StoreError> {
        let mut faults = Vec::new();
        if head.is_none() {
            faults.push(RowFault { table: "row_head", row: owner.to_owned(), kind: RowFaultKind::Head });
        }
        for (at, table) in tables(self.reader().dialect()).iter().enumerate() {
            let named = self.name_in(host, owner, table).await?;
            if named.is_empty() && head.is_some_and(|head| head.0[at] != sums.0[at]) {
                faults.push(RowFault { table: table.name, row: String::new(), kind: RowFaultKind::PutBack });
            }
            faults.extend(named);
        }
        Ok(faults)
    }

    async fn name_in(&self, host: &TenantVault, owner: &str, table: &Table) -> Result<Vec<RowFault>, StoreError> {
        let failed = |error: sqlx::Error| StoreError::of(WHAT, &error);
        let fault = |row: String, kind| RowFault { table: table.name, row, kind };
        let marked: Vec<String> = query_scalar("SELECT pk FROM row_mark WHERE tenant = $1 AND tbl = $2")
            .bind(owner)
            .bind(table.name)
            .fetch_all(self.reader())
            .await
            .map_err(failed)?;
        let mut marked: BTreeSet<String> = marked.into_iter().collect();
        let rows = query(table.owned).bind(owner).fetch_all(self.reader()).await.map_err(failed)?;
        let mut faults = Vec::new();
        for row in rows {
            let row = Found::read(table, &row, host)?;
            marked.remove(&row.pk);
            match row.marked {
                None => faults.push(fault(row.pk, RowFaultKind::Added)),
                Some(was) if Some(was.as_slice()) != row.mark.as_ref().map(<[u8; 32]>::as_slice) => {
                    faults.push(fault(row.pk, RowFaultKind::NotAsWritten));
                }
                Some(_) => {}
            }
        }
        faults.extend(marked.into_iter().map(|pk| fault(pk, RowFaultKind::Removed)));
        Ok(faults)
    }
}
