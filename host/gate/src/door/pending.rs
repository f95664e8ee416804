//! What is handed out: texts shown once, and the sealed state between two steps.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opsiq_contract::TenantId;
use opsiq_identity::{Token, TokenKind};
use opsiq_vault::{Place, Sealed, TenantVault};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::core::Core;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;

/// Characters of a sealed state, at most.
const LONGEST: usize = 4096;

/// A secret text that is shown once, to whom it is for, and stored nowhere. Wiped on drop, printed as `[sealed]`; its JSON
/// is the text, since showing it is what it is for.
pub struct ShownOnce(Zeroizing<String>);

impl ShownOnce {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ShownOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

impl Serialize for ShownOnce {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl From<String> for ShownOnce {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl<'de> Deserialize<'de> for ShownOnce {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Which step a sealed state waits for; one is never taken for the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The first code of a new authenticator.
    Enrol,
    /// The code of a login.
    Login,
    /// The return from a provider.
    Sso,
    /// The first code of somebody whom a provider vouches for.
    Equip,
    /// The first code of an authenticator that takes another's place.
    Replace,
    /// A passkey that is made.
    PasskeyEnrol,
    /// A passkey that is shown again in a session.
    PasskeyStepUp,
    /// A passkey of whoever it may be. Of no tenant.
    PasskeyLogin,
}

impl Step {
    const fn word(self) -> &'static str {
        match self {
            Self::Enrol => "enrol",
            Self::Login => "login",
            Self::Sso => "sso",
            Self::Equip => "equip",
            Self::Replace => "replace",
            Self::PasskeyEnrol => "passkey-enrol",
            Self::PasskeyStepUp => "passkey-step-up",
            Self::PasskeyLogin => "passkey-login",
        }
    }

    fn place(self) -> Place<'static> {
        Place { table: "pending", row: &[], column: self.word(), version: 0 }
    }
}

/// Seals what the next step needs to know.
pub(super) fn seal<T: Serialize>(tenant: &TenantState, step: Step, state: &T) -> Result<ShownOnce, Refusal> {
    seal_by(&tenant.vault, step, tenant.id.as_str(), state)
}

/// The same of whoever it may be, who is of no tenant yet.
pub(super) fn seal_for_anybody<T: Serialize>(core: &Core, step: Step, state: &T) -> Result<ShownOnce, Refusal> {
    seal_by(core.tenants.host(), step, "", state)
}

fn seal_by<T: Serialize>(vault: &TenantVault, step: Step, tenant: &str, state: &T) -> Result<ShownOnce, Refusal> {
    let sealed = vault.seal(&step.place(), state);
    let sealed = sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(sealed.as_bytes()));
    Ok(ShownOnce::new(Zeroizing::new(format!("{}.{tenant}.{}", step.word(), encoded.as_str()))))
}

/// Opens it again; anything else is no state.
pub(super) fn open<T: DeserializeOwned>(core: &Core, step: Step, text: &str) -> Option<(Arc<TenantState>, T)> {
    let (tenant, encoded) = parts(step, text)?;
    let tenant = core.tenants.get(&tenant.parse::<TenantId>().ok()?)?;
    let state = open_by(&tenant.vault, step, encoded)?;
    Some((tenant, state))
}

/// The same of what was sealed for anybody.
pub(super) fn open_of_anybody<T: DeserializeOwned>(core: &Core, step: Step, text: &str) -> Option<T> {
    let (_, encoded) = parts(step, text).filter(|(tenant, _)| tenant.is_empty())?;
    open_by(core.tenants.host(), step, encoded)
}

/// Whose tenant's it says it is, and what is sealed.
fn parts(step: Step, text: &str) -> Option<(&str, &str)> {
    let mut parts = Some(text).filter(|text| text.len() <= LONGEST)?.split('.');
    let (word, tenant, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    (word == step.word() && parts.next().is_none()).then_some((tenant, encoded))
}

fn open_by<T: DeserializeOwned>(vault: &TenantVault, step: Step, encoded: &str) -> Option<T> {
    let sealed = Sealed::from_stored(URL_SAFE_NO_PAD.decode(encoded).ok()?);
    vault.open(&step.place(), &sealed).ok()
}

/// The blind index a token is found by.
pub(crate) fn index(tenant: &TenantState, token: &Token) -> [u8; 32] {
    tenant.vault.blind_index(token.kind().domain(), token.bytes())
}

/// The tenant a token names, and the index it is found by.
pub(super) fn of_token(core: &Core, kind: TokenKind, text: &str) -> Option<(Arc<TenantState>, [u8; 32])> {
    let token = Token::parse(kind, text)?;
    let tenant = core.tenants.get(token.tenant())?;
    let index = index(&tenant, &token);
    Some((tenant, index))
}

/// The state is not one, is too old, or what it was about changed.
pub(super) fn over() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "login.over",
        "this login took too long, or its account changed meanwhile",
        "begin again",
    )
}
