//! The second factor: a code of the authenticator or a recovery code, which is used up in the commit that does what it was
//! shown for. Of many at once with one code, one succeeds.

use opsiq_audit::OpError;
use opsiq_contract::TenantId;
use opsiq_identity::{Code, PasswordHash, RecoveryCode, Seed};
use opsiq_store::{CredentialRow, PasskeyRow, WriteTx};

use super::passkeys::replayed;
use super::pending::ShownOnce;
use super::refused::wrong_code;
use crate::core::{Core, now_ms};
use crate::docs::{CredentialDoc, PasskeyDoc};
use crate::errors;
use crate::refusal::{Refusal, Stage};
use crate::state::{TenantState, User};

/// What a user signs in with, as it stands now.
pub(super) struct Credential {
    pub(super) row: CredentialRow<CredentialDoc>,
    pub(super) doc: CredentialDoc,
}

/// A code that is right and not yet used up.
pub(super) enum Shown {
    /// Of the authenticator: of this step, of a credential at this version.
    Step(u64, u64),
    /// A recovery code: the credential without it.
    Recovery(Box<CredentialRow<CredentialDoc>>, usize),
    /// A passkey: as it is from now on, and the challenge that it answers, which is not answered twice.
    Passkey { row: Box<PasskeyRow<PasskeyDoc>>, name: String, challenge: [u8; 32], until_ms: i64 },
}

impl Shown {
    /// What it was, for the log.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Step(..) => "authenticator".to_owned(),
            Self::Recovery(_, left) => format!("recovery code, {left} left"),
            Self::Passkey { row, name, .. } => format!("passkey {} ({name})", row.id),
        }
    }

    /// What is answered when somebody used it first.
    pub(super) fn used(&self) -> Refusal {
        match self {
            Self::Step(..) | Self::Recovery(..) => wrong_code(),
            Self::Passkey { .. } => replayed(),
        }
    }

    /// Uses it up, unless somebody did, which undoes the whole commit.
    pub(super) async fn spend(&self, tx: &mut WriteTx<'_>, tenant: &TenantId, user: &str) -> Result<(), OpError> {
        match self {
            Self::Step(step, version) => tx.credential_use_step(tenant, user, *version, *step).await?,
            Self::Recovery(row, _) => tx.credential_update(row, row.version - 1).await?,
            Self::Passkey { row, challenge, until_ms, .. } => {
                tx.sso_spend(tenant, challenge, now_ms(), *until_ms).await?;
                tx.passkey_update(row, row.version - 1).await?;
            }
        }
        Ok(())
    }
}

impl Credential {
    /// The first of a user, whose authenticator just showed the code of `step`; and its recovery codes, to be shown once.
    pub(super) fn first(
        tenant: &TenantState,
        user: &User,
        password: Option<PasswordHash>,
        seed: &Seed,
        step: u64,
    ) -> Result<(CredentialRow<CredentialDoc>, Vec<ShownOnce>), Refusal> {
        let (recovery, codes) = new_codes(tenant, &user.id);
        let doc = CredentialDoc { password, seed: seed.clone(), recovery };
        let sealed = tenant.vault.seal(&CredentialDoc::place(&[&user.id], 1), &doc);
        let row = CredentialRow {
            tenant: tenant.id.clone(),
            user: user.id.clone(),
            totp_step: step,
            created_ms: now_ms(),
            version: 1,
            doc: sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?,
        };
        Ok((row, codes))
    }

    /// That of a user; `None` before they enrolled.
    pub(super) async fn of(core: &Core, tenant: &TenantState, user: &str) -> Result<Option<Self>, Refusal> {
        let row = core.store.credential::<CredentialDoc>(&tenant.id, user).await;
        let row = row.map_err(|error| errors::store(Stage::Authenticate, &error))?;
        row.map(|row| {
            let doc = tenant.vault.open(&CredentialDoc::place(&[user], row.version), &row.doc);
            Ok(Self { doc: doc.map_err(|error| errors::vault(Stage::Authenticate, &error))?, row })
        })
        .transpose()
    }

    /// A code that was typed, if it is right.
    pub(super) fn shown(&self, tenant: &TenantState, code: &str) -> Result<Option<Shown>, Refusal> {
        let Some(recovery) = RecoveryCode::typed(code) else {
            let step = self.doc.seed.check(code, seconds(), Some(self.row.totp_step));
            return Ok(match step {
                Code::Right(step) => Some(Shown::Step(step, self.row.version)),
                Code::Wrong => None,
            });
        };
        let hashed = recovery_hash(tenant, &self.row.user, &recovery);
        let mut doc = self.doc.clone();
        doc.recovery.retain(|left| *left != hashed);
        if doc.recovery.len() == self.doc.recovery.len() {
            return Ok(None);
        }
        let left = doc.recovery.len();
        Ok(Some(Shown::Recovery(Box::new(self.changed(tenant, &doc)?), left)))
    }

    /// The row with another document.
    pub(super) fn changed(
        &self,
        tenant: &TenantState,
        doc: &CredentialDoc,
    ) -> Result<CredentialRow<CredentialDoc>, Refusal> {
        let version = self.row.version + 1;
        let sealed = tenant.vault.seal(&CredentialDoc::place(&[&self.row.user], version), doc);
        let doc = sealed.map_err(|error| errors::vault(Stage::Authenticate, &error))?;
        Ok(CredentialRow { version, doc, ..self.row.clone() })
    }
}

/// A new set of recovery codes: what is kept of them, and what is shown once.
pub(super) fn new_codes(tenant: &TenantState, user: &str) -> (Vec<String>, Vec<ShownOnce>) {
    let codes = RecoveryCode::generate();
    let kept = codes.iter().map(|code| recovery_hash(tenant, user, code)).collect();
    (kept, codes.iter().map(|code| ShownOnce::new(code.shown())).collect())
}

/// What is kept of a recovery code.
pub(super) fn recovery_hash(tenant: &TenantState, user: &str, code: &RecoveryCode) -> String {
    let bytes = [user.as_bytes(), b"/", code.bytes()].concat();
    hex::encode(tenant.vault.blind_index("recovery code", &bytes))
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    u64::try_from(now_ms() / 1000).unwrap_or(0)
}

/// Whether the user is still the one meant, and may act.
pub(super) fn is_still(user: &User, id: &str) -> bool {
    user.id == id && user.enabled
}
