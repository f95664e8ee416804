//! Tenants that end: a window that is over, and logs whose content nobody can read any more.

use opsiq_audit::Log;

use super::Report;
use crate::core::{Core, now_ms};
use crate::ending::day;
use crate::errors;
use crate::refusal::Stage;

impl Report {
    /// Cancelled and erased tenants. Both are lawful; what remains of an erased one is the tree of its log.
    pub(super) async fn ended_tenants(&mut self, core: &Core) {
        for tenant in core.tenants.all() {
            let id = &tenant.id;
            match tenant.cancelled() {
                Some(until_ms) if until_ms <= now_ms() => self.warn(
                    "cancelled tenant",
                    format!("{id}: its window ended on {}, and its keys still exist", day(until_ms)),
                    &format!("opsiq tenant erase {id} --confirm {id}"),
                ),
                Some(until_ms) => self.ok("cancelled tenant", format!("{id}: export window until {}", day(until_ms))),
                None => {}
            }
        }
        for (id, erased) in core.tenants.all_erased() {
            let checked = core.journal.check_tree(&Log::Tenant(id.clone())).await;
            let found = checked.map_err(|error| errors::audit(Stage::Admin, &error));
            let told = |entries| format!("its log has {entries} entries, each in its place, and nobody can read them");
            let message = erased.refusal(&id, Stage::Admin).message;
            self.note("erased tenant", &message, found.map(told));
        }
    }
}
