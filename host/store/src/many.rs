//! Statements about many rows at once.
//!
//! A statement goes to the connection's own thread and back, which costs more than writing a row. So there are statements
//! for a few numbers of rows only, each prepared once, and a batch takes the next larger one and leaves the rest of its
//! parameters null, rather than several that fit.

use std::sync::LazyLock;

use sqlx::sqlite::SqliteArguments;

use crate::{StoreError, WriteTx};

/// Rows of a statement.
const SIZES: [usize; 14] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// One statement in all sizes: its text goes around a list of rows of parameters. It must pass over rows that are null.
pub(crate) struct Many([&'static str; SIZES.len()]);

/// Such a statement, made at its first use.
pub(crate) type LazyMany = LazyLock<Many>;

impl Many {
    /// `before (?, ?), (?, ?) after`, with as many parameters a row as `columns`.
    pub(crate) fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        // Made once in the life of the process.
        Self(SIZES.map(|rows| &*format!("{before}{}{after}", vec![row.as_str(); rows].join(", ")).leak()))
    }

    /// The statement for the first of `left` rows, and how many of them it takes.
    fn of(&self, left: usize) -> (&'static str, usize) {
        let at = SIZES.iter().position(|size| *size >= left).unwrap_or(SIZES.len() - 1);
        (self.0[at], left.min(SIZES[at]))
    }
}

impl WriteTx<'_> {
    /// Runs a statement over `rows`, whose parameters `bind` adds in order.
    pub(crate) async fn run_many<R>(
        &mut self,
        what: &'static str,
        many: &Many,
        mut rows: &[R],
        bind: impl Fn(&R, &mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError>,
    ) -> Result<(), StoreError> {
        while !rows.is_empty() {
            let (sql, taken) = many.of(rows.len());
            let (now, later) = rows.split_at(taken);
            let mut arguments = SqliteArguments::default();
            for row in now {
                // Texts, bytes and numbers always have a form.
                bind(row, &mut arguments).map_err(|_| StoreError::damaged(what))?;
            }
            self.run(what, sqlx::query_with(sql, arguments)).await?;
            rows = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_one_statement_until_the_largest() {
        let many = Many::new("x ", 2, " y");
        assert_eq!(many.of(1), ("x (?, ?) y", 1));
        assert_eq!(many.of(2), ("x (?, ?), (?, ?) y", 2));
        for left in 1..=256 {
            let (sql, taken) = many.of(left);
            assert_eq!(taken, left);
            assert!(sql.matches('?').count() >= 2 * left && sql.matches('?').count() <= 4 * left);
        }
        assert_eq!(many.of(1000).1, 256);
    }
}
