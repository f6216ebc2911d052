//! The certificate authority: signs the broker's certificate and those of the nodes.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gnomon_schemas::hex;
use gnomon_schemas::id::{DeviceName, NodeName};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::window::head_start;
use crate::rows::CertificateRecord;

/// The name in the broker's certificate that sites check, whatever address they dial.
pub const SERVER_NAME: &str = "gnomon-cloud";

const THING_CERTIFICATE: Duration = Duration::from_hours(90 * 24);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// A key pair that signs, and the certificate that sites trust it by.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    fingerprint: String,
}

/// A certificate that a node or a thing was given.
#[derive(Debug, Clone)]
pub struct NodeCertificate {
    /// The certificate.
    pub pem: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// When it runs out, in seconds since 1970.
    pub not_after_s: u64,
}

/// A certificate and its key, for our own use.
#[derive(Clone)]
pub(super) struct ServerCertificate {
    pub(super) chain_pem: String,
    pub(super) key_pem: String,
}

/// Why a key or certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate signing request is not one.
    #[error("the certificate signing request cannot be used")]
    Request(#[source] rcgen::Error),
    /// A name cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate; give a host name or an address")]
    Host(String),
    /// The key or certificate of the authority is malformed.
    #[error("the authority's own key or certificate is malformed")]
    Own(#[source] rcgen::Error),
    /// The certificate of the authority is not in PEM.
    #[error("the authority's own certificate is not in PEM")]
    NotPem,
    /// Signing failed.
    #[error("signing a certificate failed")]
    Sign(#[source] rcgen::Error),
}

impl Authority {
    /// A new private key.
    pub(super) fn generate_key() -> Result<String, AuthorityError> {
        KeyPair::generate().map(|key| key.serialize_pem()).map_err(AuthorityError::Sign)
    }

    /// An authority with a private key. With the key of an earlier one it is that one again: what
    /// either has signed, both vouch for.
    pub(super) fn create(key: &str, now: Duration) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key).map_err(AuthorityError::Own)?;
        let mut params = parameters("gnomon certificate authority", now + 20 * YEAR);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        let (certificate_pem, fingerprint) = (certificate.pem(), sha256(certificate.der()));
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem, fingerprint })
    }

    /// An authority that was made earlier.
    pub(super) fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key).map_err(AuthorityError::Own)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(AuthorityError::Own)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let der = der.map_err(|_| AuthorityError::NotPem)?;
        let fingerprint = sha256(&der);
        Ok(Self { issuer, certificate_pem: certificate.to_owned(), fingerprint })
    }

    /// The SHA-256 of the authority's certificate, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What sites check the broker by.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The SHA-256, in hexadecimal, of the key in a signing request.
    pub fn key_of(request_pem: &str) -> Result<String, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem);
        let request = request.map_err(AuthorityError::Request)?;
        Ok(sha256(&request.public_key.subject_public_key_info()))
    }

    /// Signs the key in a node's signing request. Everything else in the request is left aside:
    /// the node's name comes from the caller. `now` is the time since 1970.
    pub fn sign_node(
        &self,
        node: &NodeName,
        request_pem: &str,
        now: Duration,
        life: Duration,
    ) -> Result<NodeCertificate, AuthorityError> {
        self.sign(node.as_str(), "node", request_pem, now, life)
    }

    /// The same for a thing.
    pub fn sign_thing(
        &self,
        thing: &DeviceName,
        request_pem: &str,
        now: Duration,
    ) -> Result<NodeCertificate, AuthorityError> {
        self.sign(thing.as_str(), "device", request_pem, now, THING_CERTIFICATE)
    }

    fn sign(
        &self,
        name: &str,
        unit: &str,
        request_pem: &str,
        now: Duration,
        life: Duration,
    ) -> Result<NodeCertificate, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(AuthorityError::Request)?;
        let mut params = parameters(name, now + life);
        params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(head_start(life));
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let serial = rand::random::<u128>() >> 1;
        params.serial_number = Some(SerialNumber::from_slice(&serial.to_be_bytes()));
        let certificate =
            params.signed_by(&request.public_key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(NodeCertificate {
            pem: certificate.pem(),
            serial: format!("{serial:032x}"),
            not_after_s: (now + life).as_secs(),
        })
    }

    /// Makes the server's certificate; `hosts` are further names under which it is reached.
    pub(super) fn issue_server(
        &self,
        hosts: &[String],
        now: Duration,
    ) -> Result<ServerCertificate, AuthorityError> {
        let mut names = vec![SERVER_NAME.to_owned(), "localhost".into(), "127.0.0.1".into()];
        for host in hosts {
            let bad_host = |_| AuthorityError::Host(host.clone());
            CertificateParams::new(vec![host.clone()]).map_err(bad_host)?;
            if !names.contains(host) {
                names.push(host.clone());
            }
        }
        let server = CertificateParams::new(names).map_err(AuthorityError::Sign)?;
        let mut params = parameters(SERVER_NAME, now + 10 * YEAR);
        params.subject_alt_names = server.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(ServerCertificate { chain_pem: leaf.pem(), key_pem: key.serialize_pem() })
    }
}

/// What is to be written down of a certificate in PEM; `None`: it is none.
pub(crate) fn record_of(pem: &str) -> Option<CertificateRecord> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let serial = hex::of(certificate.raw_serial());
    let serial = format!("{:0>32}", serial.trim_start_matches('0'));
    let not_after_s = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(CertificateRecord { serial, not_after_s, replaces: None })
}

/// A certificate in PEM, and the SHA-256 of its key in hexadecimal.
pub(super) fn pem_and_key(der: &[u8]) -> Option<(String, String)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|it| str::from_utf8(it).ok()).collect();
    let body = lines.join("\n");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    Some((pem, sha256(certificate.public_key().raw)))
}

/// The first and the last second of a certificate's validity, since 1970; `None`: it is none.
pub(super) fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (first, last) = (certificate.validity().not_before, certificate.validity().not_after);
    Some((u64::try_from(first.timestamp()).ok()?, u64::try_from(last.timestamp()).ok()?))
}

/// When a certificate runs out, in seconds since 1970; `None`: it is none.
pub(crate) fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The same for the first one in PEM.
pub(super) fn not_after_pem(pem: &str) -> Option<i64> {
    not_after(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
}

fn sha256(bytes: &[u8]) -> String {
    hex::of(&Sha256::digest(bytes))
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

/// What all certificates have in common. They are valid from 1970 on, because a site may wake up
/// without knowing the time and must still reach the cloud.
fn parameters(common_name: &str, not_after: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(1970, 1, 1) + not_after;
    params.use_authority_key_identifier_extension = true;
    params
}
