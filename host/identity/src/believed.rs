//! Who signed in, as a provider says and proved: the same whichever way it was said, so that accounts, roles and domains are decided in
//! one place.

use serde_json::{Map, Value};

/// Who signed in, as their provider says and signed for this attempt.
#[derive(Debug, Clone)]
pub struct Believed {
    sub: String,
    claims: Map<String, Value>,
    told: Told,
}

/// How the provider tells what every way of signing in tells.
#[derive(Debug, Clone)]
enum Told {
    /// By claims of known names.
    ByClaims,
    /// By its statements.
    Stated { signed_in_s: i64, several_factors: bool, email: Option<String> },
}

impl Believed {
    /// By claims of `OpenID` Connect.
    pub(crate) fn by_claims(sub: String, claims: Map<String, Value>) -> Self {
        Self { sub, claims, told: Told::ByClaims }
    }

    /// By the statements of an assertion, its attributes by name.
    pub(crate) fn stated(
        sub: String,
        attributes: Map<String, Value>,
        signed_in_s: i64,
        several_factors: bool,
        email: Option<String>,
    ) -> Self {
        Self { sub, claims: attributes, told: Told::Stated { signed_in_s, several_factors, email } }
    }

    /// The provider's name for the person, which is theirs for ever. No two people have one, and e-mail addresses are none, unless an
    /// owner said that the provider has no other.
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// When the person last proved to the provider who they are, in seconds since 1970, if it says so.
    pub fn signed_in_s(&self) -> Option<i64> {
        match &self.told {
            Told::ByClaims => time(&self.claims, "auth_time").ok().flatten(),
            Told::Stated { signed_in_s, .. } => Some(*signed_in_s),
        }
    }

    /// Whether they did so with several factors: `mfa` of RFC 8176 section 2, or what is said of an assertion.
    pub fn had_second_factor(&self) -> bool {
        match &self.told {
            Told::ByClaims => {
                let methods = self.claims.get("amr").and_then(Value::as_array);
                methods.is_some_and(|methods| methods.iter().any(|method| method == "mfa"))
            }
            Told::Stated { several_factors, .. } => *several_factors,
        }
    }

    /// Their e-mail address, if the provider says that it is theirs. In lower case.
    pub fn verified_email(&self) -> Option<String> {
        let email = match &self.told {
            Told::ByClaims => {
                // Some write the flag as a text.
                let verified = self.claims.get("email_verified").is_some_and(|flag| flag == true || flag == "true");
                self.claims.get("email").and_then(Value::as_str).filter(|_| verified)?
            }
            Told::Stated { email, .. } => email.as_deref()?,
        };
        let (local, domain) = email.rsplit_once('@')?;
        let plain = email.is_ascii() && email.len() <= 254 && !local.is_empty() && !domain.is_empty();
        plain.then(|| email.to_ascii_lowercase())
    }

    /// The texts of a claim or an attribute: one, or all of a list. A name that begins with a slash is a JSON Pointer into the claims
    /// (RFC 6901).
    pub fn values(&self, claim: &str) -> Vec<&str> {
        let found = if let Some(pointer) = claim.strip_prefix('/') {
            let (first, rest) = pointer.split_once('/').map_or((pointer, None), |(a, b)| (a, Some(b)));
            let top = self.claims.get(&first.replace("~1", "/").replace("~0", "~"));
            rest.map_or(top, |rest| top.and_then(|top| top.pointer(&format!("/{rest}"))))
        } else {
            self.claims.get(claim)
        };
        match found {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the claim is there.
    pub fn says(&self, claim: &str) -> bool {
        !self.values(claim).is_empty()
    }

    /// Adds what is not said yet.
    pub(crate) fn add(&mut self, said: Map<String, Value>) {
        // Both halves of what is said of an address come from one place.
        let address = ["email", "email_verified"].iter().any(|name| self.claims.contains_key(*name));
        for (name, value) in said {
            if !(address && name.starts_with("email")) {
                self.claims.entry(name).or_insert(value);
            }
        }
    }
}

/// A claim that is a time and no number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoTime;

/// A time of a claim, in whole seconds since 1970.
pub(crate) fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, NoTime> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    // Within ±2^53, as it was read.
    #[allow(clippy::cast_possible_truncation, reason = "a fraction of a second is not needed")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    seconds.map(Some).ok_or(NoTime)
}
