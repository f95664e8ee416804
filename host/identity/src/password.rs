//! Passwords: argon2id, with its parameters beside each hash, within a bounded share of the machine.
//!
//! A hash is dear on purpose, so whoever may ask for many at once may take the machine. So few are made at a time, few
//! wait, and the others are told to come back. Who names no account, or one without a password, costs the same work.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use opsiq_vault::{Secret, fresh};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::rules::{self, PasswordFault};

/// Bytes of a password, at most. Far beyond what people type, and no work for an attacker to give.
const LONGEST: usize = 1024;
/// Bytes of a salt (RFC 9106 §3.1 recommends 16).
const SALT: usize = 16;

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// What OWASP's Password Storage Cheat Sheet asks for at least: 19 MiB, two passes, one lane.
    pub const OWASP: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    fn engine(self) -> Result<Argon2<'static>, argon2::Error> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, None)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A password as typed. Wiped on drop, printed as `[sealed]`.
pub struct Password(Zeroizing<String>);

impl Password {
    /// A password to be checked. What cannot be one becomes the empty password, which nobody has.
    pub fn typed(secret: &Secret) -> Self {
        let text = std::str::from_utf8(secret.expose()).ok().filter(|text| text.len() <= LONGEST).unwrap_or_default();
        // One spelling of what looks the same, whatever keyboard it was typed on (NIST SP 800-63B §5.1.1.2).
        let mut normal = Zeroizing::new(String::with_capacity(4 * text.len()));
        normal.extend(text.nfkc());
        Self(normal)
    }

    /// A password to be taken on, by whoever `context` describes: the names of tenant and user, say.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub fn choose(secret: &Secret, context: &[&str]) -> Result<Self, PasswordFault> {
        let text = std::str::from_utf8(secret.expose()).map_err(|_| PasswordFault::NotText)?;
        if text.len() > LONGEST {
            return Err(PasswordFault::TooLong);
        }
        let password = Self::typed(secret);
        rules::check(&password.0, context)?;
        Ok(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

/// A hash with its parameters and salt, in the PHC string form. To be stored sealed; printed as `[sealed]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Whether it was made at this cost.
    fn costs(&self, cost: Cost) -> bool {
        let parsed = argon2::PasswordHash::new(&self.0).ok();
        let params = parsed.and_then(|parsed| Params::try_from(&parsed).ok());
        params.is_some_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost()) == (cost.memory_kib, cost.passes, cost.lanes)
        })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

/// How a password compares.
#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is not the one, or there is none.
    Wrong,
    /// It is.
    Right,
    /// It is, and this is to be stored in place of a hash made at another cost.
    Renewed(PasswordHash),
}

/// Too many passwords are being hashed, or the memory for it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many people sign in at once")]
pub struct Crowded;

/// Makes and checks hashes, a few at a time.
pub struct Passwords {
    cost: Cost,
    at_once: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    /// Stands in for the hash of an account that is not there.
    decoy: PasswordHash,
    work: Arc<AtomicU64>,
}

impl Passwords {
    /// At this cost, `at_once` hashes at a time while at most `waiting` others wait. Makes one hash.
    ///
    /// # Errors
    /// A cost that argon2 does not take (RFC 9106 §3.1).
    pub fn new(cost: Cost, at_once: usize, waiting: usize) -> Result<Self, Crowded> {
        let mut nobody = Zeroizing::new([0; 32]);
        fresh(nobody.as_mut_slice());
        let decoy = hash(cost, nobody.as_slice())?;
        let (at_once, work) = (Arc::new(Semaphore::new(at_once)), Arc::default());
        Ok(Self { cost, at_once, waiting: AtomicUsize::new(0), most_waiting: waiting, decoy, work })
    }

    /// Hashes a password that was chosen.
    ///
    /// # Errors
    /// [`Crowded`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Crowded> {
        let cost = self.cost;
        self.turn(move || hash(cost, password.0.as_bytes()), work_of(cost)).await?
    }

    /// Compares with what is stored. The same work is done when nothing is.
    ///
    /// # Errors
    /// [`Crowded`].
    pub async fn check(&self, password: Password, stored: Option<&PasswordHash>) -> Result<Checked, Crowded> {
        let (cost, known) = (self.cost, stored.is_some());
        let against = stored.unwrap_or(&self.decoy).clone();
        let renew = !against.costs(cost);
        self.turn(
            move || {
                let same = verify(&against, password.0.as_bytes());
                if !(same && known) {
                    return Ok(Checked::Wrong);
                }
                if renew { hash(cost, password.0.as_bytes()).map(Checked::Renewed) } else { Ok(Checked::Right) }
            },
            work_of(cost),
        )
        .await?
    }

    /// The work done so far, in KiB times passes: what a test compares of an account that is there and one that is not.
    pub fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    async fn turn<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static, work: u64) -> Result<T, Crowded> {
        let place = self.at_once.clone();
        let permit = if let Ok(permit) = place.clone().try_acquire_owned() {
            permit
        } else {
            let _waits = Waits::enter(&self.waiting, self.most_waiting)?;
            place.acquire_owned().await.map_err(|_| Crowded)?
        };
        let counter = self.work.clone();
        // The permit goes along, so that a caller who leaves frees nothing that is still at work.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            counter.fetch_add(work, Ordering::Relaxed);
            run()
        });
        done.await.map_err(|_| Crowded)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// One who waits, counted for as long as it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Result<Self, Crowded> {
        let enter = |now: usize| (now < most).then_some(now + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).map_err(|_| Crowded)?;
        Ok(Self(count))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn work_of(cost: Cost) -> u64 {
    u64::from(cost.memory_kib) * u64::from(cost.passes)
}

fn hash(cost: Cost, password: &[u8]) -> Result<PasswordHash, Crowded> {
    let mut salt = [0; SALT];
    fresh(&mut salt);
    let engine = cost.engine().map_err(|_| Crowded)?;
    let made = engine.hash_password_with_salt(password, &salt).map_err(|_| Crowded)?;
    Ok(PasswordHash(made.to_string()))
}

fn verify(stored: &PasswordHash, password: &[u8]) -> bool {
    let engine = Argon2::default();
    argon2::PasswordHash::new(&stored.0).is_ok_and(|hash| engine.verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    const DEARER: Cost = Cost { memory_kib: 128, passes: 1, lanes: 1 };

    fn secret(text: &str) -> Secret {
        Secret::from(text.as_bytes().to_vec())
    }

    fn typed(text: &str) -> Password {
        Password::typed(&secret(text))
    }

    #[tokio::test]
    async fn the_right_one_is_right_in_every_spelling_and_no_other() {
        let passwords = Passwords::new(CHEAP, 2, 8).unwrap();
        let hash = passwords.hash(typed("Grüße vom Fjord")).await.unwrap();
        for same in ["Grüße vom Fjord", "Gru\u{308}ße vom Fjord", "Ｇrüße vom Fjord"] {
            assert_eq!(passwords.check(typed(same), Some(&hash)).await.unwrap(), Checked::Right, "{same}");
        }
        for other in ["", "grüße vom fjord", "Grüße vom Fjord "] {
            assert_eq!(passwords.check(typed(other), Some(&hash)).await.unwrap(), Checked::Wrong, "{other}");
        }
        assert_eq!(passwords.check(typed("Grüße vom Fjord"), None).await.unwrap(), Checked::Wrong);
        assert_eq!(format!("{hash:?} {:?}", typed("secret")), "[sealed] [sealed]");
    }

    #[tokio::test]
    async fn what_is_stored_tells_its_cost_and_is_renewed_at_another() {
        let old = Passwords::new(CHEAP, 1, 1).unwrap().hash(typed("the same password")).await.unwrap();
        assert!(old.0.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", old.0);
        let raised = Passwords::new(DEARER, 1, 1).unwrap();
        assert_eq!(raised.check(typed("another password"), Some(&old)).await.unwrap(), Checked::Wrong);
        let Checked::Renewed(new) = raised.check(typed("the same password"), Some(&old)).await.unwrap() else {
            panic!("it is not renewed")
        };
        assert!(new.costs(DEARER) && !old.costs(DEARER));
        assert_eq!(raised.check(typed("the same password"), Some(&new)).await.unwrap(), Checked::Right);
    }

    #[tokio::test]
    async fn an_account_that_is_not_there_costs_the_same_work() {
        let passwords = Passwords::new(CHEAP, 2, 8).unwrap();
        let hash = passwords.hash(typed("the password")).await.unwrap();
        let mut costs = Vec::new();
        for stored in [Some(&hash), None] {
            let before = passwords.work();
            passwords.check(typed("another"), stored).await.unwrap();
            costs.push(passwords.work() - before);
        }
        assert_eq!(costs, [64, 64]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_at_once_are_turned_away_and_few_are_not() {
        let passwords = Arc::new(Passwords::new(Cost { memory_kib: 8 * 1024, ..CHEAP }, 1, 2).unwrap());
        let ask = |passwords: Arc<Passwords>| async move { passwords.check(typed("x"), None).await };
        let asked: Vec<_> = (0..50).map(|_| tokio::spawn(ask(passwords.clone()))).collect();
        let (mut checked, mut crowded) = (0, 0);
        for one in asked {
            match one.await.unwrap() {
                Ok(_) => checked += 1,
                Err(Crowded) => crowded += 1,
            }
        }
        assert!(checked >= 3 && crowded >= 20, "{checked} {crowded}");
        assert!(ask(passwords).await.is_ok(), "there is room again");
    }
}
