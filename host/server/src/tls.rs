//! TLS in: version 1.3 and nothing older, HTTP/2 and HTTP/1.1 by ALPN, one certificate at a time.
//!
//! A certificate from files is read again when they change; what does not parse, or whose key does not fit, replaces
//! nothing. One of the host's own making is kept in the data directory, so that clients that were told to trust it may go
//! on doing so.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;

use self::issued::Challenges;
pub(crate) use self::issued::{ACME_TLS, until as issued_until};

mod issued;

/// Where a certificate of the host's own making is kept in the data directory.
pub const OWN_CERTIFICATE: &str = "tls-certificate.pem";
/// Its private key.
const OWN_KEY: &str = "tls-key.pem";
/// How long one is good for.
const OWN_DAYS: i64 = 365;
/// How long before its end a certificate is warned of, and one of the host's own making is made anew.
const WARN: Duration = Duration::from_hours(14 * 24);
/// How often files are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(2);
/// When to try again to make one, after that failed.
const AGAIN: Duration = Duration::from_hours(1);
/// Longer files are no certificates.
const MOST: u64 = 1 << 20;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key that others may read.
    #[error("{}: others may read this key; chmod 600 it", .0.display())]
    Exposed(PathBuf),
    /// A file holds something else.
    #[error("{}: no {what} in PEM form", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// They do not belong together, or the library refuses them.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// One of the host's own making could not be made.
    #[error("a certificate cannot be made: {0}")]
    Made(#[from] rcgen::Error),
    /// It says nothing of how long it is good for.
    #[error("the certificate is no X.509 certificate")]
    NotX509,
    /// Its time is over.
    #[error("the certificate has ended")]
    Ended,
    /// It is for somebody else.
    #[error("the certificate is not for all of tls-names")]
    OtherNames,
}

/// Where the certificate comes from.
#[derive(Debug)]
enum Source {
    /// Files of the operator's.
    Files { chain: PathBuf, key: PathBuf },
    /// The data directory, and whom it is for.
    Own { dir: Dir, names: Vec<String> },
    /// An authority.
    Issued { dir: Dir, names: Vec<String>, challenges: Challenges },
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenges")
    }
}

/// The certificate in use.
pub struct Certificates {
    source: Source,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    until: SystemTime,
    seen: Option<Stamp>,
    /// When a new one could not be made, last.
    failed: Option<Instant>,
}

/// What shows that files changed: when they were written and how long they are.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Certificates {
    /// From files: a chain and its private key.
    ///
    /// # Errors
    /// Files that cannot be read, a key others may read, what is no certificate or does not belong together.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let source = Source::Files { chain: chain.to_owned(), key: key.to_owned() };
        let seen = Some(stamp(chain, key));
        let provider = provider();
        let (key, until) = read_files(&provider, chain, key)?;
        Ok(Self { source, provider, current: RwLock::new(Current { key, until, seen, failed: None }) })
    }

    /// One of the host's own making for `names`, kept in `dir`; a new one when there is none, when it is for others, or when
    /// it ends soon.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn own(dir: &Dir, names: &[String]) -> Result<Self, TlsError> {
        let provider = provider();
        let kept = kept(dir, &provider, names);
        let (key, until) = match kept {
            Some(kept) => kept,
            None => make(dir, &provider, names)?,
        };
        let dir = dir.try_clone().map_err(|source| TlsError::File { path: PathBuf::from("."), source })?;
        let source = Source::Own { dir, names: names.to_vec() };
        Ok(Self { source, provider, current: RwLock::new(Current { key, until, seen: None, failed: None }) })
    }

    /// Reads the files again if they changed; makes one of the host's own making anew when it ends soon. What cannot be used
    /// replaces nothing.
    pub fn look(&self) {
        match &self.source {
            Source::Files { chain, key } => self.reread(chain, key),
            Source::Own { dir, names } => self.renew(dir, names),
            // Renewed by who asks the authority.
            Source::Issued { .. } => {}
        }
    }

    fn renew(&self, dir: &Dir, names: &[String]) {
        let failed = self.read().failed;
        if !ends_soon(self.until()) || failed.is_some_and(|failed| failed.elapsed() < AGAIN) {
            return;
        }
        let made = make(dir, &self.provider, names);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok((key, until)) => {
                *current = Current { key, until, seen: None, failed: None };
                tracing::info!("a new certificate of the host's own making is in use");
            }
            Err(error) => {
                current.failed = Some(Instant::now());
                tracing::error!(%error, "a new certificate cannot be made; the old one stays");
            }
        }
    }

    fn reread(&self, chain: &Path, key: &Path) {
        let now = stamp(chain, key);
        if self.read().seen == Some(now) {
            return;
        }
        let read = read_files(&self.provider, chain, key);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.seen = Some(now);
        match read {
            Ok((key, until)) => {
                current.key = key;
                current.until = until;
                tracing::info!("a new certificate is in use");
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used; the old one stays"),
        }
    }

    /// When the certificate in use ends.
    pub fn until(&self) -> SystemTime {
        self.read().until
    }

    /// Whether it ends soon, or has ended.
    pub fn ends_soon(&self) -> bool {
        if let Source::Issued { .. } = self.source {
            // Some live for days only.
            return self.read().key.cert.first().is_none_or(|first| issued::left_is_below(first, 1, 3));
        }
        ends_soon(self.until())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Source::Issued { challenges, .. } = &self.source
            && issued::is_asked(&hello)
        {
            return challenges.answer(&hello);
        }
        Some(self.read().key.clone())
    }
}

/// What the listener speaks.
///
/// # Errors
/// When the cryptographic library refuses the configuration.
pub fn config(certificates: &Arc<Certificates>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(certificates.provider.clone()).with_protocol_versions(&[&TLS13])?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if let Source::Issued { .. } = certificates.source {
        config.alpn_protocols.push(ACME_TLS.to_vec());
    }
    // Early data could be replayed; nothing of a session is kept either.
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn stamp(chain: &Path, key: &Path) -> Stamp {
    [chain, key].map(|path| fs::metadata(path).ok().and_then(|file| Some((file.modified().ok()?, file.len()))))
}

/// Whether what is good until then ends soon, or has ended.
fn ends_soon(until: SystemTime) -> bool {
    !until.duration_since(SystemTime::now()).is_ok_and(|left| left > WARN)
}

type Parsed = (Arc<CertifiedKey>, SystemTime);

fn read_files(provider: &CryptoProvider, chain: &Path, key: &Path) -> Result<Parsed, TlsError> {
    use std::os::unix::fs::MetadataExt as _;
    let file = |path: &Path| {
        let read = || -> std::io::Result<(Vec<u8>, fs::Metadata)> {
            let file = fs::File::open(path)?;
            let metadata = file.metadata()?;
            let mut bytes = Vec::new();
            file.take(MOST).read_to_end(&mut bytes)?;
            Ok((bytes, metadata))
        };
        read().map_err(|source| TlsError::File { path: path.to_owned(), source })
    };
    let (chain_pem, _) = file(chain)?;
    let (key_pem, metadata) = file(key)?;
    // Root may share its own with one group, as is usual where the host is given a file that it cannot change.
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & others != 0 {
        return Err(TlsError::Exposed(key.to_owned()));
    }
    parse(provider, &chain_pem, &key_pem, (chain, key))
}

fn parse(
    provider: &CryptoProvider,
    chain_pem: &[u8],
    key_pem: &[u8],
    (chain, key): (&Path, &Path),
) -> Result<Parsed, TlsError> {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(chain_pem).collect::<Result<_, _>>().unwrap_or_default();
    let Some(first) = certificates.first() else {
        return Err(TlsError::Pem { path: chain.to_owned(), what: "certificate" });
    };
    let until = ends(first).ok_or(TlsError::NotX509)?;
    let private = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|_| TlsError::Pem { path: key.to_owned(), what: "private key" })?;
    let certified = CertifiedKey::from_der(certificates, private, provider)?;
    Ok((Arc::new(certified), until))
}

/// RFC 5280 section 4.1.2.5: `notAfter`.
fn ends(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The one kept in `dir`, if it is for `names` and does not end soon.
fn kept(dir: &Dir, provider: &CryptoProvider, names: &[String]) -> Option<Parsed> {
    let read = |name: &str| {
        let mut bytes = Vec::new();
        dir.open(name).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let parsed =
        parse(provider, &read(OWN_CERTIFICATE)?, &read(OWN_KEY)?, (Path::new(OWN_CERTIFICATE), Path::new(OWN_KEY)));
    let (key, until) = parsed.ok()?;
    (fits(&key, names) && !ends_soon(until)).then_some((key, until))
}

/// Whether a certificate is for all of these.
fn fits(key: &CertifiedKey, names: &[String]) -> bool {
    let parsed = key.cert.first().and_then(|first| rustls::server::ParsedCertificate::try_from(first).ok());
    parsed.is_some_and(|parsed| {
        let fits = |name: ServerName<'_>| verify_server_name(&parsed, &name).is_ok();
        names.iter().all(|name| ServerName::try_from(name.as_str()).is_ok_and(fits))
    })
}

fn make(dir: &Dir, provider: &CryptoProvider, names: &[String]) -> Result<Parsed, TlsError> {
    let mut params = rcgen::CertificateParams::new(names.to_vec())?;
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    let day = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(today.yesterday().unwrap_or(today));
    params.not_after = day(today.saturating_add(jiff::Span::new().days(OWN_DAYS)));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "opsiq, of its own making");
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let (chain_pem, key_pem) = (certificate.pem(), zeroize::Zeroizing::new(key.serialize_pem()));
    put(dir, OWN_KEY, key_pem.as_bytes(), 0o600)?;
    put(dir, OWN_CERTIFICATE, chain_pem.as_bytes(), 0o644)?;
    parse(provider, chain_pem.as_bytes(), key_pem.as_bytes(), (Path::new(OWN_CERTIFICATE), Path::new(OWN_KEY)))
}

/// Writes a file whole or not at all.
pub(crate) fn put(dir: &Dir, name: &str, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let new = format!("{name}.new");
    let write = || -> std::io::Result<()> {
        let _ = dir.remove_file(&new);
        let mut file = dir.open_with(&new, OpenOptions::new().write(true).create_new(true).mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        dir.rename(&new, dir, name)
    };
    write().map_err(|source| TlsError::File { path: PathBuf::from(name), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn dir() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).unwrap();
        (temp, dir)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn leaf(certificates: &Certificates) -> Vec<u8> {
        certificates.read().key.cert[0].to_vec()
    }

    #[test]
    fn one_of_our_making_is_kept_until_it_is_for_others() {
        let (temp, dir) = dir();
        let first = Certificates::own(&dir, &names(&["localhost", "127.0.0.1"])).unwrap();
        let again = Certificates::own(&dir, &names(&["localhost"])).unwrap();
        assert_eq!(leaf(&first), leaf(&again));
        assert!(!first.ends_soon());
        let other = Certificates::own(&dir, &names(&["example.com"])).unwrap();
        assert_ne!(leaf(&first), leaf(&other));
        let mode = fs::metadata(temp.path().join(OWN_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_of_our_making_is_made_anew_before_it_ends() {
        let (_temp, dir) = dir();
        let own = Certificates::own(&dir, &names(&["localhost"])).unwrap();
        let first = leaf(&own);
        own.look();
        assert_eq!(leaf(&own), first);
        own.current.write().unwrap().until = SystemTime::now() + WARN / 2;
        assert!(own.ends_soon());
        own.look();
        assert_ne!(leaf(&own), first);
        assert!(!own.ends_soon());
        // It is the one that the next start finds, and that clients are told to trust.
        assert_eq!(leaf(&own), leaf(&Certificates::own(&dir, &names(&["localhost"])).unwrap()));
    }

    #[test]
    fn files_are_read_again_and_what_is_broken_replaces_nothing() {
        let (temp, dir) = dir();
        Certificates::own(&dir, &names(&["a.example"])).unwrap();
        let (chain, key) = (temp.path().join("chain"), temp.path().join("key"));
        let take = || {
            fs::copy(temp.path().join(OWN_CERTIFICATE), &chain).unwrap();
            fs::copy(temp.path().join(OWN_KEY), &key).unwrap();
        };
        take();
        let files = Certificates::from_files(&chain, &key).unwrap();
        let first = leaf(&files);
        fs::write(&chain, "no certificate").unwrap();
        files.look();
        assert_eq!(leaf(&files), first);
        Certificates::own(&dir, &names(&["b.example"])).unwrap();
        // A chain whose key is another's.
        fs::copy(temp.path().join(OWN_CERTIFICATE), &chain).unwrap();
        files.look();
        assert_eq!(leaf(&files), first);
        take();
        files.look();
        assert_ne!(leaf(&files), first);
        let roots = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&key).unwrap()) == 0;
        for (mode, taken) in [(0o640, roots), (0o660, false), (0o644, false)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let read = Certificates::from_files(&chain, &key);
            assert_eq!(read.is_ok(), taken, "{mode:o}");
            assert!(taken || matches!(read, Err(TlsError::Exposed(_))));
        }
    }
}
