//! Who this node is: a key that was made here and never leaves, a certificate, the authority to
//! trust, and where to connect. Files in the data directory, written as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gnomon_schemas::id::NodeName;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};

use crate::link::mqtt::Address;

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "cert.pem";
const AUTHORITY: &str = "ca.pem";
const ABOUT: &str = "identity.json";

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's name, which the certificate carries.
    pub node: NodeName,
    /// Where the broker listens.
    pub mqtt: Vec<Address>,
    /// The name in the broker's certificate.
    pub server_name: String,
    /// The node's private key.
    pub key_pem: String,
    /// The node's certificate.
    pub certificate_pem: String,
    /// The authority that signs both ends.
    pub ca_pem: String,
}

/// What `identity.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    node: NodeName,
    mqtt: Vec<Address>,
    server_name: String,
}

/// A key that waits for its certificate.
#[derive(Debug)]
pub struct NewKey(KeyPair);

/// Why there is no identity, or it could not be written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The node has not joined.
    #[error("{dir} is not joined to a cloud; run `gnomon-edge join URL --token T --data {dir}` first", dir = .0.display())]
    NotJoined(PathBuf),
    /// A file is missing or cannot be read or written.
    #[error("{} cannot be used", at.display())]
    File {
        /// The file.
        at: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// `identity.json` is not what it should be.
    #[error("{} is malformed; join again with --force", at.display())]
    Malformed {
        /// The file.
        at: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The key or its request could not be made.
    #[error("the node's key could not be made")]
    Key(#[source] rcgen::Error),
}

impl NewKey {
    /// Makes a key: ECDSA on P-256.
    pub fn generate() -> Result<Self, IdentityError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(IdentityError::Key)
    }

    /// The request for a certificate. It names nobody: the cloud knows the node by its token.
    pub fn request_pem(&self) -> Result<String, IdentityError> {
        let request = CertificateParams::default().serialize_request(&self.0);
        request.and_then(|request| request.pem()).map_err(IdentityError::Key)
    }

    /// The private key.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }
}

impl Identity {
    /// Whether a data directory has an identity.
    pub fn exists(data: &Path) -> bool {
        data.join(ABOUT).exists()
    }

    /// Reads the identity of a data directory.
    pub fn load(data: &Path) -> Result<Self, IdentityError> {
        if !Self::exists(data) {
            return Err(IdentityError::NotJoined(data.to_path_buf()));
        }
        let read = |name: &str| {
            let at = data.join(name);
            fs::read_to_string(&at).map_err(|source| IdentityError::File { at, source })
        };
        let About { node, mqtt, server_name } = serde_json::from_str(&read(ABOUT)?)
            .map_err(|source| IdentityError::Malformed { at: data.join(ABOUT), source })?;
        Ok(Self {
            node,
            mqtt,
            server_name,
            key_pem: read(KEY)?,
            certificate_pem: read(CERTIFICATE)?,
            ca_pem: read(AUTHORITY)?,
        })
    }

    /// Writes the identity. `identity.json` goes first and comes last, so that a start in between
    /// finds no identity instead of a mixed one.
    pub fn save(&self, data: &Path) -> Result<(), IdentityError> {
        let about = About {
            node: self.node.clone(),
            mqtt: self.mqtt.clone(),
            server_name: self.server_name.clone(),
        };
        let at = data.join(ABOUT);
        let about = serde_json::to_string_pretty(&about)
            .map_err(|source| IdentityError::Malformed { at: at.clone(), source })?;
        let wrong = |at: &Path| {
            let at = at.to_path_buf();
            move |source| IdentityError::File { at, source }
        };
        match fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrong(&at)(error)),
            _ => {}
        }
        let files = [
            (KEY, self.key_pem.as_str(), 0o600),
            (CERTIFICATE, self.certificate_pem.as_str(), 0o644),
            (AUTHORITY, self.ca_pem.as_str(), 0o644),
            (ABOUT, about.as_str(), 0o644),
        ];
        for (name, text, mode) in files {
            let at = data.join(name);
            replace(data, &at, text, mode).map_err(wrong(&at))?;
        }
        Ok(())
    }
}

/// Replaces a file as a whole, durably.
fn replace(dir: &Path, at: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = at.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, at)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::PublicKeyData as _;

    use super::*;

    fn identity() -> Identity {
        Identity {
            node: "site-1".parse().unwrap(),
            mqtt: vec!["cloud.example:8883".parse().unwrap()],
            server_name: "gnomon-cloud".to_owned(),
            key_pem: NewKey::generate().unwrap().to_pem(),
            certificate_pem: "certificate".to_owned(),
            ca_pem: "authority".to_owned(),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_the_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity();
        identity.save(dir.path()).unwrap();
        identity.save(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), identity);
        let mode = fs::metadata(dir.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_directory_that_never_joined_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = Identity::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("gnomon-edge join"), "{error}");
    }

    #[test]
    fn the_request_is_signed_by_the_key_and_holds_only_its_public_half() {
        let key = NewKey::generate().unwrap();
        let request = key.request_pem().unwrap();
        assert!(request.contains("CERTIFICATE REQUEST"));
        let parsed = rcgen::CertificateSigningRequestParams::from_pem(&request).unwrap();
        assert_eq!(parsed.public_key.der_bytes(), key.0.der_bytes());
    }
}
