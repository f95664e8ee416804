//! The API under `/v1`, a file a resource. A handler reads what it was sent, calls the gate, and writes down what the gate
//! says; every rule is the gate's.

mod actions;
mod audit;
mod clients;
mod confirmations;
mod firewall;
mod installations;
mod keys;
mod plugins;
mod retention;
mod roles;
mod sandbox;
mod sessions;
mod sso;
mod sso_login;
mod sso_pages;
mod subjects;
mod tenants;
mod upgrades;
mod users;

use opsiq_gate::{Class, Refusal, Stage};

use crate::problem::Problem;
use crate::routes::Routes;

/// The shapes of bodies and of the answers made here, for the `OpenAPI` document.
pub(crate) mod shapes {
    pub(crate) use super::clients::{AllowClient, MakeClient, RotateClient};
    pub(crate) use super::firewall::{FirewallPut, FirewallRemove};
    pub(crate) use super::installations::{ChangeGrant, Install};
    pub(crate) use super::keys::SecretValue;
    pub(crate) use super::plugins::{InspectionView, RegisteredView};
    pub(crate) use super::retention::{PlaceHold, SetRetention};
    pub(crate) use super::roles::PutRole;
    pub(crate) use super::sandbox::{QuarantineAsk, Select};
    pub(crate) use super::sessions::{AcceptInvitation, CodeOf, Invitation, PendingCode, SignIn};
    pub(crate) use super::sso::{ProviderKind, PutProvider};
    pub(crate) use super::sso_login::{AcceptAt, CodeForm, ResponseForm};
    pub(crate) use super::tenants::{ConfirmErase, MakeTenant, Me, SecondPerson};
    pub(crate) use super::upgrades::{Accept, UpgradeTo};
    pub(crate) use super::users::{AddUser, InviteUser, RoleOf, Which};
}

/// All routes.
pub(crate) fn routes() -> Routes {
    let mut routes = Routes::default();
    tenants::add(&mut routes);
    plugins::add(&mut routes);
    installations::add(&mut routes);
    upgrades::add(&mut routes);
    keys::add(&mut routes);
    actions::add(&mut routes);
    confirmations::add(&mut routes);
    audit::add(&mut routes);
    retention::add(&mut routes);
    users::add(&mut routes);
    roles::add(&mut routes);
    clients::add(&mut routes);
    sessions::add(&mut routes);
    sso::add(&mut routes);
    sso_login::add(&mut routes);
    subjects::add(&mut routes);
    sandbox::add(&mut routes);
    firewall::add(&mut routes);
    routes
}

/// A name that has not the form of one.
fn not_a(what: &'static str, error: &dyn std::fmt::Display) -> Problem {
    Refusal::new(Class::Invalid, Stage::Admin, what, error.to_string(), "correct it").into()
}

/// The place of something made at that time in a list, oldest first.
fn by_age(created_ms: i64, name: &str) -> String {
    format!("{created_ms:020} {name}")
}
