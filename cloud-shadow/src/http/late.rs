//! Lets a client through the handshake whose certificate has run out not long ago. What such a client
//! may is not decided here: a node may trade it for a new one, and nobody anything else.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::identity::not_after;

/// Asks another verifier, and once more, as of the end of the certificate, if it only came late.
#[derive(Debug)]
pub(super) struct Late {
    strict: Arc<dyn ClientCertVerifier>,
    grace: Duration,
}

impl Late {
    /// With so much time after the end of a certificate.
    pub(super) fn new(strict: Arc<dyn ClientCertVerifier>, grace: Duration) -> Self {
        Self { strict, grace }
    }
}

/// Whether a certificate has run out.
pub(super) fn is_late(certificate: &[u8], now: Duration) -> bool {
    !not_after(certificate)
        .is_some_and(|end| u64::try_from(end).is_ok_and(|end| end >= now.as_secs()))
}

impl ClientCertVerifier for Late {
    fn offer_client_auth(&self) -> bool {
        self.strict.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.strict.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refusal = match self.strict.verify_client_cert(leaf, between, now) {
            Err(refusal) if has_run_out(&refusal) => refusal,
            decided => return decided,
        };
        let end = not_after(leaf).and_then(|end| u64::try_from(end).ok());
        match end {
            Some(end) if now.as_secs().saturating_sub(end) <= self.grace.as_secs() => {
                let then = UnixTime::since_unix_epoch(Duration::from_secs(end));
                self.strict.verify_client_cert(leaf, between, then)
            }
            Some(_) | None => Err(refusal),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

fn has_run_out(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext};
    matches!(error, Error::InvalidCertificate(Expired | ExpiredContext { .. }))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::RootCertStore;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::server::WebPkiClientVerifier;

    use super::*;
    use crate::identity::Identity;

    const MADE: Duration = Duration::from_hours(500_000);
    const LIFE: Duration = Duration::from_secs(1000);
    const GRACE: Duration = Duration::from_secs(500);

    fn identity() -> (tempfile::TempDir, Identity) {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::open(dir.path(), &[], MADE).unwrap();
        (dir, identity)
    }

    fn verifier(of: &Identity) -> Late {
        let ca = of.authority.certificate_pem();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Late::new(strict.build().unwrap(), GRACE)
    }

    fn leaf(of: &Identity) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let node = "site-1".parse().unwrap();
        let signed = of.authority.sign_node(&node, &request, MADE, LIFE).unwrap();
        CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_of_ours_is_taken_until_the_grace_after_its_end_is_over() {
        let (_dir, ours) = identity();
        let (verifier, leaf) = (verifier(&ours), leaf(&ours));
        let at = |after: u64| {
            let now = UnixTime::since_unix_epoch(MADE + Duration::from_secs(after));
            verifier.verify_client_cert(&leaf, &[], now).is_ok()
        };
        assert!(at(0) && at(999) && at(1001) && at(1500));
        assert!(!at(1501) && !at(1_000_000));
        assert!(
            !is_late(&leaf, MADE + LIFE) && is_late(&leaf, MADE + LIFE + Duration::from_secs(1))
        );
        assert!(is_late(b"no certificate", MADE));
    }

    #[test]
    fn a_certificate_of_somebody_else_is_refused_however_late_it_is() {
        let ((_one, ours), (_other, theirs)) = (identity(), identity());
        let (verifier, leaf) = (verifier(&ours), leaf(&theirs));
        for after in [0, 1200, 5000] {
            let now = UnixTime::since_unix_epoch(MADE + Duration::from_secs(after));
            assert!(verifier.verify_client_cert(&leaf, &[], now).is_err(), "{after}");
        }
    }
}
