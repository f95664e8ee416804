//! What is handed out: texts shown once, and the sealed state between two steps.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opsiq_contract::TenantId;
use opsiq_identity::{Token, TokenKind};
use opsiq_vault::{Place, Sealed};
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
}

impl Step {
    const fn word(self) -> &'static str {
        match self {
            Self::Enrol => "enrol",
            Self::Login => "login",
            Self::Sso => "sso",
            Self::Equip => "equip",
        }
    }

    fn place(self) -> Place<'static> {
        Place { table: "pending", row: &[], column: self.word(), version: 0 }
    }
}

/// Seals what the next step needs to know.
pub(super) fn seal<T: Serialize>(tenant: &TenantState, step: Step, state: &T) -> Result<ShownOnce, Refusal> {
    let sealed = tenant.vault.seal(&step.place(), state);
    let sealed = sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(sealed.as_bytes()));
    Ok(ShownOnce::new(Zeroizing::new(format!("{}.{}.{}", step.word(), tenant.id, encoded.as_str()))))
}

/// Opens it again; anything else is no state.
pub(super) fn open<T: DeserializeOwned>(core: &Core, step: Step, text: &str) -> Option<(Arc<TenantState>, T)> {
    let mut parts = Some(text).filter(|text| text.len() <= LONGEST)?.split('.');
    let (word, tenant, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    if word != step.word() || parts.next().is_some() {
        return None;
    }
    let tenant = core.tenants.get(&tenant.parse::<TenantId>().ok()?)?;
    let sealed = Sealed::from_stored(URL_SAFE_NO_PAD.decode(encoded).ok()?);
    let state = tenant.vault.open(&step.place(), &sealed).ok()?;
    Some((tenant, state))
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
