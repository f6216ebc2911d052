//! The file of the broker that stands alone, and the files that it names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use gnomon_broker::{
    Acl, Anonymous, AuthError, Authenticator, CertificateAuthenticator, CertificateNames,
    CertificateRule, Chain, Credentials, Endpoint, Limits, NameFrom, Passwords, Principal,
    TlsConfig, Tokens, Transport,
};
use gnomon_cloud::config::LogFormat;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

#[cfg(test)]
mod tests;
mod tls;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    log_format: LogFormat,
    metrics: Option<SocketAddr>,
    acl: PathBuf,
    #[serde(default)]
    listener: Vec<FileListener>,
    auth: FileAuth,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListener {
    addr: SocketAddr,
    #[serde(default)]
    transport: FileTransport,
    #[serde(default)]
    proxy_protocol: bool,
    tls: Option<tls::FileTls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileTransport {
    #[default]
    Tcp,
    WebSocket,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAuth {
    passwords: Option<PathBuf>,
    tokens: Option<PathBuf>,
    token_key: Option<PathBuf>,
    #[serde(default)]
    gnomon_certificates: bool,
    #[serde(default)]
    certificate: Vec<FileCertificate>,
    #[serde(default)]
    anonymous: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCertificate {
    name: FileName,
    #[serde(default)]
    prefix: Box<str>,
    role: String,
    issuer: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileName {
    Cn,
    Dns,
    Uri,
}

/// All that the broker is started with.
#[derive(Debug)]
pub(super) struct Standalone {
    pub(super) log_format: LogFormat,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) limits: Limits,
    pub(super) acl: Acl,
    pub(super) authenticator: Arc<dyn Authenticator>,
}

impl Standalone {
    /// Reads the file and all that it names; their paths are relative to its folder.
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = text(path)?;
        let file: File = toml::from_str(&text)
            .with_context(|| format!("the configuration {} is wrong", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        ensure!(
            !file.listener.is_empty(),
            "{} has no [[listener]]: say at least where the broker listens",
            path.display()
        );
        let rules = folder.join(&file.acl);
        let acl = Acl::from_toml(&self::text(&rules)?)
            .with_context(|| format!("the access rules {} are wrong", rules.display()))?;
        let endpoints = file.listener.into_iter().map(|listener| listener.open(folder));
        Ok(Self {
            log_format: file.log_format,
            metrics: file.metrics,
            endpoints: endpoints.collect::<Result<_, _>>()?,
            limits: file.limits,
            acl,
            authenticator: file.auth.open(folder)?,
        })
    }
}

impl FileListener {
    fn open(self, folder: &Path) -> anyhow::Result<Endpoint> {
        let Self { addr, transport, proxy_protocol, tls } = self;
        let tls = match tls {
            Some(tls) => {
                let built = tls.open(folder).and_then(|tls: TlsConfig| Ok(tls.build()?));
                Some(built.with_context(|| format!("the TLS of the listener {addr} is wrong"))?)
            }
            None => None,
        };
        let transport = match transport {
            FileTransport::Tcp => Transport::Plain,
            FileTransport::WebSocket => Transport::WebSocket,
        };
        Ok(Endpoint { addr, tls, transport, proxy_protocol })
    }
}

impl FileAuth {
    /// Certificates first, then tokens, then passwords, then nothing at all.
    fn open(self, folder: &Path) -> anyhow::Result<Arc<dyn Authenticator>> {
        let mut links: Vec<Arc<dyn Authenticator>> = Vec::new();
        if !self.certificate.is_empty() {
            let rules = self.certificate.into_iter().map(|rule| rule.open(folder));
            links.push(Arc::new(CertificateNames::new(rules.collect::<Result<_, _>>()?)));
        }
        if self.gnomon_certificates {
            links.push(Arc::new(GnomonCertificates));
        }
        match (self.tokens, self.token_key) {
            (Some(tokens), Some(key)) => {
                let (tokens, key) = (folder.join(tokens), folder.join(key));
                let parsed = Tokens::parse(super::token_key(&key)?, &text(&tokens)?);
                let wrong = || format!("the tokens {} are wrong", tokens.display());
                links.push(Arc::new(parsed.with_context(wrong)?));
            }
            (None, None) => {}
            (_, _) => bail!("[auth] needs both or none of tokens and token_key"),
        }
        if let Some(passwords) = self.passwords {
            let passwords = folder.join(passwords);
            let wrong = || format!("the passwords {} are wrong", passwords.display());
            links.push(Arc::new(Passwords::parse(&text(&passwords)?).with_context(wrong)?));
        }
        if self.anonymous {
            links.push(Arc::new(Anonymous));
        }
        ensure!(
            !links.is_empty(),
            "[auth] lets nobody in: give it passwords, tokens, a [[auth.certificate]], \
             gnomon_certificates or anonymous"
        );
        Ok(Arc::new(Chain::new(links)))
    }
}

/// Gnomon's own certificates, and nobody without one.
#[derive(Debug)]
struct GnomonCertificates;

impl Authenticator for GnomonCertificates {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        if credentials.certificate.is_none() || credentials.password.is_some() {
            return Err(AuthError::Unknown);
        }
        CertificateAuthenticator.authenticate(credentials)
    }
}

impl FileCertificate {
    fn open(self, folder: &Path) -> anyhow::Result<CertificateRule> {
        let Self { name, prefix, role, issuer } = self;
        let role = role.parse().with_context(|| format!("[[auth.certificate]]: {role:?}"))?;
        let name = match name {
            FileName::Cn => NameFrom::CommonName,
            FileName::Dns => NameFrom::Dns,
            FileName::Uri => NameFrom::Uri,
        };
        let issuer = issuer.map(|issuer| {
            let path = folder.join(issuer);
            CertificateDer::from_pem_slice(text(&path)?.as_bytes())
                .with_context(|| format!("{} holds no certificate in PEM form", path.display()))
        });
        Ok(CertificateRule { name, prefix, role, issuer: issuer.transpose()? })
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}
