//! TLS before there is an identity: the cloud is known by the fingerprint of its authority, which a
//! join token holds, or by an authority that the person who joins has named.

use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use super::{NamedVerifier, TlsError, certificates, server_name};
use crate::link::clock::Clock;

/// The name in every cloud's own certificate.
const CLOUD: &str = "gnomon-cloud";

/// The SHA-256 of an authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is the SHA-256 of the cloud's ca.pem: 64 hexadecimal digits")]
pub struct ParseFingerprintError;

impl Fingerprint {
    /// That of the first certificate in a PEM text; `None` if there is none.
    pub fn of_pem(pem: &str) -> Option<Self> {
        certificates(pem).ok()?.first().map(Self::of)
    }

    /// The one in a join token, behind its dot; `None`: the token has none.
    pub fn in_token(token: &str) -> Option<Self> {
        token.trim().rsplit_once('.').and_then(|(_, text)| text.parse().ok())
    }

    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    /// Reads it with or without colons between the bytes.
    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).ok_or(ParseFingerprintError))
            .collect::<Result<_, _>>()?;
        let bytes = digits.chunks(2).filter_map(|pair| match pair {
            [high, low] => u8::try_from(high << 4 | low).ok(),
            _ => None,
        });
        let bytes: Vec<u8> = bytes.collect();
        if digits.len() != 64 {
            return Err(ParseFingerprintError);
        }
        bytes.try_into().map(Self).map_err(|_| ParseFingerprintError)
    }
}

/// How the cloud is known.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It shows the authority that has this fingerprint, and a certificate of it.
    Fingerprint(Fingerprint),
    /// It shows a certificate of one of these authorities, in PEM, for its own name or that of the
    /// host that is dialled.
    Authorities(String),
}

impl Trust {
    /// The name by which the server is asked for its certificate.
    pub fn asks_for(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        match self {
            Self::Fingerprint(_) => server_name(CLOUD),
            Self::Authorities(_) => server_name(host),
        }
    }
}

/// A TLS client for a node that has no identity yet.
pub fn joining_config(trust: &Trust, host: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let clock = Arc::new(Clock::default());
    let (pin, roots) = match trust {
        Trust::Fingerprint(pin) => (Some(*pin), Vec::new()),
        Trust::Authorities(pem) => {
            let roots = certificates(pem);
            (None, roots.map_err(|source| TlsError::Pem { file: "the file of --ca", source })?)
        }
    };
    let mut names = vec![server_name(CLOUD)?];
    if pin.is_none() {
        names.push(server_name(host)?);
    }
    let provider_of = Arc::clone(&provider);
    let verifier = JoinVerifier { pin, roots, names, clock: Arc::clone(&clock), provider };
    let config = ClientConfig::builder_with_details(provider_of, clock)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Client)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct JoinVerifier {
    pin: Option<Fingerprint>,
    roots: Vec<CertificateDer<'static>>,
    names: Vec<ServerName<'static>>,
    clock: Arc<Clock>,
    provider: Arc<CryptoProvider>,
}

impl JoinVerifier {
    /// The authorities that count for what the server shows.
    fn roots(&self, shown: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        let Some(pin) = self.pin else {
            for root in &self.roots {
                store.add(root.clone())?;
            }
            return Ok(store);
        };
        let authority = shown.iter().find(|certificate| Fingerprint::of(certificate) == pin);
        let authority = authority.ok_or_else(|| {
            let message = "the server does not show the authority that the join token names: it is \
                           another cloud, or something in between ends TLS (then give --ca FILE)";
            Error::General(message.to_owned())
        })?;
        store.add(authority.clone().into_owned())?;
        Ok(store)
    }
}

impl ServerCertVerifier for JoinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        address: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = Arc::new(self.roots(intermediates)?);
        let provider = Arc::clone(&self.provider);
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let inner = inner.map_err(|error| Error::General(error.to_string()))?;
        let mut result = Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        for name in &self.names {
            let (inner, clock) = (Arc::clone(&inner), Arc::clone(&self.clock));
            let verifier = NamedVerifier { inner, clock, name: name.clone() };
            result =
                verifier.verify_server_cert(end_entity, intermediates, address, ocsp_response, now);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
