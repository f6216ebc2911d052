//! Builds the TLS side of a listener, and reads who is at the other end of a TLS connection.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::auth::{CertificateSubject, SubjectError};

/// What a listener asks of its clients.
#[derive(Debug, Clone)]
pub enum ClientCertificates {
    /// A certificate of one of these authorities; without it the handshake fails.
    Required(Vec<CertificateDer<'static>>),
    /// A certificate of one of these authorities, or none: then the client is who its
    /// password says, or anonymous.
    Optional(Vec<CertificateDer<'static>>),
    /// Nothing.
    NotAsked,
}

/// The certificate, the key and the client authorities of a TLS listener.
pub struct TlsConfig {
    /// The server's certificate, followed by those that lead to its root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub key: PrivateKeyDer<'static>,
    /// What is asked of clients.
    pub clients: ClientCertificates,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("chain", &self.chain.len())
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

/// Why a TLS listener cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text does not hold what it should.
    #[error("cannot read the {what} from its PEM text")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// What went wrong.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A PEM text without a certificate.
    #[error("there is no certificate in the PEM text of the {what}")]
    Missing {
        /// What was looked for.
        what: &'static str,
    },
    /// A certificate of a client authority that cannot be used.
    #[error("a certificate of the client authority cannot be used")]
    ClientAuthority(#[source] rustls::Error),
    /// The client authorities do not make a verifier.
    #[error("clients cannot be verified with these authorities")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The certificate and the key do not make a server.
    #[error("the server certificate or its key cannot be used")]
    Server(#[source] rustls::Error),
}

impl TlsConfig {
    /// Reads PEM texts; clients must show a certificate of `client_ca`.
    pub fn from_pem(chain: &[u8], key: &[u8], client_ca: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            chain: certificates("server certificate", chain)?,
            key: PrivateKeyDer::from_pem_slice(key)
                .map_err(|source| TlsError::Pem { what: "server key", source })?,
            clients: ClientCertificates::Required(certificates("client authority", client_ca)?),
        })
    }

    /// The configuration for [`crate::ListenerConfig`]: TLS 1.2 and 1.3 on ring, with stateless
    /// tickets, so that a returning client is cheap whatever their number.
    pub fn build(self) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier = match self.clients {
            ClientCertificates::Required(authorities) => verifier(authorities, true)?,
            ClientCertificates::Optional(authorities) => verifier(authorities, false)?,
            ClientCertificates::NotAsked => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Server)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain, self.key)
            .map_err(TlsError::Server)?;
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Server)?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    if found.is_empty() { Err(TlsError::Missing { what }) } else { Ok(found) }
}

fn verifier(
    authorities: Vec<CertificateDer<'static>>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(TlsError::ClientAuthority)?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(TlsError::Verifier)
}

/// The subject of the certificate that the client proved to hold.
pub(crate) fn peer_subject(
    connection: &ServerConnection,
) -> Result<Option<CertificateSubject>, SubjectError> {
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    leaf.map(|der| CertificateSubject::from_der(der)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_text_that_is_wrong() {
        let error = TlsConfig::from_pem(b"", b"", b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no certificate in the PEM text of the server certificate"
        );
    }
}
