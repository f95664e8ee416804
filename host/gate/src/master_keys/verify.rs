//! Opening everything: each wrapped key, and each sealed value in its place. Plaintext is wiped as soon as it proved right.

use opsiq_audit::{Kind, Log, field, prove_content};
use opsiq_store::{SEALED_COLUMNS, SealedColumn, SealedPlace, SealedValue, StoreError};
use opsiq_vault::{KeyId, Place, TenantVault, VaultError};
use serde::Serialize;

use super::{Walked, Watch};
use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::Core;
use crate::errors;
use crate::refusal::{Refusal, Stage};

/// Faults that are named.
const NAMED: usize = 1000;

/// Values of one column, of all tenants.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnCount {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// How many open.
    pub values: u64,
    /// How many of these are under an older key than their tenant's newest: a rotation is unfinished.
    pub older: u64,
}

/// Something that does not open.
#[derive(Debug, Clone, Serialize)]
pub struct KeyFault {
    /// Whose; empty for the host's own.
    pub tenant: String,
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// Which row of that tenant.
    pub row: String,
    /// How it fails.
    pub why: String,
}

/// What opening everything came to.
#[derive(Debug, Clone, Serialize)]
pub struct KeysVerified {
    /// The root key that everything hangs on.
    pub root: String,
    /// Wrapped keys of tenants that open.
    pub keys: u64,
    /// Values that open, by column.
    pub columns: Vec<ColumnCount>,
    /// What does not open, the first thousand.
    pub faults: Vec<KeyFault>,
    /// How many do not open.
    pub faulty: u64,
}

impl KeysVerified {
    fn fault(&mut self, tenant: &str, (table, column): (&'static str, &'static str), row: String, why: String) {
        self.faulty += 1;
        if self.faults.len() < NAMED {
            self.faults.push(KeyFault { tenant: tenant.to_owned(), table, column, row, why });
        }
    }
}

impl Core {
    pub(crate) async fn verify_keys(&self, actor: &Actor, watch: Watch<'_>) -> Result<KeysVerified, Refusal> {
        // A rotation would take keys away between reading a value and opening it.
        let _turn = self.rotating.lock().await;
        let failed = |error: StoreError| errors::store(Stage::Admin, &error);
        let mut found = KeysVerified {
            root: self.vault.root().to_string(),
            keys: 0,
            columns: Vec::new(),
            faults: Vec::new(),
            faulty: 0,
        };
        for row in self.store.all_tenant_keys().await.map_err(failed)? {
            let opens = match &row.wrapped {
                None => Err("it is no wrapped key of that generation".to_owned()),
                Some(key) => self.vault.tenant(&row.tenant, std::slice::from_ref(key)).map_err(|e| e.to_string()),
            };
            match opens {
                Ok(_) => found.keys += 1,
                Err(why) => {
                    let generation = format!("generation {}", row.generation);
                    found.fault(row.tenant.as_str(), ("tenant_key", "wrapped"), generation, why);
                }
            }
        }
        for (tenant, why) in &self.locked_out {
            let whole = ("tenant_key", "wrapped");
            found.fault(tenant.as_str(), whole, "all".to_owned(), format!("nothing of this tenant opens: {why}"));
        }
        for (log, told) in &self.rolled_back {
            let why = format!("not looked at, as it is not served: {}", told.join("; "));
            found.fault(&log.to_string(), ("row_head", "sealed"), "all".to_owned(), why);
        }
        let tenants = self.tenants.all();
        for column in SEALED_COLUMNS {
            let mut count = ColumnCount { table: column.table, column: column.column, values: 0, older: 0 };
            self.verify_column(column, "", &self.vault.host(), (&mut count, &mut found), watch)
                .await
                .map_err(failed)?;
            for tenant in &tenants {
                let into = (&mut count, &mut found);
                self.verify_column(column, tenant.id.as_str(), &tenant.vault, into, watch).await.map_err(failed)?;
            }
            found.columns.push(count);
        }
        let values: u64 = found.columns.iter().map(|column| column.values).sum();
        let detail = format!("{} keys and {values} values open, {} do not", found.keys, found.faulty);
        let draft = operator_draft(actor, Kind::Read, "keys verify")
            .field(field::OUTCOME, if found.faulty == 0 { "ok" } else { "faults" })
            .field(field::DETAIL, detail);
        self.record(Log::Host, vec![draft]).await?;
        Ok(found)
    }

    async fn verify_column(
        &self,
        column: &SealedColumn,
        tenant: &str,
        vault: &TenantVault,
        (count, found): (&mut ColumnCount, &mut KeysVerified),
        watch: Watch<'_>,
    ) -> Result<(), StoreError> {
        let (newest, mut after) = (vault.key_id(), None);
        loop {
            let (values, next) = self.store.sealed_values(column, tenant, after.as_ref()).await?;
            for value in &values {
                match prove(column, vault, value) {
                    Ok(key) => {
                        count.values += 1;
                        count.older += u64::from(key != newest);
                    }
                    Err(error) => {
                        found.fault(tenant, (column.table, column.column), value.row.to_string(), error.to_string());
                    }
                }
            }
            watch(Walked { tenant, table: column.table, column: column.column, values: count.values });
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

fn prove(column: &SealedColumn, vault: &TenantVault, value: &SealedValue) -> Result<KeyId, VaultError> {
    match &value.place {
        SealedPlace::Header(header) => prove_content(vault, header, &value.stored),
        SealedPlace::Row(row, version) => {
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            let place = Place { table: column.table, row: &row, column: column.column, version: *version };
            vault.prove(&place, column.form, &value.stored)
        }
    }
}
