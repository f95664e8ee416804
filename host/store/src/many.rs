//! Statements about many rows at once.
//!
//! For `SQLite` a statement goes to the connection's own thread and back, which costs more than writing a row. So there are
//! statements for a few numbers of rows only, each prepared once, and a batch takes the next larger one and leaves the rest of
//! its parameters null, rather than several that fit. `PostgreSQL` takes a list for each column, so one statement serves every
//! number.

use std::sync::LazyLock;

use sqlx::error::BoxDynError;

use crate::db::{Dialect, Kind, Query, Rows, query};
use crate::{StoreError, WriteTx};

/// Rows of a statement.
const SIZES: [usize; 14] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// One statement in all sizes: its text goes around a list of rows, whose columns are called `column1` and so on. It must pass
/// over rows that are null.
pub(crate) struct Many {
    alone: Sizes,
    /// With a `COMMIT` after it.
    last: Sizes,
    /// With a `BEGIN` before it as well.
    whole: Sizes,
    kinds: &'static [Kind],
    lists: &'static str,
}

type Sizes = [&'static str; SIZES.len()];

/// Such a statement, made at its first use.
pub(crate) type LazyMany = LazyLock<Many>;

impl Many {
    /// `before VALUES (?, ?), (?, ?) after`, with columns of these kinds.
    pub(crate) fn new(before: &str, kinds: &'static [Kind], after: &str) -> Self {
        let row = format!("({})", vec!["?"; kinds.len()].join(", "));
        let sizes = |begin: &str, end: &str| {
            // Made once in the life of the process.
            SIZES.map(|rows| {
                &*format!("{begin}{before}VALUES {}{after}{end}", vec![row.as_str(); rows].join(", ")).leak()
            })
        };
        let marks: Vec<_> = kinds.iter().zip(1..).map(|(kind, at)| format!("${at}::{}", kind.list())).collect();
        let names: Vec<_> = (1..=kinds.len()).map(|at| format!("column{at}")).collect();
        let source = format!("SELECT * FROM UNNEST({}) AS list ({})", marks.join(", "), names.join(", "));
        Self {
            alone: sizes("", ""),
            last: sizes("", "; COMMIT"),
            whole: sizes("BEGIN IMMEDIATE; ", "; COMMIT"),
            kinds,
            lists: format!("{before}{source}{after}").leak(),
        }
    }
}

/// Which size serves the first of `left` rows, and how many of them it takes.
fn size_for(left: usize) -> (usize, usize) {
    let at = SIZES.iter().position(|size| *size >= left).unwrap_or(SIZES.len() - 1);
    (at, left.min(SIZES[at]))
}

/// Adds the values of a row, in order.
type Bind<R> = fn(R, &mut Rows) -> Result<(), BoxDynError>;

fn bound<R>(
    what: &'static str,
    text: &'static str,
    mut values: Rows,
    rows: impl Iterator<Item = R>,
    bind: Bind<R>,
) -> Result<Query<'static>, StoreError> {
    for row in rows {
        // Texts, bytes and numbers always have a form.
        bind(row, &mut values).map_err(|_| StoreError::damaged(what))?;
    }
    Ok(query(text).with(values))
}

impl WriteTx<'_> {
    /// Runs a statement over `rows`; answers how many rows it changed.
    pub(crate) async fn run_many<R>(
        &mut self,
        what: &'static str,
        many: &Many,
        mut rows: impl ExactSizeIterator<Item = R>,
        bind: Bind<R>,
    ) -> Result<u64, StoreError> {
        let mut changed = 0;
        while rows.len() > 0 {
            let query = match self.dialect() {
                Dialect::Sqlite => {
                    let (size, taken) = size_for(rows.len());
                    bound(what, many.alone[size], Rows::for_sqlite(), rows.by_ref().take(taken), bind)?
                }
                Dialect::Postgres => bound(what, many.lists, Rows::for_postgres(many.kinds), rows.by_ref(), bind)?,
            };
            changed += self.run(what, query).await?;
        }
        Ok(changed)
    }

    /// Runs a statement over `rows`, and commits.
    pub(crate) async fn commit_many<R>(
        mut self,
        what: &'static str,
        many: &Many,
        mut rows: impl ExactSizeIterator<Item = R>,
        bind: Bind<R>,
    ) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgres {
            self.run_many(what, many, rows, bind).await?;
            return self.commit().await;
        }
        if let Some(more) = rows.len().checked_sub(SIZES[SIZES.len() - 1]) {
            self.run_many(what, many, rows.by_ref().take(more), bind).await?;
        }
        if rows.len() == 0 {
            return self.commit().await;
        }
        let (size, _) = size_for(rows.len());
        let statements = if self.has_begun() { &many.last } else { &many.whole };
        self.run_whole(what, bound(what, statements[size], Rows::for_sqlite(), rows, bind)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_one_statement_until_the_largest() {
        let many = Many::new("x ", &[Kind::Text, Kind::Number], " y");
        assert_eq!(many.alone[0], "x VALUES (?, ?) y");
        assert_eq!(many.last[1], "x VALUES (?, ?), (?, ?) y; COMMIT");
        assert_eq!(many.whole[0], "BEGIN IMMEDIATE; x VALUES (?, ?) y; COMMIT");
        let lists = "x SELECT * FROM UNNEST($1::text[], $2::bigint[]) AS list (column1, column2) y";
        assert_eq!(many.lists, lists);
        for left in 1..=256 {
            let (size, taken) = size_for(left);
            assert_eq!(taken, left);
            assert!(SIZES[size] >= left && SIZES[size] <= 2 * left);
        }
        assert_eq!(size_for(1000), (SIZES.len() - 1, 256));
    }
}
