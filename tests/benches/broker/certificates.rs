//! A small authority for the run: PEM files that both brokers read, and a client of theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The files of the authority.
pub(crate) struct Certificates {
    folder: PathBuf,
    /// Who signs, in the process that made them.
    issuer: Option<Issuer<'static, KeyPair>>,
}

impl Certificates {
    /// Writes `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`: P-256.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "bench CA");
        fs::write(folder.join("ca.pem"), ca.self_signed(&ca_key)?.pem())?;
        let issuer = Issuer::new(ca, ca_key);
        for (file, name, unit) in [("server", "localhost", "server"), ("client", "site-1", "node")]
        {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
            params.serial_number = Some(SerialNumber::from(1_u64));
            params.distinguished_name.push(DnType::CommonName, name);
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
            fs::write(folder.join(format!("{file}.pem")), params.signed_by(&key, &issuer)?.pem())?;
            fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
        }
        Ok(Self { issuer: Some(issuer), ..Self::open(folder) })
    }

    /// Those that another process wrote.
    pub(crate) fn open(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), issuer: None }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The TLS of our broker: clients must show a certificate.
    pub(crate) fn server(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let read = |file| fs::read(self.path(file));
        let (chain, key, ca) = (read("server.pem")?, read("server.key")?, read("ca.pem")?);
        Ok(gnomon_broker::TlsConfig::from_pem(&chain, &key, &ca)?.build()?)
    }

    /// The TLS of one client; `resumes` if it keeps the tickets that it gets.
    pub(crate) fn client(&self, resumes: bool) -> anyhow::Result<Arc<ClientConfig>> {
        self.of(CertificateDer::from_pem_file(self.path("client.pem"))?, resumes)
    }

    /// The TLS of a client that nobody else is.
    pub(crate) fn another(&self, number: usize) -> anyhow::Result<Arc<ClientConfig>> {
        let issuer = self.issuer.as_ref().context("the authority is another process's")?;
        let key = KeyPair::from_pem(&fs::read_to_string(self.path("client.key"))?)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.serial_number = Some(SerialNumber::from(u64::try_from(number)? + 2));
        params.distinguished_name.push(DnType::CommonName, format!("site-{number}"));
        params.distinguished_name.push(DnType::OrganizationalUnitName, "node");
        self.of(params.signed_by(&key, issuer)?.der().clone(), false)
    }

    fn of(
        &self,
        certificate: CertificateDer<'static>,
        resumes: bool,
    ) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem"))?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::from_pem_file(self.path("client.key"))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        config.resumption =
            if resumes { Resumption::in_memory_sessions(16) } else { Resumption::disabled() };
        Ok(Arc::new(config))
    }
}
