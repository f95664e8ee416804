//! What is done beside calls: backups and their keys, and seeing to audit entries past their term.

use opsiq_audit::{Filter, Kind, Log, field};

use super::Report;
use crate::backup;
use crate::core::{Core, now_ms};
use crate::ending::day;
use crate::epochs::{Keeper, LIFE_MS, Ring};
use crate::retention::{JOB, STEADY_MS};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// A backup older than this should be followed by another.
const BACKUP_MS: i64 = 7 * DAY_MS;
/// Entries about backups that are looked at.
const LOOKED_AT: usize = 50;
/// A job that is due every hour and did not run for so long is stuck.
const STUCK_MS: i64 = DAY_MS;

impl Report {
    /// When the last backup was made, and whether it opens.
    pub(super) async fn backups(&mut self, core: &Core) {
        const CHECK: &str = "backup";
        const FIX: &str = "opsiq backup FILE, on another machine's disk or to be copied there";
        let ring = Ring::load(&core.epochs_file(), &Keeper::Vault(&core.vault));
        let filter = Filter {
            kind: Some(Kind::Admin),
            action: Some(backup::ACT.to_owned()),
            limit: LOOKED_AT,
            ..Filter::default()
        };
        let page = match core.journal.list(&Log::Host, &filter).await {
            Ok(page) => page,
            Err(error) => return self.fail(CHECK, format!("{}: {error}", Log::Host), "restore from a backup"),
        };
        let outcome = |entry: &opsiq_audit::View| entry.fields.get(field::OUTCOME).map(ToString::to_string);
        let last = page.entries.iter().find(|entry| outcome(entry).as_deref() == Some("ok"));
        match last {
            None => self.warn(CHECK, "none was made of what is here".to_owned(), FIX),
            Some(last) => {
                let (age, at) = (now_ms() - last.time_ms, day(last.time_ms));
                if age > LIFE_MS {
                    self.fail(CHECK, format!("the last was made on {at}: nothing opens it any more"), FIX);
                } else if age > BACKUP_MS {
                    self.warn(CHECK, format!("the last was made on {at}, {} days ago", age / DAY_MS), FIX);
                } else {
                    self.ok(CHECK, format!("the last was made on {at}"));
                }
            }
        }
        self.epochs(core, ring, last.is_some());
    }

    fn epochs(&mut self, core: &Core, ring: Result<Ring, crate::refusal::Refusal>, made: bool) {
        const CHECK: &str = "epoch keys";
        let file = core.epochs_file();
        match ring {
            Err(refusal) => self.fail(CHECK, refusal.message, &refusal.fix),
            Ok(ring) => match (ring.epochs.first(), ring.epochs.last()) {
                (Some(oldest), Some(newest)) => {
                    let (oldest, newest) = (oldest.began_ms, newest.began_ms);
                    let told = format!(
                        "{} in {}, the newest of {}; the oldest is destroyed on {}",
                        ring.epochs.len(),
                        file.display(),
                        day(newest),
                        day(oldest + LIFE_MS)
                    );
                    if now_ms() - oldest > LIFE_MS + DAY_MS {
                        self.fail(CHECK, told, "let the host run: it destroys a key when its time is up");
                    } else {
                        self.ok(CHECK, told);
                    }
                }
                _ if made => self.warn(
                    CHECK,
                    format!("{} holds none, so no backup opens", file.display()),
                    "put its newest copy back, or make a new backup",
                ),
                _ => self.ok(CHECK, "none before the first backup".to_owned()),
            },
        }
    }

    /// When audit entries past their term were last seen to, and whether the clock is trusted for that.
    pub(super) async fn retention(&mut self, core: &Core) {
        const CHECK: &str = "audit retention";
        let state = match core.store.job(JOB).await {
            Ok(state) => state,
            Err(error) => return self.fail(CHECK, error.to_string(), "repair the disk or restore from a backup"),
        };
        let Some(state) = state else {
            return self.ok(CHECK, "not looked at yet: opsiq serve does so every hour".to_owned());
        };
        let steady = state.looked_ms - state.steady_ms;
        if now_ms() - state.looked_ms > STUCK_MS {
            let told = format!("last looked at on {}", day(state.looked_ms));
            self.warn(CHECK, told, "let the host run: opsiq serve; or opsiq audit retention run");
        } else if steady < STEADY_MS {
            let told = format!(
                "nothing goes before {}: the clock jumped, or was first seen, on {}",
                day(state.steady_ms + STEADY_MS),
                day(state.steady_ms)
            );
            self.ok(CHECK, told);
        } else {
            self.ok(CHECK, format!("last seen to on {}", day(state.ran_ms)));
        }
    }
}
