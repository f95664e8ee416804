//! A refusal of the gate, as a command ends with it.

use opsiq_audit::AuditError;
use opsiq_gate::{Class, Refusal};
use serde_json::{Value, json};

use crate::action::used;
use crate::failure::{Exit, Failure, chain};

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match refusal.class {
            Class::Unauthenticated | Class::Denied | Class::Conflict | Class::Limited => Exit::Refused,
            Class::NotFound => Exit::NotFound,
            Class::Invalid => Exit::Invalid,
            Class::Plugin => Exit::Plugin,
            Class::Unavailable | Class::Busy => Exit::Unavailable,
            Class::Tampered => Exit::Tampered,
            _ => Exit::Internal,
        };
        let mut detail = vec![format!("stage: {}", refusal.stage)];
        detail.extend(refusal.faults.iter().map(|fault| {
            let path = if fault.path.is_empty() { "(whole)" } else { &fault.path };
            format!("{path}: {}", fault.message)
        }));
        if let Some(invocation) = &refusal.invocation {
            detail.push(format!("invocation: {invocation}"));
        }
        if let Some(meter) = &refusal.meter {
            detail.push(format!("used: {}", used(meter)));
        }
        if refusal.effect_possible {
            detail.push("An effect outside may have happened: look there before trying again.".to_owned());
        }
        let mut whole = serde_json::to_value(&refusal).ok();
        if let (Some(Value::Object(members)), Some(meter)) = (&mut whole, &refusal.meter) {
            members.insert("meter".to_owned(), json!(meter));
        }
        let title = format!("{}: {}", refusal.title(), refusal.message);
        let retry_after = refusal.retry_after;
        let failure = Self::new(exit, refusal.code, title).detail(detail.join("\n")).fix(refusal.fix).refusal(whole);
        Self { retry_after, ..failure }
    }
}

/// While an export is being read: what was written so far does not verify.
impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let (exit, code) = match error {
            AuditError::Tampered { .. } => (Exit::Tampered, "audit.tampered"),
            AuditError::Vault(ref error) if error.is_tampering() => (Exit::Tampered, "audit.tampered"),
            _ => (Exit::Unavailable, "audit.unavailable"),
        };
        Self::new(exit, code, "the export was broken off").detail(chain(&error)).fix("see opsiq doctor")
    }
}
