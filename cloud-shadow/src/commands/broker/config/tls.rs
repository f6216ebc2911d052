//! The TLS of a listener, in the file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use gnomon_broker::{ClientCertificates, TlsConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_certificates: Option<Asked>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Required,
    Optional,
    None,
}

impl FileTls {
    pub(super) fn open(self, folder: &Path) -> anyhow::Result<TlsConfig> {
        let authorities =
            self.client_ca.map(|path| certificates(&folder.join(path))).transpose()?;
        let clients = match (self.client_certificates, authorities) {
            (Some(Asked::Required) | None, Some(ca)) => ClientCertificates::Required(ca),
            (Some(Asked::Optional), Some(ca)) => ClientCertificates::Optional(ca),
            (Some(Asked::None) | None, None) => ClientCertificates::NotAsked,
            (Some(Asked::None), Some(_)) => bail!("client_ca is for nothing: none is asked for"),
            (Some(_), None) => bail!("client_certificates needs client_ca: who issues them?"),
        };
        let key = folder.join(self.key);
        Ok(TlsConfig {
            chain: certificates(&folder.join(self.certificate))?,
            key: PrivateKeyDer::from_pem_file(&key)
                .with_context(|| format!("{} holds no private key in PEM form", key.display()))?,
            clients,
        })
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = super::text(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is no PEM file", path.display()))?;
    if found.is_empty() {
        bail!("{} holds no certificate in PEM form", path.display());
    }
    Ok(found)
}
