//! A node that has no identity yet, and servers that want to be its cloud.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server with a certificate for a name, which shows this authority besides it.
    fn server(&self, name: &str, shows: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem() + shows;
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates(&chain).unwrap(), key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn pin(&self) -> Trust {
        Trust::Fingerprint(Fingerprint::of_pem(&self.pem).unwrap())
    }
}

/// Whether a node that joins at `cloud.example` takes the server for its cloud.
async fn takes(trust: &Trust, server: TlsAcceptor) -> Result<(), String> {
    let (here, there) = tokio::io::duplex(1 << 16);
    let serving = tokio::spawn(async move { server.accept(there).await.map(drop) });
    let config = joining_config(trust, "cloud.example").map_err(|error| error.to_string())?;
    let name = trust.asks_for("cloud.example").unwrap();
    let result = TlsConnector::from(config).connect(name, here).await;
    drop(serving.await);
    result.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_fingerprint_in_the_token_lets_in_the_own_cloud_and_no_other() {
    let (own, other) = (Authority::new(), Authority::new());
    takes(&own.pin(), own.server(CLOUD, &own.pem)).await.unwrap();
    let alone = takes(&own.pin(), own.server(CLOUD, "")).await.unwrap_err();
    assert!(alone.contains("--ca FILE"), "{alone}");
    takes(&own.pin(), other.server(CLOUD, &other.pem)).await.unwrap_err();
    // Whoever knows the own authority's certificate, which is no secret, has not its key.
    takes(&own.pin(), other.server(CLOUD, &own.pem)).await.unwrap_err();
    takes(&own.pin(), own.server("site-7", &own.pem)).await.unwrap_err();
}

#[tokio::test]
async fn a_named_authority_vouches_for_the_host_and_for_the_cloud() {
    let (own, other) = (Authority::new(), Authority::new());
    let trust = Trust::Authorities(own.pem.clone());
    takes(&trust, own.server(CLOUD, "")).await.unwrap();
    takes(&trust, own.server("cloud.example", "")).await.unwrap();
    takes(&trust, own.server("another.example", "")).await.unwrap_err();
    takes(&trust, other.server(CLOUD, &own.pem)).await.unwrap_err();
    assert!(joining_config(&Trust::Authorities(String::new()), "cloud.example").is_err());
}

#[test]
fn fingerprints_are_read_from_tokens_and_from_what_openssl_prints() {
    let digits = "0f".repeat(32);
    let colons = vec!["0F"; 32].join(":");
    assert_eq!(digits.parse::<Fingerprint>(), colons.parse());
    assert_eq!(Fingerprint::in_token(&format!("gnj_00.{digits}\n")), digits.parse().ok());
    for text in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &format!("{digits}0")] {
        assert!(text.parse::<Fingerprint>().is_err(), "{text:?} was accepted");
    }
    assert_eq!(Fingerprint::in_token("an-old-token"), None);
}
