//! Opening everything: each wrapped key, and each sealed value in its place. Plaintext is wiped as soon as it proved right.

use opsiq_audit::{Kind, Log, field, prove_apart, prove_content};
use opsiq_store::{SEALED_COLUMNS, SealedColumn, SealedPlace, SealedValue, StoreError};
use opsiq_vault::{Apart, KeyId, Place, Sealed, SubjectKey, TenantVault, VaultError};
use serde::Serialize;

use super::{Walked, Watch};
use crate::act::operator_draft;
use crate::actor::Actor;
use crate::core::Core;
use crate::docs::{ConfirmationDoc, Kept, StoredEnd, Told, answer_place};
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::root::RootForm;
use crate::state::TenantState;

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
    /// How its file keeps it: in clear, or closed by which key of which token. It was opened once more.
    pub root_kept: String,
    /// Wrapped keys of tenants that open.
    pub keys: u64,
    /// Values that open, by column.
    pub columns: Vec<ColumnCount>,
    /// How many of these hold something about a data subject who was erased, which opens no more.
    pub erased: u64,
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
            root_kept: "given as text".to_owned(),
            keys: 0,
            columns: Vec::new(),
            erased: 0,
            faults: Vec::new(),
            faulty: 0,
        };
        if let Some(file) = &self.root_file {
            match self.roots.kept(file, &found.root) {
                Ok(RootForm::Clear) => "in clear".clone_into(&mut found.root_kept),
                Ok(RootForm::Closed(by)) => found.root_kept = format!("closed by {by}"),
                Ok(RootForm::ClearBeside(by)) => found.root_kept = format!("in clear, although {by} is there"),
                Err(refusal) => {
                    found.fault("", ("root_key", "file"), file.display().to_string(), refusal.message);
                }
            }
        }
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
            for tenant in [None].into_iter().chain(tenants.iter().map(|tenant| Some(tenant.as_ref()))) {
                self.verify_column(column, tenant, (&mut count, &mut found), watch).await.map_err(failed)?;
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
        tenant: Option<&TenantState>,
        (count, found): (&mut ColumnCount, &mut KeysVerified),
        watch: Watch<'_>,
    ) -> Result<(), StoreError> {
        let (id, vault) = match tenant {
            Some(tenant) => (tenant.id.as_str(), tenant.vault.clone()),
            None => ("", self.vault.host()),
        };
        let (newest, mut after) = (vault.key_id(), None);
        loop {
            let (values, next) = self.store.sealed_values(column, id, after.as_ref()).await?;
            for value in &values {
                let proven = match prove(column, &vault, value) {
                    Ok((key, parts)) => self.prove_parts(tenant, parts).await.map(|erased| (key, erased)),
                    Err(error) => Err(error.to_string()),
                };
                match proven {
                    Ok((key, erased)) => {
                        count.values += 1;
                        count.older += u64::from(key != newest);
                        found.erased += erased;
                    }
                    Err(why) => found.fault(id, (column.table, column.column), value.row.to_string(), why),
                }
            }
            watch(Walked { tenant: id, table: column.table, column: column.column, values: count.values });
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Opens what a value holds about data subjects; how many parts are of erased ones.
    async fn prove_parts(&self, tenant: Option<&TenantState>, parts: Vec<Part<'_>>) -> Result<u64, String> {
        let mut erased = 0;
        for part in parts {
            let (Some(tenant), Some(key)) = (tenant, part.key) else {
                return Err("a part about a data subject names no key of one".to_owned());
            };
            match tenant.subject_by_id(&self.store, key).await.map_err(|refusal| refusal.message)? {
                Some(key) => (part.opens)(&key).map_err(|error| error.to_string())?,
                None => erased += 1,
            }
        }
        Ok(erased)
    }
}

/// What a value holds about a data subject.
struct Part<'a> {
    key: Option<KeyId>,
    opens: Opens<'a>,
}

/// Opens a part and throws its content away.
type Opens<'a> = Box<dyn Fn(&SubjectKey) -> Result<(), VaultError> + Send + 'a>;

/// Proves a value, and names its parts about data subjects, which are under keys of their own.
fn prove<'a>(
    column: &SealedColumn,
    vault: &TenantVault,
    value: &'a SealedValue,
) -> Result<(KeyId, Vec<Part<'a>>), VaultError> {
    let (row, version) = match &value.place {
        SealedPlace::Header(header) => {
            let (key, parts) = prove_content(vault, header, &value.stored)?;
            let part = |apart: Apart<_>| Part {
                key: apart.key_id(),
                opens: Box::new(move |key| prove_apart(header, &apart, key)),
            };
            return Ok((key, parts.into_iter().map(part).collect()));
        }
        SealedPlace::Row(row, version) => (row, *version),
    };
    let names: Vec<&str> = row.iter().map(String::as_str).collect();
    let place = Place { table: column.table, row: &names, column: column.column, version };
    let key = vault.prove(&place, column.form, &value.stored)?;
    let stored = value.stored.clone();
    let parts = match column.table {
        "confirmation" => match vault.open(&place, &Sealed::<ConfirmationDoc>::from_stored(stored))?.request.told {
            Kept::Apart { apart } => {
                let key = apart.key_id();
                let opens = move |key: &SubjectKey| {
                    let names: Vec<&str> = row.iter().map(String::as_str).collect();
                    key.open(&Told::place(&names), &apart).map(drop)
                };
                vec![Part { key, opens: Box::new(opens) }]
            }
            Kept::Here(_) => Vec::new(),
        },
        "idempotency" => match vault.open(&place, &Sealed::<StoredEnd>::from_stored(stored))? {
            StoredEnd::About(apart) => {
                let key = apart.key_id();
                let opens = move |key: &SubjectKey| {
                    let names: Vec<&str> = row.iter().map(String::as_str).collect();
                    key.open(&answer_place(&names), &apart).map(drop)
                };
                vec![Part { key, opens: Box::new(opens) }]
            }
            StoredEnd::Done(_) | StoredEnd::Failed(_) | StoredEnd::Reply(_) => Vec::new(),
        },
        _ => Vec::new(),
    };
    Ok((key, parts))
}
