//! Plugins that were kept from passing on secrets.

use opsiq_audit::{Filter, Kind, Log, field};

use super::Report;
use crate::core::{Core, now_ms};

/// How far back they are told of, in milliseconds: a week.
const TOLD_MS: i64 = 7 * 24 * 3600 * 1000;
/// Calls told of one by one.
const TOLD_MOST: usize = 50;

impl Report {
    /// Calls of the last week in which the value of a key was found where it does not belong.
    pub(super) async fn leaks(&mut self, core: &Core) {
        const CHECK: &str = "leaks";
        let filter = Filter { kind: Some(Kind::Leak), limit: TOLD_MOST, ..Filter::default() };
        let page = match core.journal.list(&Log::Host, &filter).await {
            Ok(page) => page,
            Err(error) => return self.fail(CHECK, format!("{}: {error}", Log::Host), "restore from a backup"),
        };
        let recent: Vec<_> = page.entries.iter().filter(|entry| entry.time_ms >= now_ms() - TOLD_MS).collect();
        if recent.is_empty() {
            return self.ok(CHECK, "none in the last 7 days".to_owned());
        }
        for entry in recent {
            let field = |name| entry.fields.get(name).map(ToString::to_string).unwrap_or_default();
            self.warn(
                CHECK,
                format!("{} {}: {} ({})", field(field::PLUGIN), field(field::ACTION), field(field::DETAIL), field(field::RULE)),
                "nothing left; an owner of the tenant sees which key it was (opsiq audit list --kind leak) and should rotate \
                 it, and the plugin or the system it speaks to gives secrets back",
            );
        }
    }
}
