//! What a previous process left open.
//!
//! An intent without an outcome means that a call may have had its effect or not: nobody knows any more. It is never
//! retried; it is recorded as interrupted and reported, so that a person can look.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use opsiq_contract::InvocationId;
use opsiq_store::OpenIntentRow;

use crate::content::{self, Content};
use crate::draft::{Draft, field};
use crate::error::AuditError;
use crate::journal::Journal;
use crate::kind::Kind;
use crate::log::Log;
use crate::permit::Call;
use crate::rows;

/// How many are recorded at a time.
const CHUNK: usize = 256;
/// How many of other nodes' are looked at a time.
const LOST: u32 = 1024;
/// What of an intent says who and what, and is repeated where its end is recorded.
const ABOUT: [&str; 6] = [field::ACTOR, field::ROLE, field::IP, field::ACTION, field::INSTALLATION, field::PLUGIN];

/// A call that was in progress when the previous process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptedIntent {
    /// Whose log it is in.
    pub log: Log,
    /// The call.
    pub invocation: InvocationId,
    /// The number of its intent.
    pub seq: u64,
    /// When it began, in milliseconds since 1970; `None` when the entry cannot be read.
    pub time_ms: Option<i64>,
    /// Who and what: `actor`, `role`, `ip`, `action`, `installation`, `plugin`, as far as known.
    pub about: BTreeMap<&'static str, String>,
}

impl Journal {
    /// Records every intent that the previous process left open as interrupted, and says which they were. Intents of this process are
    /// not touched. After an error it can be called again.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`].
    pub async fn recover(&self) -> Result<Vec<InterruptedIntent>, AuditError> {
        let mut rows = self.shared().previous.lock().await;
        let (found, left) = self.end_all(&rows).await?;
        *rows = left;
        Ok(found)
    }

    /// Records intents of nodes that were given up as interrupted, at most so many, and says which they were. Of two nodes that
    /// do so at once, either records each.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`], [`AuditError::Store`].
    pub async fn recover_lost(&self) -> Result<Vec<InterruptedIntent>, AuditError> {
        let rows = self.shared().store.lost_open_intents(LOST).await?;
        Ok(self.end_all(&rows).await?.0)
    }

    /// Which of them ended, and which are left.
    async fn end_all(
        &self,
        rows: &[OpenIntentRow],
    ) -> Result<(Vec<InterruptedIntent>, Vec<OpenIntentRow>), AuditError> {
        // A tenant that is not served is not written to either: its intents stay open, and are recovered once it is.
        let (mut previous, mut left) = (Vec::new(), Vec::new());
        for row in rows {
            let log = Log::from_column(&row.log).ok_or_else(|| AuditError::tampered(row.seq, "its log is none"))?;
            let served = self.shared().vaults.vault(&log).await.is_ok();
            if served { previous.push(row.clone()) } else { left.push(row.clone()) }
        }
        let mut found = Vec::with_capacity(previous.len());
        for chunk in previous.chunks(CHUNK) {
            let ended = chunk.iter().map(|row| async move {
                match self.recover_one(row).await {
                    Ok(intent) => Ok(Ok(intent)),
                    // What waits for it could not be told, which is logged: it stays open, and keeps nobody else waiting.
                    Err(AuditError::Operation(_)) => Ok(Err(row.clone())),
                    Err(error) => Err(error),
                }
            });
            for ended in try_join_all(ended).await? {
                match ended {
                    Ok(intent) => found.push(intent),
                    Err(row) => left.push(row),
                }
            }
        }
        Ok((found, left))
    }

    async fn recover_one(&self, row: &OpenIntentRow) -> Result<InterruptedIntent, AuditError> {
        let log = Log::from_column(&row.log).ok_or_else(|| AuditError::tampered(row.seq, "its log is none"))?;
        let (time_ms, about) = match self.read_intent(&log, row.seq).await {
            Ok(known) => known,
            Err(error @ (AuditError::Store(_) | AuditError::Unavailable(_))) => return Err(error),
            Err(error) => {
                tracing::error!(%log, seq = row.seq, %error, "an open intent cannot be read");
                (None, BTreeMap::new())
            }
        };
        let mut draft = Draft::new(Kind::Interrupted)
            .invocation(row.invocation.clone())
            .field(field::OUTCOME, "interrupted")
            .field(field::DETAIL, format!("the host stopped before the outcome of entry {} was recorded", row.seq));
        for (name, value) in &about {
            draft.set_missing(name, value.clone());
        }
        self.interrupt(Call::previous(log.clone(), row.invocation.clone()), draft).await?;
        Ok(InterruptedIntent { log, invocation: row.invocation.clone(), seq: row.seq, time_ms, about })
    }

    async fn read_intent(
        &self,
        log: &Log,
        seq: u64,
    ) -> Result<(Option<i64>, BTreeMap<&'static str, String>), AuditError> {
        let shared = self.shared();
        let rows = shared.store.audit_at::<Content>(log.column(), &[seq]).await?;
        let row = rows.first().ok_or_else(|| AuditError::tampered(seq, "it is missing"))?;
        let (header, record) = rows::checked(log, row)?;
        let (vault, vaults) = (shared.vaults.vault(log).await?, shared.vaults.as_ref());
        let fields = content::open(log, seq, &record, &row.sealed, &vault, vaults).await?;
        let about = fields.into_iter().filter_map(|field| {
            let name = ABOUT.into_iter().find(|name| *name == field.name)?;
            Some((name, field.kept?.0))
        });
        Ok((Some(header.time_ms), about.collect()))
    }
}
