//! Refusals at the door: on record, counted together when they are many, and told so that they tell nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opsiq_audit::{AuditError, Draft, Kind, Log, OpError, field};
use opsiq_contract::Digest;
use opsiq_shield::{ClientIp, Slow, Who};
use opsiq_store::StoreError;

use crate::core::Core;
use crate::errors;
use crate::refusal::{Class, Refusal, Stage};
use crate::state::TenantState;

/// Answers to who is not let in come at multiples of this, so that what was looked up is not told by time.
const EVEN: Duration = Duration::from_millis(50);

/// Waits until an answer tells nothing by its time.
pub(super) async fn even(begun: Instant) {
    let past = begun.elapsed().as_nanos() % EVEN.as_nanos();
    let rest = EVEN.as_nanos() - past;
    tokio::time::sleep(Duration::from_nanos(u64::try_from(rest).unwrap_or(0))).await;
}

/// Whom an attempt counts for. `what` is guessed: passwords, codes; `account` names whose.
pub(super) fn who(what: &str, account: [&str; 2], address: Option<ClientIp>, device: Option<[u8; 32]>) -> Who {
    let parts = [what, account[0], account[1]].map(str::as_bytes);
    // A device counts for itself at each of them.
    let device = device.map(|device| *Digest::of_parts("opsiq device", [what.as_bytes(), &device]).as_bytes());
    Who { account: *Digest::of_parts("opsiq account", parts).as_bytes(), address, device }
}

/// Too many failed; the answer is the same whether there is such an account.
pub(crate) fn slow(slow: Slow) -> Refusal {
    let message = "there were too many failed attempts";
    let fix = format!("try again in {} s, or from a device you signed in from before", slow.retry_after);
    let refusal = Refusal::new(Class::Limited, Stage::Authenticate, "login.slow-down", message, fix);
    Refusal { retry_after: Some(slow.retry_after), ..refusal }
}

/// Tenant, user or password: which of them is not told.
pub(super) fn wrong_login() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "login.failed",
        "tenant, user or password is wrong, or the account is not open",
        "an owner of the tenant sees why in the audit log, and may invite anew",
    )
}

/// The code is none, or was used: which is not told.
pub(super) fn wrong_code() -> Refusal {
    Refusal::new(
        Class::Unauthenticated,
        Stage::Authenticate,
        "code.wrong",
        "the code is wrong, or was used already",
        "wait for the next code of the authenticator, or use a recovery code",
    )
}

/// An error of the commit that would have used something up: perhaps it was used meanwhile, which is `then`.
pub(super) fn used_first(error: &AuditError, then: Refusal) -> Refusal {
    match error {
        AuditError::Operation(OpError::Store(error)) if matches!(**error, StoreError::Conflict { .. }) => then,
        error => errors::audit(Stage::Authenticate, error),
    }
}

impl Core {
    /// Puts a refusal at the door on record; what is answered. `name` is only that of a user who is there: what else people
    /// type as their name may be their password.
    pub(crate) async fn refused_knock(
        self: &Arc<Self>,
        tenant: Option<&TenantState>,
        name: Option<&str>,
        act: &'static str,
        address: Option<ClientIp>,
        refusal: Refusal,
    ) -> Refusal {
        let log = tenant.map_or(Log::Host, |tenant| Log::Tenant(tenant.id.clone()));
        let mut draft = Draft::new(Kind::Refused)
            .field(field::ACTOR, name.map_or_else(|| "unknown".to_owned(), |name| format!("user:{name}")))
            .field(field::ACTION, act);
        if let Some(address) = address {
            draft = draft.field(field::IP, address.to_string());
        }
        match self.record_refused_knock(log, draft, &refusal, &network(address)).await {
            Ok(()) => refusal,
            Err(unrecorded) => unrecorded,
        }
    }
}

/// What is counted together: an IPv4 address, an IPv6 /64.
pub(crate) fn network(address: Option<ClientIp>) -> String {
    address.map_or_else(|| "unknown".to_owned(), |address| address.near().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_at_even_times() {
        for (worked, answered) in [(1, 50), (49, 50), (51, 100), (120, 150)] {
            let begun = Instant::now().checked_sub(Duration::from_millis(worked)).unwrap();
            even(begun).await;
            assert!(begun.elapsed() >= Duration::from_millis(answered), "{worked}");
        }
    }

    #[test]
    fn what_is_guessed_and_whose_count_apart() {
        let account = |what: &str, tenant: &str, user: &str| who(what, [tenant, user], None, None).account;
        let all = [
            account("password", "acme", "olga"),
            account("code", "acme", "olga"),
            account("password", "other", "olga"),
            account("password", "acm", "eolga"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one));
        }
        assert_eq!(network(Some("2001:db8::1".parse().unwrap())), "2001:db8::/64");
    }
}
