//! A call without its effects: the same stages, told one by one, and the same sandbox, in which nothing leads anywhere.
//!
//! [`Rig`] does it for a plugin that no host knows, so that its author needs none; [`Host::dry_run`] for an installed one,
//! by whoever may call it. Neither opens a secret, reads what the installation has stored, claims an idempotency key,
//! leaves an intent or an outcome: there is nothing for the log to hold, as with [`Host::explain`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opsiq_contract::{
    AuthorityRequest, Caller, Ceiling, Contract, Denial, Digest, Effect, Grant, InstallState, Installation,
    InvocationId, Permission, Principal, PrivateTarget, Role, Standing, component,
};
use opsiq_egress::{EgressGrant, HttpRecord, Upstream};
use opsiq_sandbox::{
    Event, KeySet, LogLine, MemoryKv, Meter, Moment, Plugin, Rehearsal, RunError, Sandbox, SandboxConfig,
};
use opsiq_vault::{KeyName, LeakGuard, LeakWatch, Secret};
use serde_json::Value;

use crate::actor::Actor;
use crate::catalogue::{inadmissible, not_loaded};
use crate::core::new_invocation;
use crate::errors;
use crate::explain::{Decided, ExplainStep, Told};
use crate::host::Host;
use crate::installations::{checked_config, not_granted};
use crate::invoke::Call;
use crate::outcome;
use crate::refusal::{Class, Refusal, Stage};
use crate::stages::{Asked, keys_are_set};

/// Calls a rig runs at once, with room for components of several memories.
const SLOTS: u32 = 16;
/// Longest that compiling the author's own plugin may take.
const COMPILE: Duration = Duration::from_mins(10);
/// Of every rehearsed call of a rig.
const INVOCATION: &str = "00000000-0000-7000-8000-000000000001";
/// The installation of a rig.
const INSTALLATION: &str = "00000000-0000-4000-8000-000000000001";

/// What stands in for the secret of a key: obviously none, and the same every time.
pub fn stand_in(key: &str) -> String {
    format!("stand-in-for-{key}-no-secret")
}

/// What a rehearsal is given in place of what it does not have.
pub struct Props {
    /// What stands in for everything outside.
    pub upstream: Arc<dyn Upstream>,
    /// What stands in for the installation's storage.
    pub kv: Arc<MemoryKv>,
    /// What stands in for clock and chance.
    pub moment: Moment,
    /// What the plugin passes upstream in a write.
    pub idempotency_key: String,
    /// What stands in for secrets, by the names of the keys; for those not named, [`stand_in`].
    pub keys: BTreeMap<String, Secret>,
}

/// The call that is rehearsed, by somebody of a tenant who installed the plugin.
#[derive(Debug, Clone)]
pub struct Part {
    /// The action.
    pub action: String,
    /// The parameters: a JSON text.
    pub params: Vec<u8>,
    /// The config, an object.
    pub config: Value,
    /// What the tenant does not grant; everything else is granted.
    pub without: Vec<Permission>,
    /// The caller's role; the first that the contract lets call the action when absent.
    pub role: Option<Role>,
    /// Private destinations the operator opened.
    pub private_targets: Vec<PrivateTarget>,
}

/// What became of a rehearsal.
#[derive(Debug)]
pub struct Played {
    /// The contract of the plugin, once it is known which one that is.
    pub contract: Option<Arc<Contract>>,
    /// What each stage decided, up to the one that refused.
    pub steps: Vec<ExplainStep>,
    /// The result as canonical JSON, or why there is none.
    pub end: Result<String, Refusal>,
    /// The result as it may be shown: fields marked secret or pii are redacted.
    pub shown: Option<Value>,
    /// How the plugin itself ended, when it did without a result.
    pub failure: Option<RunError>,
    /// What it used.
    pub meter: Meter,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// The events it would have recorded, in order.
    pub events: Vec<Event>,
    /// What it was refused, in order.
    pub denials: Vec<Denial>,
    /// What it asked for over HTTP, in order.
    pub http: Vec<HttpRecord>,
}

impl Played {
    /// A call that a stage before the run refused.
    fn refused(mut told: Told, refusal: Refusal) -> Self {
        told.refuse(&refusal);
        Self {
            contract: None,
            steps: told.0,
            end: Err(refusal),
            shown: None,
            failure: None,
            meter: Meter::default(),
            logs: Vec::new(),
            events: Vec::new(),
            denials: Vec::new(),
            http: Vec::new(),
        }
    }
}

/// A plugin in a sandbox of its own, and no host around it.
pub struct Rig {
    sandbox: Sandbox,
    plugin: Arc<Plugin>,
    contract: Arc<Contract>,
}

impl Rig {
    /// Admits and compiles a component of any size. Fuel is counted in it, which is the same in every run.
    ///
    /// # Errors
    /// The component would not be registered, or does not compile.
    pub async fn load(bytes: Vec<u8>) -> Result<Self, Refusal> {
        let admitted = component::admit_within(&bytes, bytes.len() as u64);
        let admitted = admitted.map_err(|problems| inadmissible(&problems))?;
        let (digest, contract) = (admitted.digest, Arc::new(admitted.contract));
        let config = SandboxConfig {
            slots: SLOTS,
            component_bytes: bytes.len(),
            compile_time: COMPILE,
            always_fuel: true,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config).map_err(|error| {
            Refusal::new(Class::Unavailable, Stage::Run, "engine.unavailable", error.to_string(), "see opsiq doctor")
        })?;
        let plugin = sandbox.load(&digest, &contract, move || Ok::<_, String>(bytes)).await;
        Ok(Self { plugin: plugin.map_err(|error| not_loaded(&error))?, sandbox, contract })
    }

    /// The contract of the plugin.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// The digest of its component.
    pub fn digest(&self) -> &Digest {
        self.plugin.digest()
    }

    /// Rehearses one call as if the plugin was installed with that config and grant, and, where a person is asked first,
    /// had been approved.
    ///
    /// # Errors
    /// The config or what is withheld does not fit the contract. Refusals of the call itself are how it ends.
    pub async fn play(&self, part: &Part, props: Props) -> Result<Played, Refusal> {
        let mut told = Told::default();
        match self.decide(part, &mut told)? {
            Ok(decided) => Ok(played(&self.sandbox, &self.plugin, &self.contract, told, decided, props).await),
            Err(refusal) => Ok(Played::refused(told, refusal)),
        }
    }

    /// What a call may ask of the network.
    ///
    /// # Errors
    /// The call is refused, or what surrounds it does not fit the contract.
    pub fn egress(&self, part: &Part) -> Result<EgressGrant, Refusal> {
        Ok(EgressGrant::of(&self.decide(part, &mut Told::default())??.authorized))
    }

    /// The outer error is of what surrounds the call, the inner one refuses it.
    fn decide(&self, part: &Part, told: &mut Told) -> Result<Result<Decided, Refusal>, Refusal> {
        let contract = &self.contract;
        let config = checked_config(contract, &part.config)?;
        let mut grant = Grant::all(contract, *self.digest(), &config).map_err(|error| not_granted(&error))?;
        for permission in &part.without {
            grant.remove(contract, permission).map_err(|error| not_granted(&error))?;
        }
        let installation = Installation {
            tenant: fixed("rehearsal")?,
            id: fixed(INSTALLATION)?,
            name: contract.plugin.id.clone(),
            plugin: contract.plugin_ref(),
            digest: *self.digest(),
            state: InstallState::Enabled,
            revision: 1,
            grant,
            config,
        };
        // The operator is taken to allow the limits that the contract asks for.
        let ceiling = Ceiling {
            limits: contract.limits.clone(),
            private_targets: part.private_targets.clone(),
            ..Ceiling::default()
        };
        let standing = Arc::new(Standing::new(Arc::new(installation), contract.clone(), Arc::new(ceiling)));
        let may = contract.action(&part.action).and_then(|action| action.roles.first().copied());
        let caller = Caller {
            principal: Principal::User { name: "author".to_owned() },
            role: part.role.or(may).unwrap_or(Role::Owner),
            scopes: None,
            custom: None,
        };
        let asked = AuthorityRequest {
            standing: &standing,
            caller: &Arc::new(caller),
            action: &part.action,
            invocation: fixed::<InvocationId>(INVOCATION)?,
        };
        Ok(told.decide(&asked, || Ok(()), &part.params))
    }
}

impl Host {
    /// Rehearses a call of an installed action: who may not call it may not rehearse it, and nothing happens.
    ///
    /// # Errors
    /// No such user; a disk that does not serve. Refusals of the call itself are how it ends.
    pub async fn dry_run(&self, actor: &Actor, call: &Call, props: Props) -> Result<Played, Refusal> {
        let core = self.core();
        let person = core.person(actor).await?;
        let (caller, invocation) = (person.caller(), new_invocation()?);
        let asked = Asked {
            caller: &caller,
            installation: &call.installation,
            action: &call.action,
            params: &call.params,
            invocation: &invocation,
        };
        let mut told = Told::default();
        let decided = async {
            person.tenant.lives()?;
            let installed = core.installed(&person.tenant, &call.installation).await?;
            let decided = told.decide(&asked.of(&installed), || keys_are_set(&installed), &call.params)?;
            Ok::<_, Refusal>((core.plugin_of(&installed).await?, installed, decided))
        };
        match decided.await {
            Ok((plugin, installed, decided)) => {
                let sandbox = &core.engine().await?.sandbox;
                Ok(played(sandbox, &plugin, &installed.contract, told, decided, props).await)
            }
            Err(refusal) if matches!(refusal.class, Class::Unavailable | Class::Internal | Class::Tampered) => {
                Err(refusal)
            }
            Err(refusal) => Ok(Played::refused(told, refusal)),
        }
    }
}

/// Stages 9 and 10, of a call that may run.
async fn played(
    sandbox: &Sandbox,
    plugin: &Plugin,
    contract: &Arc<Contract>,
    mut told: Told,
    decided: Decided,
    props: Props,
) -> Played {
    let Decided { authorized, params, verdict: _ } = decided;
    let Props { upstream, kv, moment, idempotency_key, keys: mut given } = props;
    let secrets: Vec<(String, Secret)> = contract
        .keys
        .iter()
        .map(|key| {
            let secret = given.remove(&key.name).unwrap_or_else(|| Secret::from(stand_in(&key.name).into_bytes()));
            (key.name.clone(), secret)
        })
        .collect();
    let own = authorized.installation().clone();
    let named = |key: &String| KeyName { installation: own.clone(), key: key.clone() };
    let guard = LeakGuard::new(secrets.iter().map(|(key, secret)| (named(key), secret)));
    let leaks = Arc::new(LeakWatch::new(Arc::new(guard), own.clone()));
    let keys = secrets.into_iter().fold(KeySet::new(), |keys, (name, secret)| keys.with(name, vec![secret]));
    let idempotency_key = (authorized.effect() > Effect::Read).then_some(idempotency_key);
    let report = sandbox
        .rehearse(
            plugin,
            Rehearsal { authorized, params, idempotency_key, keys, kv, upstream, leaks: leaks.clone(), moment },
        )
        .await;
    let authorized = report.authorized.clone();
    let (failure, meter, logs) = (report.outcome.as_ref().err().cloned(), report.meter, report.logs.clone());
    let (events, denials, http) = (report.events.clone(), report.denials.clone(), report.http.clone());
    let end =
        outcome::judge(report, authorized.action(), &leaks, opsiq_audit::Draft::new(opsiq_audit::Kind::Outcome)).end;
    match &end {
        Ok(_) => {
            told.pass("run", "run.ended", "the plugin answered".to_owned());
            told.pass("result", "result.valid", "the answer is what the contract promises".to_owned());
        }
        Err(refusal) => told.refuse(refusal),
    }
    let shown = end.as_ref().ok().and_then(|answered| serde_json::from_str(&answered.shown).ok());
    let end = end.map(|answered| answered.text);
    Played { contract: Some(contract.clone()), steps: told.0, end, shown, failure, meter, logs, events, denials, http }
}

/// An id of ours.
fn fixed<T: std::str::FromStr>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| errors::internal(Stage::Run, "an id of the rehearsal is none"))
}
