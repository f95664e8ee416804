//! Stages 3 to 5: which installation and action, whether it is allowed now, and whether the parameters are what the
//! contract takes. What comes out is the exact text that is hashed, shown and run.

use std::sync::Arc;

use opsiq_contract::{
    AuthorityRequest, Authorized, Caller, CanonicalJson, Denial, InvocationId, Limits, MAX_DEPTH, Permission, Schema,
    decide, grant_command,
};
use opsiq_vault::SubjectKey;

use crate::core::Core;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::{Installed, TenantState};

/// A call that may run.
pub(crate) struct Admitted {
    pub(crate) installed: Arc<Installed>,
    pub(crate) authorized: Authorized,
    pub(crate) params: CanonicalJson,
    /// The key of whom the call is about, if its parameters name somebody.
    pub(crate) about: Option<SubjectKey>,
}

/// Who asks for what.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) caller: &'a Arc<Caller>,
    pub(crate) installation: &'a str,
    pub(crate) action: &'a str,
    pub(crate) params: &'a [u8],
    pub(crate) invocation: &'a InvocationId,
}

impl<'a> Asked<'a> {
    /// What stage 4 asks about it.
    pub(crate) fn of(self, installed: &'a Installed) -> AuthorityRequest<'a> {
        let (standing, invocation) = (&installed.standing, self.invocation.clone());
        AuthorityRequest { standing, caller: self.caller, action: self.action, invocation }
    }
}

impl Core {
    /// Passes a call through stages 3 to 5, as everything stands now.
    pub(crate) async fn admit(&self, tenant: &TenantState, asked: Asked<'_>) -> Result<Admitted, Refusal> {
        tenant.lives()?;
        let installed = self.installed(tenant, asked.installation).await?;
        self.not_quarantined(&installed.installation)?;
        let authorized = decide(&asked.of(&installed)).map_err(denied)?;
        keys_are_set(&installed)?;
        let schema = &authorized.action().params;
        let params = checked(schema, authorized.limits(), asked.params)?;
        let about = tenant.subject_of(&self.store, schema, params.value()).await?;
        Ok(Admitted { installed, authorized, params, about })
    }
}

/// A denial by authority, at the stage it belongs to.
pub(crate) fn denied(denial: Denial) -> Refusal {
    match denial.code {
        "action.unknown" => Refusal::new(Class::NotFound, Stage::Resolve, denial.code, denial.message, denial.fix),
        code if code.starts_with("installation.") => Refusal::denied(Stage::Resolve, denial),
        _ => Refusal::denied(Stage::Authority, denial),
    }
}

/// Refuses while a granted key has no value, so that a missing secret shows before a first call and not inside it.
pub(crate) fn keys_are_set(installed: &Installed) -> Result<(), Refusal> {
    let missing = installed.needs_keys();
    let Some(first) = missing.first() else { return Ok(()) };
    let name = &installed.installation.name;
    Err(Refusal::new(
        Class::Denied,
        Stage::Authority,
        "key.missing",
        format!("`{name}` needs {} to be set before any action runs", missing.join(", ")),
        format!(
            "opsiq key set {name} {first}, by an owner or admin; or withhold it: {}",
            grant_command(name, &Permission::Key(first.clone())).replace("--add", "--remove")
        ),
    ))
}

/// Stage 5.
pub(crate) fn checked(schema: &Schema, limits: &Limits, params: &[u8]) -> Result<CanonicalJson, Refusal> {
    if params.len() as u64 > limits.input_bytes {
        return Err(Refusal::new(
            Class::Invalid,
            Stage::Params,
            "params.too-large",
            format!("the parameters have {} bytes; {} are allowed", params.len(), limits.input_bytes),
            "send less, or let the operator raise the ceiling in opsiq.toml",
        ));
    }
    schema.check(params, MAX_DEPTH).map_err(|violations| {
        Refusal::new(
            Class::Invalid,
            Stage::Params,
            "params.invalid",
            "the parameters are not what the action takes",
            "see the action's parameters: opsiq action list",
        )
        .with_faults(violations.into_iter().map(Into::into).collect())
    })
}
