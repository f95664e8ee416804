//! The one path by which anybody runs any action, and the administrative acts around it.
//!
//! Why a room of its own: everything a caller can reach ends here, so each rule is asked in one place and in one order,
//! and none can be gone around: the sandbox runs only what contract's authority allowed and what the audit log permitted,
//! and both values are made on the way through here. An administrative act is checked against the role as it stands now,
//! validated, and committed together with its audit entry; so is a refusal.
//!
//! What fails closed: if the log cannot be written, nothing with an effect runs and nothing is answered; what does not
//! open is tampering, not absence; what is unknown is refused by name; and a tenant that is not yours is not found.
//!
//! Start at [`Host`]. A front door authenticates, makes an [`Actor`], and calls; what comes back is an answer or a
//! [`Refusal`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod act;
mod actor;
mod approve;
mod audit_log;
mod backup;
mod catalogue;
mod clients;
mod config;
mod confirmations;
mod control;
mod core;
mod databases;
mod difference;
mod docs;
mod doctor;
mod door;
mod drain;
mod ending;
mod engine;
mod epochs;
mod errors;
mod explain;
mod floods;
mod host;
mod identity;
mod installation_view;
mod installations;
mod installed;
mod invitations;
mod invoke;
mod keys;
mod kms;
mod kv;
mod leaks;
mod master_keys;
mod names;
mod nodes;
mod outcome;
mod outside;
mod plan;
mod recovery;
mod refusal;
mod rehearse;
mod repeat;
mod replay;
mod retention;
mod roles;
mod rollback;
mod root;
mod run;
mod secrets;
mod shield;
mod sso;
mod stages;
mod state;
mod subjects;
mod tenants;
mod unseal;
mod upgrades;
mod users;

pub use actor::Actor;
pub use approve::Confirmations;
pub use audit_log::AuditLog;
pub use backup::{
    BackupHeader, BackupState, BackupVerified, BackupView, Backups, RestoreOptions, RestoredView, VerifyOptions,
};
pub use catalogue::{Catalogue, CatalogueEntry, Inspected, Registered, Registering};
pub use clients::{ApiClients, ClientKeyState, ClientKeyView, ClientView, NewClientKey, OVERLAP};
pub use config::{OperatorConfig, read_config};
pub use confirmations::{ConfirmationState, ConfirmationView};
pub use control::{
    By, CallView, Control, ControlView, NoSelection, Placed, QuarantineView, Selection, Stopped, TotalsView,
};
pub use databases::Databases;
pub use difference::{ChangeGroup, UpgradeChange, UpgradePlan};
pub use doctor::{Finding, FindingStatus};
pub use door::{
    DeviceView, Door, Enrolled, Enrolment, Invited, KeyRule, Knock, Login, Pending, ReplySigner, SessionView,
    ShownOnce, SignedHead, SignedIn, SsoAnswer, SsoAway, SsoEnrolled, SsoEntered, SsoLeave, idempotency_key,
};
pub use ending::EraseTenant;
pub use explain::{ExplainStep, Explanation, StepVerdict};
pub use host::{Host, HostOptions, Initialised, Interrupted, RootSource};
pub use installation_view::{ActionView, InstallationView};
pub use installations::{InstallRequest, Installations};
pub use invitations::Invitation;
pub use invoke::{Answer, Call, Done};
pub use keys::{Declared, KeyState, KeyVersionView, KeyView, Keys};
pub use kms::Token;
pub use master_keys::{
    ColumnCount, KeyFault, KeyGeneration, KeyStatus, KeysVerified, MasterKeys, Moved, RootRotated, TenantKeysView,
    TenantRotated, Walked, Watch,
};
pub use opsiq_audit::PublicKey;
pub use opsiq_identity::saml::{NameIdFormat, sp_metadata};
pub use opsiq_sandbox::{COMPILE_CHILD, Compiler, Meter, Phase, compile_child, open_page_map};
pub use opsiq_signing::{Origin, SignedFields};
pub use opsiq_store::{DumpCounts, DumpProgress};
pub use plan::{Ask, AskGroup, InstallPlan, Risk};
pub use refusal::{Class, Fault, Refusal, Stage};
pub use rehearse::{Part, Played, Props, Rig, stand_in};
pub use repeat::{Holding, KeptAnswer, Repeat, Repeatable};
pub use retention::{Expired, HoldView, Retention, RetentionRun, RetentionView};
pub use roles::Roles;
pub use rollback::Rollback;
pub use shield::{CheckStep, CheckView, Firewall, FirewallChanged, RuleView, RulesPage, Shield, SignalView};
pub use sso::{
    ClaimRole, OidcSettings, SamlFrom, SamlSettings, Sso, SsoChecked, SsoProtocol, SsoProviderView, SsoSettings,
};
pub use subjects::{ErasedKey, SubjectView, Subjects};
pub use tenants::{NewTenant, Standing, TenantView, Tenants};
pub use upgrades::{AcceptUpgrade, HeldUpgrade, Upgrade};
pub use users::{UserView, Users};
