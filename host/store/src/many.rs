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
pub(crate) struct Many {
    alone: Sizes,
    /// With a `COMMIT` after it.
    last: Sizes,
    /// With a `BEGIN` before it as well.
    whole: Sizes,
}

type Sizes = [&'static str; SIZES.len()];

/// Such a statement, made at its first use.
pub(crate) type LazyMany = LazyLock<Many>;

impl Many {
    /// `before (?, ?), (?, ?) after`, with as many parameters a row as `columns`.
    pub(crate) fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let sizes = |begin: &str, end: &str| {
            // Made once in the life of the process.
            SIZES.map(|rows| &*format!("{begin}{before}{}{after}{end}", vec![row.as_str(); rows].join(", ")).leak())
        };
        Self { alone: sizes("", ""), last: sizes("", "; COMMIT"), whole: sizes("BEGIN IMMEDIATE; ", "; COMMIT") }
    }
}

/// Which size serves the first of `left` rows, and how many of them it takes.
fn size_for(left: usize) -> (usize, usize) {
    let at = SIZES.iter().position(|size| *size >= left).unwrap_or(SIZES.len() - 1);
    (at, left.min(SIZES[at]))
}

/// Adds the parameters of a row, in order.
type Bind<R> = fn(R, &mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError>;

fn bound<R>(what: &'static str, rows: impl Iterator<Item = R>, bind: Bind<R>) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    for row in rows {
        // Texts, bytes and numbers always have a form.
        bind(row, &mut arguments).map_err(|_| StoreError::damaged(what))?;
    }
    Ok(arguments)
}

impl WriteTx<'_> {
    /// Runs a statement over `rows`.
    pub(crate) async fn run_many<R>(
        &mut self,
        what: &'static str,
        many: &Many,
        mut rows: impl ExactSizeIterator<Item = R>,
        bind: Bind<R>,
    ) -> Result<(), StoreError> {
        while rows.len() > 0 {
            let (size, taken) = size_for(rows.len());
            let values = bound(what, rows.by_ref().take(taken), bind)?;
            self.run(what, sqlx::query_with(many.alone[size], values)).await?;
        }
        Ok(())
    }

    /// Runs a statement over `rows`, and commits.
    pub(crate) async fn commit_many<R>(
        mut self,
        what: &'static str,
        many: &Many,
        mut rows: impl ExactSizeIterator<Item = R>,
        bind: Bind<R>,
    ) -> Result<(), StoreError> {
        if let Some(more) = rows.len().checked_sub(SIZES[SIZES.len() - 1]) {
            self.run_many(what, many, rows.by_ref().take(more), bind).await?;
        }
        if rows.len() == 0 {
            return self.commit().await;
        }
        let (size, _) = size_for(rows.len());
        let statements = if self.has_begun() { &many.last } else { &many.whole };
        self.run_whole(what, sqlx::query_with(statements[size], bound(what, rows, bind)?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_one_statement_until_the_largest() {
        let many = Many::new("x ", 2, " y");
        assert_eq!(many.alone[0], "x (?, ?) y");
        assert_eq!(many.last[1], "x (?, ?), (?, ?) y; COMMIT");
        assert_eq!(many.whole[0], "BEGIN IMMEDIATE; x (?, ?) y; COMMIT");
        for left in 1..=256 {
            let (size, taken) = size_for(left);
            assert_eq!(taken, left);
            assert!(SIZES[size] >= left && SIZES[size] <= 2 * left);
        }
        assert_eq!(size_for(1000), (SIZES.len() - 1, 256));
    }
}
