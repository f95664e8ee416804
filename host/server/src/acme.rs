//! Certificates from an ACME authority (RFC 8555), by TLS-ALPN-01 (RFC 8737) on the server's own port: asked for when there
//! is none or the one in use grows old, again and again with longer and longer waits when that fails. What fails leaves the
//! certificate in use alone.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::acme::wire::Wire;
use crate::listen;
use crate::metrics::Counters;
use crate::settings::AcmeSettings;
use crate::tls::{self, Certificates, TlsError};

mod wire;

/// The account and its key, in the data directory.
const ACCOUNT: &str = "acme-account.json";
/// Why the last attempt failed, for `opsiq doctor`.
const FAILURE: &str = "acme-failure.txt";
/// Longer files are none of these.
const MOST: u64 = 64 << 10;
/// How often the certificate in use is looked at.
const LOOK: Duration = Duration::from_mins(1);
/// How long to wait after a first failure; twice that after the next, and so on.
const FIRST: Duration = Duration::from_secs(15);
/// And at most.
const LAST: Duration = Duration::from_hours(6);
/// How an order is looked after.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_mins(2));
/// An account that the authority does not know (RFC 8555 section 6.7).
const UNKNOWN_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority refuses, or is not reached.
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    /// It asks for a proof that this host does not give.
    #[error("the authority offers no tls-alpn-01 for {0}")]
    NoChallenge(String),
    /// It did not find the proof.
    #[error("the authority could not check a name: {0}")]
    Refused(String),
    /// What it issued, or what is asked with, cannot be used or kept.
    #[error(transparent)]
    Certificate(#[from] TlsError),
}

impl From<rcgen::Error> for AcmeError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.into())
    }
}

/// An account, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    contact: String,
    credentials: AccountCredentials,
}

/// Has certificates issued.
pub(crate) struct Acme {
    settings: AcmeSettings,
    names: Vec<String>,
    dir: Dir,
    certificates: Arc<Certificates>,
    wire: Wire,
    issued: AtomicU64,
    failed: AtomicU64,
}

impl Acme {
    /// For `names`; what must last is kept in `dir`.
    ///
    /// # Errors
    /// A root certificate that cannot be read or used.
    pub(crate) fn new(
        settings: &AcmeSettings,
        names: &[String],
        dir: Dir,
        certificates: Arc<Certificates>,
    ) -> Result<Self, TlsError> {
        let wire = Wire::new(settings.root.as_deref())?;
        let (issued, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { settings: settings.clone(), names: names.to_vec(), dir, certificates, wire, issued, failed })
    }

    /// Has one issued whenever that is due, until the server ends.
    pub(crate) async fn keep(self: Arc<Self>, mut ended: watch::Receiver<bool>) {
        let mut again = FIRST;
        loop {
            let mut wait = LOOK;
            if self.certificates.due() {
                let renewed = tokio::select! {
                    () = listen::told(&mut ended) => return,
                    renewed = self.renew() => renewed,
                };
                self.tell(&renewed, again);
                (wait, again) = if renewed.is_ok() { (LOOK, FIRST) } else { (again, LAST.min(again * 2)) };
            }
            tokio::select! {
                () = listen::told(&mut ended) => return,
                () = sleep(wait) => {}
            }
        }
    }

    fn tell(&self, renewed: &Result<(), AcmeError>, again: Duration) {
        match renewed {
            Ok(()) => {
                Counters::more(&self.issued);
                let _ = self.dir.remove_file(FAILURE);
                tracing::info!(directory = self.settings.directory, "a new certificate was issued and is in use");
            }
            Err(error) => {
                Counters::more(&self.failed);
                let _ = tls::put(&self.dir, FAILURE, format!("{}: {error}", jiff::Timestamp::now()).as_bytes(), 0o600);
                let seconds = again.as_secs();
                tracing::error!(%error, again = seconds, "no new certificate was issued; the one in use stays");
            }
        }
    }

    async fn renew(&self) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let renewed = self.ordered(&account).await;
        self.certificates.answered();
        if let Err(AcmeError::Authority(instant_acme::Error::Api(problem))) = &renewed
            && problem.r#type.as_deref() == Some(UNKNOWN_ACCOUNT)
        {
            // The next attempt makes one anew.
            let _ = self.dir.remove_file(ACCOUNT);
        }
        renewed
    }

    /// The account, made when there is none at this directory.
    async fn account(&self) -> Result<Account, AcmeError> {
        let AcmeSettings { directory, contact, .. } = &self.settings;
        let builder = Account::builder_with_http(Box::new(self.wire.clone()));
        if let Some(mut kept) = self.kept().filter(|kept| kept.directory == *directory) {
            let (copy, credentials) = twice(kept.credentials)?;
            kept.credentials = copy;
            let account = builder.from_credentials(credentials).await?;
            if kept.contact != *contact {
                account.update_contacts(&[contact]).await?;
                kept.contact.clone_from(contact);
                self.keep_account(&kept)?;
            }
            return Ok(account);
        }
        let new = NewAccount { contact: &[contact], terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        self.keep_account(&Kept { directory: directory.clone(), contact: contact.clone(), credentials })?;
        tracing::info!(directory, "an account was made; the operator accepted the authority's terms");
        Ok(account)
    }

    fn kept(&self) -> Option<Kept> {
        let mut text = zeroize::Zeroizing::new(Vec::new());
        self.dir.open(ACCOUNT).ok()?.take(MOST).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn keep_account(&self, kept: &Kept) -> Result<(), AcmeError> {
        let text = zeroize::Zeroizing::new(serde_json::to_vec(kept).map_err(instant_acme::Error::from)?);
        Ok(tls::put(&self.dir, ACCOUNT, &text, 0o600)?)
    }

    async fn ordered(&self, account: &Account) -> Result<(), AcmeError> {
        let identifiers: Vec<_> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        self.prove(&mut order).await?;
        let ready = order.poll_ready(&PATIENCE).await;
        if !matches!(ready, Ok(OrderStatus::Ready)) {
            let why = refused(&mut order).await;
            return Err(why.unwrap_or_else(|| match ready {
                Err(error) => error.into(),
                Ok(status) => AcmeError::Refused(format!("the order is {status:?}")),
            }));
        }
        let mut params = rcgen::CertificateParams::new(self.names.clone())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let key = rcgen::KeyPair::generate()?;
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(self.certificates.take(&chain, &zeroize::Zeroizing::new(key.serialize_pem()))?)
    }

    /// Answers for each name that the authority has not checked lately.
    async fn prove(&self, order: &mut Order) -> Result<(), AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::NoChallenge(name));
            };
            self.certificates.answer(&name, challenge.key_authorization().digest().as_ref())?;
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// What is counted, in the text form of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let name = "opsiq_acme_orders_total";
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "# HELP {name} Certificates asked for, by how that ended.\n# TYPE {name} counter\n\
             {name}{{outcome=\"issued\"}} {}\n{name}{{outcome=\"failed\"}} {}\n",
            read(&self.issued),
            read(&self.failed)
        )
    }
}

/// The library's credentials cannot be copied but by writing them down.
fn twice(credentials: AccountCredentials) -> Result<(AccountCredentials, AccountCredentials), instant_acme::Error> {
    let text = zeroize::Zeroizing::new(serde_json::to_string(&credentials)?);
    Ok((credentials, serde_json::from_str(&text)?))
}

/// What the authority says of the names that it could not check.
async fn refused(order: &mut Order) -> Option<AcmeError> {
    let mut said = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            break;
        }
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        said.extend(errors.map(|error| format!("{name}: {error}")));
    }
    (!said.is_empty()).then(|| AcmeError::Refused(said.join("; ")))
}

/// How things stand in a data directory, whether or not a server runs.
#[derive(Debug)]
pub struct Standing {
    /// When the certificate that was issued for the names in force ends, if there is a good one.
    pub until: Option<SystemTime>,
    /// When and why the last attempt failed, if none went well since.
    pub failure: Option<String>,
}

/// How things stand in the data directory `data` with certificates for `names`.
///
/// # Errors
/// A directory that cannot be opened.
pub fn standing(data: &Path, names: &[String]) -> std::io::Result<Standing> {
    let dir = Dir::open_ambient_dir(data, cap_std::ambient_authority())?;
    let mut failure = String::new();
    let failed = dir.open(FAILURE).and_then(|file| file.take(MOST).read_to_string(&mut failure)).is_ok();
    Ok(Standing { until: tls::issued_until(&dir, names), failure: failed.then_some(failure) })
}
