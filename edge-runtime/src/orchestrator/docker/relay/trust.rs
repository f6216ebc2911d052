//! Whom the daemon believes besides the system's authorities, and how it shows itself: what an
//! administrator put below `certs.d/HOST:PORT`, by the daemon's own rules.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

/// Why what is there cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error("{} holds no certificate in PEM", path.display())]
    Empty { path: PathBuf },
    /// It is no certificate, or no key.
    #[error("{} is no certificate, or the key beside it is none", path.display())]
    Form {
        path: PathBuf,
        #[source]
        source: reqwest::Error,
    },
}

/// What is there for one registry.
#[derive(Default)]
pub(super) struct Trust {
    /// `*.crt`: authorities.
    authorities: Vec<Certificate>,
    /// `*.cert` with the `*.key` of the same name: who this node is.
    identity: Option<Identity>,
}

impl Trust {
    /// Reads what is there; nothing is the usual.
    pub(super) fn read(certs: &Path, host: &str) -> Result<Self, TrustError> {
        if host.contains('/') || host.starts_with('.') {
            return Ok(Self::default());
        }
        let dir = certs.join(host);
        let mut trust = Self::default();
        for path in files(&dir)? {
            match path.extension().and_then(|it| it.to_str()) {
                Some("crt") => {
                    let bundle = Certificate::from_pem_bundle(&read(&path)?);
                    let bundle = bundle.map_err(|source| form(&path, source))?;
                    if bundle.is_empty() {
                        return Err(TrustError::Empty { path });
                    }
                    trust.authorities.extend(bundle);
                }
                Some("cert") => {
                    let pem = [read(&path)?, b"\n".to_vec(), read(&path.with_extension("key"))?];
                    let identity = Identity::from_pem(&pem.concat());
                    trust.identity = Some(identity.map_err(|source| form(&path, source))?);
                }
                Some(_) | None => {}
            }
        }
        Ok(trust)
    }

    pub(super) fn given_to(self, builder: ClientBuilder) -> ClientBuilder {
        let builder = if self.authorities.is_empty() {
            builder
        } else {
            builder.tls_certs_merge(self.authorities)
        };
        match self.identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
    }
}

fn form(path: &Path, source: reqwest::Error) -> TrustError {
    TrustError::Form { path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    fs::read(path).map_err(|source| TrustError::Read { path: path.to_owned(), source })
}

/// The files of a directory by name; a directory that is not there has none.
fn files(dir: &Path) -> Result<Vec<PathBuf>, TrustError> {
    let lost = |source| TrustError::Read { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(lost(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(lost)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_nothing_and_what_is_damaged_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let read = |host: &str| Trust::read(dir.path(), host);
        assert!(read("r.example:5000").unwrap().authorities.is_empty());
        fs::create_dir(dir.path().join("r.example:5000")).unwrap();
        let at = |name: &str| dir.path().join("r.example:5000").join(name);
        fs::write(at("README"), "rubbish").unwrap();
        assert!(read("r.example:5000").is_ok());
        fs::write(at("me.cert"), "rubbish").unwrap();
        let error = read("r.example:5000").err().unwrap();
        assert!(error.to_string().contains("me.key"), "{error}");
        fs::write(at("me.key"), "rubbish").unwrap();
        assert!(matches!(read("r.example:5000"), Err(TrustError::Form { .. })));
        assert!(read("..").is_ok() && read("../r.example:5000").is_ok());
    }
}
