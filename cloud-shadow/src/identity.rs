//! Who the cloud is and whom it trusts: its own small certificate authority, the broker's
//! certificate, and the operator's token, kept as files in the data folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{TlsConfig, TlsError};

mod authority;
mod files;
mod roll;
#[cfg(test)]
mod tests;
mod token;
mod window;

use authority::ServerCertificate;
pub use authority::{Authority, AuthorityError, NodeCertificate, SERVER_NAME};
pub(crate) use authority::{not_after, record_of};
pub use files::FileError;
pub use roll::{Recognized, Roll, Stranger, Unlisted};
pub use token::{AdminToken, Secret, TokenHash, TokenKey, short_id, token_id};
pub use window::{Window, Windows};

/// The names of the files in the data folder.
mod file {
    pub(super) const ADMIN_TOKEN: &str = "admin-token";
    pub(super) const CA: &str = "ca.pem";
    pub(super) const CA_KEY: &str = "ca-key.pem";
    pub(super) const TOKEN_KEY: &str = "token-key";
    pub(super) const SERVER: &str = "server.pem";
    pub(super) const SERVER_KEY: &str = "server-key.pem";
}

/// What the cloud proves itself with and checks others by.
#[derive(Debug)]
pub struct Identity {
    /// Signs the certificates of the nodes.
    pub authority: Authority,
    /// What the fingerprints of tokens are made with.
    pub token_key: TokenKey,
    data: PathBuf,
    server: Server,
    /// How the broker speaks TLS: only with clients whose certificate the authority has signed.
    pub tls: Arc<rustls::ServerConfig>,
}

impl Identity {
    /// The names of its files in the data folder.
    pub(crate) const FILES: [&str; 6] = [
        file::ADMIN_TOKEN,
        file::CA,
        file::CA_KEY,
        file::SERVER,
        file::SERVER_KEY,
        file::TOKEN_KEY,
    ];

    /// Writes one of its files from a backup.
    pub(crate) fn put_back(path: &Path, content: &[u8]) -> Result<(), FileError> {
        files::write_private(path, content)
    }
}

/// Says nothing of the key that it holds.
struct Server(ServerCertificate);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

/// Why the identity could not be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key or certificate could not be made or used.
    #[error("the certificate authority cannot be used; its files are ca.pem and ca-key.pem")]
    Authority(#[from] AuthorityError),
    /// TLS refuses the certificates.
    #[error("the broker's certificate cannot be used; its files are server.pem, server-key.pem")]
    Tls(#[from] TlsError),
    /// The certificate is there and its key is not.
    #[error("{certificate} is in the data folder, but {key} is not: put it back")]
    KeyMissing {
        /// The certificate's file.
        certificate: &'static str,
        /// The key's file.
        key: &'static str,
    },
    /// The token's file holds something else.
    #[error("{file} holds no usable token: it needs at least {least} characters without spaces")]
    BadToken {
        /// The file.
        file: &'static str,
        /// The fewest characters.
        least: usize,
    },
}

impl Identity {
    /// Whether the folder holds an identity.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(file::CA).exists()
    }

    /// Reads the identity from the data folder and makes what is missing. `hosts` are further
    /// names or addresses under which the cloud is reached; `now` is the time since 1970.
    ///
    /// The server's certificate is made anew each time: it costs nothing, follows `hosts`, and
    /// cannot run out unnoticed.
    pub fn open(dir: &Path, hosts: &[String], now: Duration) -> Result<Self, IdentityError> {
        let authority = open_authority(dir, now)?;
        let server = authority.issue_server(hosts, now)?;
        files::write_private(&dir.join(file::SERVER_KEY), server.key_pem.as_bytes())?;
        files::write_public(&dir.join(file::SERVER), server.chain_pem.as_bytes())?;
        let ca = authority.certificate_pem().as_bytes();
        let (chain, key) = (server.chain_pem.as_bytes(), server.key_pem.as_bytes());
        let tls = TlsConfig::from_pem(chain, key, ca)?.build()?;
        let token_key = open_text(dir, file::TOKEN_KEY)?;
        let token_key = TokenKey::new(&token_key);
        let server = Server(server);
        Ok(Self { authority, token_key, data: dir.to_owned(), server, tls })
    }

    /// The server's certificate, with the authority's for those who know only its fingerprint, and
    /// its key, in PEM.
    pub(crate) fn server_pem(&self) -> (String, &str) {
        let ServerCertificate { chain_pem, key_pem } = &self.server.0;
        (format!("{chain_pem}{}", self.authority.certificate_pem()), key_pem)
    }

    /// Its certificates, and when each runs out, in seconds since 1970.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (&'static str, Option<i64>)> {
        let server = self.server.0.chain_pem.as_str();
        let pems = [("ca", self.authority.certificate_pem()), ("server", server)];
        pems.map(|(name, pem)| (name, authority::not_after_pem(pem))).into_iter()
    }

    /// The owner's token, from a file that is made where there is none.
    pub fn owner_token(&self) -> Result<AdminToken, IdentityError> {
        open_token(&self.data)
    }

    /// Whether there is a file with the owner's token.
    pub fn has_owner_token(&self) -> bool {
        self.data.join(file::ADMIN_TOKEN).exists()
    }

    /// A token that is good until the next start, in a file for the commands of this machine. On a
    /// full disk the one that is there is good once more.
    pub fn local_token(&self) -> Result<AdminToken, IdentityError> {
        let path = self.data.join(LOCAL_TOKEN);
        let mut text = token::random_text();
        match files::write_private(&path, text.as_bytes()) {
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "the disk is full: the local token stays what it was");
                text = files::read_private(&path)?.unwrap_or(text);
            }
            written => written?,
        }
        let bad = IdentityError::BadToken { file: LOCAL_TOKEN, least: AdminToken::LEAST };
        AdminToken::new(&text).ok_or(bad)
    }
}

fn open_authority(dir: &Path, now: Duration) -> Result<Authority, IdentityError> {
    let (certificate_path, key_path) = (dir.join(file::CA), dir.join(file::CA_KEY));
    let key = files::read_private(&key_path)?;
    if let Some(certificate) = files::read(&certificate_path)? {
        let missing = IdentityError::KeyMissing { certificate: file::CA, key: file::CA_KEY };
        return Ok(Authority::from_pem(&certificate, &key.ok_or(missing)?)?);
    }
    let key = if let Some(key) = key {
        key
    } else {
        let key = Authority::generate_key()?;
        files::write_private(&key_path, key.as_bytes())?;
        key
    };
    let authority = Authority::create(&key, now)?;
    files::write_public(&certificate_path, authority.certificate_pem().as_bytes())?;
    Ok(authority)
}

/// The file with the token that commands of this machine show to the running cloud.
pub(crate) const LOCAL_TOKEN: &str = "local-token";

fn open_token(dir: &Path) -> Result<AdminToken, IdentityError> {
    let text = open_text(dir, file::ADMIN_TOKEN)?;
    let bad = IdentityError::BadToken { file: file::ADMIN_TOKEN, least: AdminToken::LEAST };
    AdminToken::new(text.trim()).ok_or(bad)
}

/// A random text, in a file that is made where there is none.
fn open_text(dir: &Path, name: &str) -> Result<String, IdentityError> {
    let path = dir.join(name);
    Ok(if let Some(text) = files::read_private(&path)? {
        text
    } else {
        let text = token::random_text() + "\n";
        files::write_private(&path, text.as_bytes())?;
        text
    })
}
