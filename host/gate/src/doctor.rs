//! What may be wrong with a data directory and its machine, each with the line that fixes it.

mod keys;
mod leaks;
mod names;
mod tenants;
mod upkeep;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use opsiq_audit::export::Range;
use opsiq_audit::{Filter, Format, Kind, Log, field};
use opsiq_contract::show_about;
use opsiq_store::PluginRow;
use serde::Serialize;

use crate::core::{Core, now_ms};
use crate::host::Host;
use crate::refusal::{Refusal, Stage};
use crate::state::TenantState;
use crate::{errors, kv};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingStatus {
    /// As it should be.
    Ok,
    /// Works, but should be looked at.
    Warn,
    /// Broken.
    Fail,
}

/// One check's result.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check's stable name.
    pub check: &'static str,
    /// How it came out.
    pub status: FindingStatus,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when nothing.
    pub fix: String,
}

/// How far back interrupted calls are told of, in milliseconds: a week.
const INTERRUPTED_MS: i64 = 7 * 24 * 3600 * 1000;
/// Interrupted calls told of one by one.
const INTERRUPTED_MOST: usize = 50;
/// Free space below which writing is about to fail, in bytes.
const SPACE_FAIL: u64 = 64 << 20;
/// Free space that should be looked at, in bytes.
const SPACE_WARN: u64 = 1 << 30;

impl Host {
    /// Looks at everything that could be wrong: the root key's file, the machine, free space, each plugin's file, each
    /// sealed row, each log against its tree, and calls that were interrupted. Reads all there is, so it takes its time.
    pub async fn doctor(&self) -> Vec<Finding> {
        let core = self.core();
        let mut report = Report::default();
        report.root_key(core);
        report.checkpoints(core);
        report.space(&core.data);
        match core.key_status().await {
            Ok(status) => report.rotations(&status),
            Err(refusal) => report.fail("key rotation", refusal.message, "repair the disk or restore from a backup"),
        }
        report.backups(core).await;
        report.retention(core).await;
        report.engine(core).await;
        report.plugins(core).await;
        report.ceiling_names(core).await;
        report.fairness_names(core).await;
        for tenant in core.tenants.all() {
            let found = rows_open(core, &tenant).await;
            report.note("sealed rows", tenant.id.as_str(), found);
        }
        for (tenant, why) in &core.locked_out {
            report.fail("tenant keys", format!("{tenant}: {why}"), "restore keys.db from a backup");
        }
        report.ended_tenants(core).await;
        let logs = core.tenants.all().into_iter().map(|tenant| Log::Tenant(tenant.id.clone()));
        for log in std::iter::once(Log::Host).chain(logs) {
            let found = whole(core, &log).await;
            report.note("audit log", &log.to_string(), found);
            report.interrupted(core, &log).await;
        }
        if !report.0.iter().any(|finding| finding.check == "interrupted calls") {
            report.ok("interrupted calls", "none in the last 7 days".to_owned());
        }
        report.leaks(core).await;
        report.0
    }
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, check: &'static str, detail: String) {
        self.0.push(Finding { check, status: FindingStatus::Ok, detail, fix: String::new() });
    }

    fn warn(&mut self, check: &'static str, detail: String, fix: &str) {
        self.0.push(Finding { check, status: FindingStatus::Warn, detail, fix: fix.to_owned() });
    }

    fn fail(&mut self, check: &'static str, detail: String, fix: &str) {
        self.0.push(Finding { check, status: FindingStatus::Fail, detail, fix: fix.to_owned() });
    }

    fn note(&mut self, check: &'static str, what: &str, found: Result<String, Refusal>) {
        match found {
            Ok(detail) => self.ok(check, format!("{what}: {detail}")),
            Err(refusal) => {
                self.fail(check, format!("{what}: {} ({})", refusal.message, refusal.code), "restore from a backup");
            }
        }
    }

    fn root_key(&mut self, core: &Core) {
        const CHECK: &str = "root key";
        let Some(file) = &core.root_file else {
            return self.ok(CHECK, "given as text, kept in no file here".to_owned());
        };
        let mode = std::fs::metadata(file).map(|data| data.permissions().mode() & 0o777);
        match mode {
            Ok(mode) if mode & 0o077 != 0 => {
                let fix = format!("chmod 600 {}", file.display());
                self.fail(CHECK, format!("{} has mode {mode:o}: others may read it", file.display()), &fix);
            }
            Ok(_) if file.starts_with(&core.data) && !core.roots.are_closed() => self.warn(
                CHECK,
                format!("{} lies in the data directory, so a copy of the directory holds key and data", file.display()),
                "keep it elsewhere and name it at start, or give it in the environment; and keep a copy apart from the backups",
            ),
            Ok(mode) => self.root_kept(core, file, format!("{} has mode {mode:o}", file.display())),
            Err(error) => self.warn(
                CHECK,
                format!("{} cannot be looked at: {}", file.display(), error.kind()),
                "the next start needs it: put it back",
            ),
        }
    }

    fn checkpoints(&mut self, core: &Core) {
        const ROWS: &str = "last signed";
        const FILE: &str = "checkpoint file";
        for (log, told) in &core.rolled_back {
            for why in told {
                let fix = "restore the newest database; if an older one was put back on purpose: \
                           opsiq accept-restore --reason TEXT";
                self.fail(ROWS, format!("{log}: {why}"), fix);
            }
        }
        if core.rolled_back.is_empty() {
            self.ok(ROWS, "rows and logs are those last signed".to_owned());
        }
        let file = core.checkpoints.display();
        if core.checkpoints.starts_with(core.data.canonicalize().as_deref().unwrap_or(&core.data)) {
            let told = format!("{file} lies in the data directory, so a copy of it that is put back brings its own");
            self.warn(FILE, told, "name another place in opsiq.toml: [audit] checkpoints");
        } else {
            self.ok(FILE, format!("{file}"));
        }
    }

    fn space(&mut self, data: &Path) {
        const CHECK: &str = "disk space";
        const FIX: &str = "free some space: without it nothing with an effect runs";
        let free = rustix::fs::statvfs(data).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        match free {
            Ok(free) if free < SPACE_FAIL => self.fail(CHECK, format!("{} free", show_about(free)), FIX),
            Ok(free) if free < SPACE_WARN => self.warn(CHECK, format!("{} free", show_about(free)), FIX),
            Ok(free) => self.ok(CHECK, format!("{} free", show_about(free))),
            Err(error) => self.warn(CHECK, format!("unknown: {error}"), "look at the file system"),
        }
    }

    async fn engine(&mut self, core: &Core) {
        const CHECK: &str = "engine";
        match core.engine().await {
            Ok(engine) => {
                let notes = engine.sandbox.notes();
                if notes.is_empty() {
                    self.ok(CHECK, "this machine offers all it uses".to_owned());
                }
                for note in notes {
                    self.warn(CHECK, note, "works as it is, slower or smaller");
                }
            }
            Err(refusal) => self.fail(CHECK, refusal.message, "without it no plugin runs"),
        }
    }

    async fn plugins(&mut self, core: &Core) {
        const CHECK: &str = "plugin files";
        let rows = match core.store.plugins().await {
            Ok(rows) => rows,
            Err(error) => return self.fail(CHECK, error.to_string(), "repair the disk or restore from a backup"),
        };
        for row in &rows {
            if let Err(refusal) = core.blob(&row.digest).await {
                let fix = "register the plugin's file again, or restore from a backup";
                self.fail(CHECK, format!("{}: {}", row.plugin, refusal.message), fix);
            }
        }
        self.ok(CHECK, format!("{} looked at", rows.len()));
        self.compiled(core, &rows).await;
    }

    async fn compiled(&mut self, core: &Core, rows: &[PluginRow]) {
        const CHECK: &str = "compiled code";
        // Without an engine there is a finding of its own.
        let Ok(engine) = core.engine().await else { return };
        for row in rows {
            let told = match engine.sandbox.refused_code(&row.digest) {
                Ok(None) => continue,
                Ok(Some(why)) => format!("{} is not run as it lies there: {why}", row.plugin),
                Err(error) => error.to_string(),
            };
            self.warn(
                CHECK,
                told,
                "nothing: the next call compiles it anew; find out who changed it, if it was not an update",
            );
        }
    }

    async fn interrupted(&mut self, core: &Core, log: &Log) {
        const CHECK: &str = "interrupted calls";
        let filter = Filter { kind: Some(Kind::Interrupted), limit: INTERRUPTED_MOST, ..Filter::default() };
        let page = match core.journal.list(log, &filter).await {
            Ok(page) => page,
            Err(error) => return self.fail(CHECK, format!("{log}: {error}"), "restore from a backup"),
        };
        for entry in page.entries.iter().filter(|entry| entry.time_ms >= now_ms() - INTERRUPTED_MS) {
            let field = |name| entry.fields.get(name).map(ToString::to_string).unwrap_or_default();
            let invocation = entry.invocation.as_ref().map(ToString::to_string).unwrap_or_default();
            let (installation, action) = (field(field::INSTALLATION), field(field::ACTION));
            self.warn(
                CHECK,
                format!("{log}: {installation}.{action} by {}, invocation {invocation}", field(field::ACTOR)),
                "look in the outside system whether it took effect; it is never run again by itself",
            );
        }
    }
}

/// Opens every sealed row of a tenant but its log's; answers how many.
async fn rows_open(core: &Core, tenant: &TenantState) -> Result<String, Refusal> {
    core.record_of(tenant).await?;
    let users = core.users_of(tenant).await?.len();
    let installed = core.all_installed(tenant).await?;
    let mut kept = 0;
    for installed in &installed {
        core.key_rows(tenant, &installed.installation.id).await?;
        kept += kv::all_open(core, tenant, &installed.installation.id).await?;
    }
    let confirmations = core.confirmations(tenant, u32::MAX).await?.len();
    let installations = installed.len();
    Ok(format!(
        "{users} users, {installations} installations with their keys, {confirmations} confirmations, {kept} kv entries"
    ))
}

/// Reads a whole log as an owner's export would, which holds every entry against its leaf and the tree.
async fn whole(core: &Core, log: &Log) -> Result<String, Refusal> {
    let failed = |error| errors::audit(Stage::Admin, &error);
    let export = core.journal.export(log, Format::Jsonl, &Range::ALL).await.map_err(failed)?;
    let entries = export.write(&mut std::io::sink()).await.map_err(failed)?;
    Ok(format!("{entries} entries, each in its place"))
}
