//! Where a sealed value stands. The place is authenticated with the value, so a value moved to another tenant, table,
//! row, column or version does not open.

use crate::VaultError;
use crate::error::Tampering;

/// The place of one sealed value. The tenant is the vault's own, so a caller cannot name a wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table.
    pub table: &'static str,
    /// The primary key without the tenant, part by part.
    pub row: &'a [&'a str],
    /// The column.
    pub column: &'static str,
    /// The row's version where it has one, else 0. An older version put back beside a newer number does not open.
    pub version: u64,
}

impl Place<'_> {
    /// Additional data: `domain`, the tenant and this place, every part preceded by its length as four big-endian bytes
    /// and the row by its number of parts, so that no two places share an encoding.
    pub(crate) fn additional_data(&self, domain: &str, tenant: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        push(&mut out, domain.as_bytes());
        push(&mut out, tenant.as_bytes());
        push(&mut out, self.table.as_bytes());
        out.extend_from_slice(&length(self.row.len()));
        for part in self.row {
            push(&mut out, part.as_bytes());
        }
        push(&mut out, self.column.as_bytes());
        push(&mut out, &self.version.to_be_bytes());
        out
    }

    /// The error for a value that does not open here.
    pub(crate) fn tampered(&self, why: Tampering) -> VaultError {
        VaultError::Tampered { table: self.table, column: self.column, why }
    }

    /// The error for a value of another form than asked for.
    pub(crate) fn form(&self) -> VaultError {
        VaultError::Form { table: self.table, column: self.column }
    }
}

/// `parts`, each preceded by its length as four big-endian bytes.
pub(crate) fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 4).sum());
    for part in parts {
        push(&mut out, part);
    }
    out
}

fn push(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&length(part.len()));
    out.extend_from_slice(part);
}

/// A length as four big-endian bytes. Names and keys are far below 4 GiB; a longer one is a bug, never an input.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("parts of a place are shorter than 4 GiB").to_be_bytes()
}
