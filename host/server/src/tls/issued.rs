//! A certificate that an authority issued, kept in the data directory; and those that prove to it, for a moment, that this
//! host answers for a name (RFC 8737).
//!
//! Key and chain lie in one file, so that a crash never leaves one without the other. Until there is one the host shows
//! one of its own making.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use super::{Certificates, Current, MOST, Parsed, Source, TlsError, fits, parse, provider, put};

/// The protocol that an authority's question is asked by (RFC 8737 section 6.2).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";
/// Key and chain, in the data directory.
const ISSUED: &str = "acme-certificate.pem";

/// Answers to an authority, by name.
#[derive(Default)]
pub(super) struct Challenges(RwLock<HashMap<String, Arc<CertifiedKey>>>);

impl Challenges {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to show to an authority that asks; `None` when nothing of that name was asked for.
    pub(super) fn answer(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }
}

/// Whether this client is an authority that asks, and so speaks nothing else (RFC 8737 section 3).
pub(super) fn is_asked(hello: &ClientHello<'_>) -> bool {
    let Some(mut protocols) = hello.alpn() else { return false };
    protocols.next() == Some(ACME_TLS) && protocols.next().is_none()
}

impl Certificates {
    /// The one that was issued for `names` and kept in `dir`, or one of the host's own making until there is one.
    ///
    /// # Errors
    /// A directory that cannot be read or written.
    pub fn issued(dir: &Dir, names: &[String]) -> Result<Self, TlsError> {
        let own = Self::own(dir, names)?;
        let dir = dir.try_clone().map_err(|source| TlsError::File { path: PathBuf::from("."), source })?;
        let current = match kept(&dir, &own.provider, names) {
            Some((key, until)) => Current { key, until, seen: None, failed: None },
            None => own.current.into_inner().unwrap_or_else(PoisonError::into_inner),
        };
        let source = Source::Issued { dir, names: names.to_vec(), challenges: Challenges::default() };
        Ok(Self { source, provider: own.provider, current: RwLock::new(current) })
    }

    /// Whether it is time to have one issued: there is none, or less than two fifths of its life are left. So several
    /// attempts come before its last third.
    pub(crate) fn due(&self) -> bool {
        let key = self.read().key.clone();
        key.cert.first().is_none_or(|first| is_own(first) || left_is_below(first, 2, 5))
    }

    /// Uses what was issued from now on, and keeps it.
    ///
    /// # Errors
    /// What is not for all names, is not good now, or cannot be kept; it replaces nothing then.
    pub(crate) fn take(&self, chain_pem: &str, key_pem: &str) -> Result<(), TlsError> {
        let Source::Issued { dir, names, .. } = &self.source else { return Ok(()) };
        let both = zeroize::Zeroizing::new(format!("{key_pem}{chain_pem}"));
        let (key, until) = usable(&self.provider, both.as_bytes(), names)?;
        put(dir, ISSUED, both.as_bytes(), 0o600)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { key, until, seen: None, failed: None };
        Ok(())
    }

    /// Answers the authority for `name` with the digest of a key authorization, until [`Self::answered`].
    ///
    /// # Errors
    /// When no certificate can be made that says so.
    pub(crate) fn answer(&self, name: &str, digest: &[u8]) -> Result<(), TlsError> {
        let Source::Issued { challenges, .. } = &self.source else { return Ok(()) };
        let mut params = rcgen::CertificateParams::new([name.to_owned()])?;
        params.custom_extensions.push(rcgen::CustomExtension::new_acme_identifier(digest));
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| TlsError::NotX509)?;
        // Not compared with its key: the library knows no certificate with this critical extension.
        let certified = CertifiedKey::new(vec![certificate], self.provider.key_provider.load_private_key(private)?);
        challenges.write().insert(name.to_ascii_lowercase(), Arc::new(certified));
        Ok(())
    }

    /// Answers the authority nothing any more.
    pub(crate) fn answered(&self) {
        if let Source::Issued { challenges, .. } = &self.source {
            challenges.write().clear();
        }
    }
}

/// When the certificate ends that was issued for `names` and kept in `dir`, if there is one that is good.
pub(crate) fn until(dir: &Dir, names: &[String]) -> Option<SystemTime> {
    kept(dir, &provider(), names).map(|(_, until)| until)
}

fn kept(dir: &Dir, provider: &CryptoProvider, names: &[String]) -> Option<Parsed> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    dir.open(ISSUED).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    usable(provider, &bytes, names).inspect_err(|error| tracing::warn!(%error, "{ISSUED} is not used")).ok()
}

fn usable(provider: &CryptoProvider, both: &[u8], names: &[String]) -> Result<Parsed, TlsError> {
    let (key, until) = parse(provider, both, both, (Path::new(ISSUED), Path::new(ISSUED)))?;
    if until <= SystemTime::now() {
        return Err(TlsError::Ended);
    }
    if !fits(&key, names) {
        return Err(TlsError::OtherNames);
    }
    Ok((key, until))
}

/// Whether it is signed by none but itself. Authorities issue from another certificate.
fn is_own(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| parsed.issuer() == parsed.subject())
}

/// Whether less than this part of its life is left.
pub(super) fn left_is_below(certificate: &CertificateDer<'_>, part: u32, of: u32) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return true };
    let at = |time: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or_default());
    let validity = parsed.validity();
    let (from, until) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
    let life = until.duration_since(from).unwrap_or_default();
    until.duration_since(SystemTime::now()).unwrap_or_default() < life * part / of
}

#[cfg(test)]
mod tests;
