//! TLS as the link needs it: the cloud's own authority, this node's certificate, the name that the
//! identity gives whatever the address says, and a clock that may be wrong. Sessions are resumed.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::clock::{self, Clock};
use crate::identity::Identity;

mod joining;

pub use joining::{Fingerprint, ParseFingerprintError, Trust, joining_config};

/// The TLS client of the present identity; clones share it. A renewed certificate comes with a
/// client of its own, so that no session goes on that was begun with the one before.
#[derive(Debug, Clone)]
pub struct Tls(
    // A lock, because the renewal writes what each new connection reads; held for one look.
    Arc<RwLock<Arc<ClientConfig>>>,
);

impl Tls {
    /// The client for the next connection.
    pub fn current(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is the client.
    pub fn replace(&self, client: Arc<ClientConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = client;
    }
}

impl From<Arc<ClientConfig>> for Tls {
    fn from(client: Arc<ClientConfig>) -> Self {
        Self(Arc::new(RwLock::new(client)))
    }
}

/// Why the identity makes no TLS client.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file holds no certificate or key, or a malformed one.
    #[error("{file} of the identity cannot be read as PEM; join again with --force")]
    Pem {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The authority cannot be used.
    #[error("the authority in ca.pem cannot be used; join again with --force")]
    Authority(#[source] VerifierBuilderError),
    /// An authority's certificate is malformed.
    #[error("a certificate in ca.pem is malformed; join again with --force")]
    Root(#[source] Error),
    /// The key does not belong to the certificate, or the protocol versions are unusable.
    #[error("cert.pem and key.pem do not make a client; join again with --force")]
    Client(#[source] Error),
    /// The server name is none.
    #[error("the server name {name:?} in identity.json is none; join again with --force")]
    ServerName {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: InvalidDnsNameError,
    },
}

/// A TLS client for an identity, with the node's own clock.
pub fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
    client_config_at(identity, Arc::new(Clock::default()))
}

/// A TLS client for an identity, with a clock that learns from the certificates it sees.
pub fn client_config_at(
    identity: &Identity,
    clock: Arc<Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let pem = |file| move |source| TlsError::Pem { file, source };
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in certificates(&identity.ca_pem).map_err(pem("ca.pem"))? {
        roots.add(root).map_err(TlsError::Root)?;
    }
    let chain = certificates(&identity.certificate_pem).map_err(pem("cert.pem"))?;
    if let Some(begins) = chain.first().and_then(clock::begins) {
        clock.learn(begins);
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes());
    let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .build()
        .map_err(TlsError::Authority)?;
    let verifier = NamedVerifier {
        inner,
        clock: Arc::clone(&clock),
        name: server_name(&identity.server_name)?,
    };
    let config = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Client)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key.map_err(pem("key.pem"))?)
        .map_err(TlsError::Client)?;
    Ok(Arc::new(config))
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned())
        .map_err(|source| TlsError::ServerName { name: name.to_owned(), source })
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(rustls::pki_types::pem::Error::NoItemsFound);
    }
    Ok(found)
}

/// Checks a server as usual, but for the name of the identity and not for the address, which may
/// be a tunnel, a proxy or a bare number. A certificate that is not valid yet is verified at the
/// moment when it will be: the authority made it, so it is the node's clock that is late.
#[derive(Debug)]
struct NamedVerifier {
    inner: Arc<WebPkiServerVerifier>,
    clock: Arc<Clock>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |at| {
            self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, at)
        };
        let chain = std::iter::once(end_entity).chain(intermediates);
        let begins = chain.filter_map(clock::begins).max().unwrap_or_default();
        let verified = match verify(now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => verify(clock::unix(begins)),
            other => other,
        };
        verified.inspect(|_| self.clock.learn(begins))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
