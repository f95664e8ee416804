//! The keys above all content, as far as they can be looked at: with the root key, and without it.

use std::path::Path;

use super::{Finding, Report};
use crate::core::Core;
use crate::host::{Host, HostOptions};
use crate::master_keys::KeyStatus;
use crate::refusal::Refusal;
use crate::root::RootForm;

const ROTATION: &str = "key rotation";

impl Host {
    /// What can be said of a data directory that does not open for want of its root key. The first finding is that one.
    ///
    /// # Errors
    /// When not even that much can be read: no data directory, another process in it, a disk that does not serve.
    pub async fn doctor_sealed(options: &HostOptions) -> Result<Vec<Finding>, Refusal> {
        let status = Self::key_status(options).await?;
        let mut report = Report::default();
        match &status.why {
            Some(why) => report.fail("root key", why.clone(), FIX),
            None => report.ok("root key", format!("{} opens the data", status.expected_root)),
        }
        report.space(&options.data);
        report.rotations(&status);
        report.warn("sealed rows", "not looked at: they do not open without the root key".to_owned(), FIX);
        report.warn("audit log", "not looked at: it does not open without the root key".to_owned(), FIX);
        Ok(report.0)
    }
}

const FIX: &str = "give the root key this directory was made with, from the copy kept apart";

impl Report {
    /// How the file keeps the root key.
    pub(super) fn root_kept(&mut self, core: &Core, file: &Path, told: String) {
        const CHECK: &str = "root key";
        match core.roots.kept(file, &core.vault.root().to_string()) {
            Ok(RootForm::Clear) => self.ok(CHECK, told),
            Ok(RootForm::Closed(by)) => self.ok(CHECK, format!("{told}, closed by {by}")),
            Ok(RootForm::ClearBeside(by)) => {
                let fix = "opsiq keys rotate --root closes the next one by it; destroy copies of the one in use then";
                self.warn(CHECK, format!("{told}, in clear although {by} is there to close it"), fix);
            }
            Err(refusal) => {
                self.fail(CHECK, refusal.message, "the next start needs it: put it back, or reach the token");
            }
        }
    }

    /// Rotations that began and did not end. They are safe to leave and do not end by themselves.
    pub(super) fn rotations(&mut self, status: &KeyStatus) {
        if let Some(to) = &status.rotating_to {
            let detail = format!("from root key {} to {to}: unfinished, both are needed", status.expected_root);
            self.warn(ROTATION, detail, "opsiq keys rotate --root, with both root keys");
        }
        let mut all = 0;
        for tenant in &status.tenants {
            all += tenant.keys.len();
            if tenant.rotating {
                let detail = format!("{}: unfinished, {} keys are live", tenant.tenant, tenant.keys.len());
                self.warn(ROTATION, detail, &format!("opsiq keys rotate --tenant {}", tenant.tenant));
            }
        }
        if status.rotating_to.is_none() && status.tenants.iter().all(|tenant| !tenant.rotating) {
            self.ok(ROTATION, format!("none unfinished; tenants: {}, their keys: {all}", status.tenants.len()));
        }
    }
}
