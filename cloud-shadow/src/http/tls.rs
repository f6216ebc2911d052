//! TLS of the API: what is shown to whom, and how that is read again when its files change. Clients
//! may show a certificate of the cloud's authority; only what nodes do asks for one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::late::Late;
use crate::config::TlsFiles;
use crate::identity::{Identity, SERVER_NAME, not_after};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// A file cannot be read.
    #[error("{path} cannot be read; it is named in the configuration")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{what} is not in PEM")]
    Pem {
        /// What was looked for, and where.
        what: Box<str>,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// The certificate and the key do not fit, or are of no use.
    #[error("{what} and its key make no server; is it the key of that certificate?")]
    Pair {
        /// Which certificate.
        what: Box<str>,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The own authority cannot be used.
    #[error("nodes cannot be recognized by the authority in ca.pem")]
    Clients(#[source] VerifierBuilderError),
}

/// What is shown: the own certificate to those who ask for it by its name or where there is no
/// other, the given one to all others.
#[derive(Debug)]
pub struct Shown {
    own: Arc<CertifiedKey>,
    files: Option<TlsFiles>,
    // A lock, because every handshake reads what a change of the files replaces.
    given: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Shown {
    /// Reads everything.
    pub fn load(identity: &Identity, files: Option<TlsFiles>) -> Result<Self, HttpsError> {
        let (chain, key) = identity.server_pem();
        let own = Arc::new(pair("server.pem", chain.as_bytes(), key.as_bytes())?);
        let given = files.as_ref().map(read).transpose()?.map(Arc::new);
        Ok(Self { own, files, given: RwLock::new(given) })
    }

    /// When the given certificate runs out, in seconds since 1970, if one was given.
    pub fn given_expiry(&self) -> Option<i64> {
        let given = self.given.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        not_after(given.cert.first()?)
    }

    /// Reads the given files again; if anything is wrong, all stays as it is.
    pub fn reload(&self) -> Result<(), HttpsError> {
        let Some(files) = &self.files else { return Ok(()) };
        let fresh = Arc::new(read(files)?);
        *self.given.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let given = self.given.read().unwrap_or_else(PoisonError::into_inner).clone();
        let given = given.filter(|_| hello.server_name() != Some(SERVER_NAME));
        Some(given.unwrap_or_else(|| Arc::clone(&self.own)))
    }
}

/// The TLS side of the listener. A client may show a certificate that has run out for no longer than
/// `grace`.
pub fn config(
    identity: &Identity,
    shown: Arc<Shown>,
    grace: Duration,
) -> Result<Arc<ServerConfig>, HttpsError> {
    let ca = identity.authority.certificate_pem();
    let bad = |source| HttpsError::Pem { what: "ca.pem".into(), source };
    let mut roots = RootCertStore::empty();
    let wrong = |source| HttpsError::Pair { what: "ca.pem".into(), source };
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).map_err(bad)?).map_err(wrong)?;
    let provider = Arc::new(ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(HttpsError::Clients)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(wrong)?
        .with_client_cert_verifier(Arc::new(Late::new(clients, grace)))
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(wrong)?;
    Ok(Arc::new(config))
}

/// Looks now and then whether the given files have changed, until `stop`.
pub async fn watch(shown: Arc<Shown>, every: Duration, stop: CancellationToken) {
    let Some(files) = shown.files.clone() else { return };
    let mut seen = stamps(&files);
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        let now = stamps(&files);
        if now == seen {
            continue;
        }
        match shown.reload() {
            Ok(()) => {
                seen = now;
                tracing::info!(path = %files.certificate.display(), "a new certificate is shown");
            }
            // Not seen yet: the other file may follow in a moment, and is tried again then.
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a changed certificate is not used; the old one stays");
            }
        }
    }
}

type Stamp = Option<(SystemTime, u64)>;

fn stamps(files: &TlsFiles) -> (Stamp, Stamp) {
    let stamp = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    (stamp(&files.certificate), stamp(&files.key))
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, HttpsError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| HttpsError::Read { path: path.to_owned(), source })
    };
    let what = files.certificate.display().to_string();
    pair(&what, &read(&files.certificate)?, &read(&files.key)?)
}

fn pair(what: &str, chain: &[u8], key: &[u8]) -> Result<CertifiedKey, HttpsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|source| HttpsError::Pem { what: what.into(), source })?;
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key
        .map_err(|source| HttpsError::Pem { what: format!("the key of {what}").into(), source })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|source| HttpsError::Pair { what: what.into(), source })
}
