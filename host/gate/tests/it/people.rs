//! People at the door, with authenticators of their own: RFC 6238 written anew here, so that the host's codes are not judged
//! by the library that makes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use opsiq_gate::{Actor, Invitation, Knock, Login, Pending, Refusal, SignedIn};
use opsiq_vault::Secret;
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::world::{World, acme};

/// What nobody else would take.
pub(crate) const PASSWORD: &str = "seven otters crossed the weir";

/// Somebody who took up their account.
pub(crate) struct Person {
    pub(crate) tenant: String,
    pub(crate) name: String,
    pub(crate) seed: String,
    pub(crate) recovery: Vec<String>,
}

pub(crate) fn knock() -> Knock {
    Knock { address: Some("192.0.2.7".parse().unwrap()), device: "Firefox on Linux".to_owned(), known: None }
}

/// From a device known by this token.
pub(crate) fn from(device: &str) -> Knock {
    Knock { known: Some(Zeroizing::new(device.to_owned())), ..knock() }
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from(text.as_bytes().to_vec())
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Waits until the step is young enough for a test to end in it.
pub(crate) async fn young_step() {
    let into = now() % 30;
    if into > 15 {
        tokio::time::sleep(Duration::from_secs(30 - into)).await;
    }
}

fn base32(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0, 0_u32);
    for letter in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
        held = held << 5 | u32::try_from(value).unwrap();
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    out
}

/// The code of a seed in base32, so many steps from now.
pub(crate) fn code(seed: &str, steps: i64) -> String {
    let step = (now() / 30).checked_add_signed(steps).unwrap();
    let mut mac = Hmac::<Sha1>::new_from_slice(&base32(seed)).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

impl Person {
    pub(crate) fn login(&self, password: &str) -> Login {
        Login { tenant: self.tenant.clone(), user: self.name.clone(), password: secret(password) }
    }

    /// A recovery code that was not used.
    pub(crate) fn spare(&mut self) -> String {
        self.recovery.pop().unwrap()
    }
}

impl World {
    /// Takes up an account with its invitation.
    pub(crate) async fn enrol(&self, invitation: &Invitation) -> Person {
        let door = self.host.door();
        let token = invitation.token.expose();
        let enrolment = door.accept(&knock(), token, &secret(PASSWORD)).await.unwrap();
        let seed = enrolment.seed.expose().to_owned();
        let enrolled = door.enrol(&knock(), enrolment.pending.expose(), &code(&seed, 0)).await.unwrap();
        let recovery = enrolled.recovery_codes.iter().map(|code| code.expose().to_owned()).collect();
        Person { tenant: enrolled.tenant.to_string(), name: enrolled.user, seed, recovery }
    }

    /// A user of acme who took up their account.
    pub(crate) async fn person(&self, name: &str, role: &str) -> Person {
        self.enrol(&self.host.users().invite(&acme("olga"), name, Some(role)).await.unwrap()).await
    }

    pub(crate) async fn pending_login(&self, person: &Person) -> Pending {
        self.host.door().login(&knock(), &person.login(PASSWORD)).await.unwrap()
    }

    /// Signs in with a recovery code.
    pub(crate) async fn sign_in(&self, person: &mut Person) -> SignedIn {
        let pending = self.pending_login(person).await;
        let code = person.spare();
        self.host.door().code(&knock(), pending.pending.expose(), &code).await.unwrap()
    }

    /// Who that session stands for now.
    pub(crate) async fn acting(&self, signed_in: &SignedIn) -> Result<Actor, Refusal> {
        Ok(self.host.door().session(signed_in.token.expose(), knock().address).await?.0)
    }
}
