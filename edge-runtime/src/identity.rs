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
/// A new key and certificate on their way into the files of the present ones.
const RENEWED: &str = "renewed.pem";
/// The key of a node that waits to be let in.
const WAITING: &str = "join-key.pem";

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's name, which the certificate carries.
    pub node: NodeName,
    /// Where the broker listens.
    pub mqtt: Vec<Address>,
    /// Where the cloud's API speaks HTTPS, if that is known.
    pub https: Option<Address>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    https: Option<Address>,
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

    /// The key in a data directory that waits for its certificate; made if there is none.
    pub fn keep(data: &Path) -> Result<Self, IdentityError> {
        let at = data.join(WAITING);
        match fs::read_to_string(&at) {
            Ok(pem) => return KeyPair::from_pem(&pem).map(Self).map_err(IdentityError::Key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(IdentityError::File { at, source }),
        }
        let key = Self::generate()?;
        let kept = replace(data, &at, &key.to_pem(), 0o600);
        kept.map_err(|source| IdentityError::File { at, source })?;
        Ok(key)
    }

    /// Removes the key that waited: it has its certificate.
    pub fn forget(data: &Path) -> Result<(), IdentityError> {
        remove(data, WAITING)
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
        let About { node, mqtt, https, server_name } = serde_json::from_str(&read(ABOUT)?)
            .map_err(|source| IdentityError::Malformed { at: data.join(ABOUT), source })?;
        let (key_pem, certificate_pem) = match read_renewed(data)? {
            Some(renewed) => renewed,
            None => (read(KEY)?, read(CERTIFICATE)?),
        };
        let ca_pem = read(AUTHORITY)?;
        Ok(Self { node, mqtt, https, server_name, key_pem, certificate_pem, ca_pem })
    }

    /// Writes a new key and its certificate. Both come in one file first, which counts from then
    /// on, so that a cut at any instant leaves a pair.
    pub fn save_renewed(&self, data: &Path) -> Result<(), IdentityError> {
        let at = data.join(RENEWED);
        let text = format!("{}{}", self.key_pem, self.certificate_pem);
        replace(data, &at, &text, 0o600).map_err(|source| IdentityError::File { at, source })?;
        Self::settle(data)
    }

    /// Brings a new key and certificate, if there are any, into the files of the present ones.
    pub fn settle(data: &Path) -> Result<(), IdentityError> {
        let Some((key, certificate)) = read_renewed(data)? else { return Ok(()) };
        let write = |name: &str, text: &str, mode| {
            let at = data.join(name);
            replace(data, &at, text, mode).map_err(|source| IdentityError::File { at, source })
        };
        write(KEY, &key, 0o600)?;
        write(CERTIFICATE, &certificate, 0o644)?;
        remove(data, RENEWED)
    }

    /// Writes the identity. `identity.json` goes first and comes last, so that a start in between
    /// finds no identity instead of a mixed one.
    pub fn save(&self, data: &Path) -> Result<(), IdentityError> {
        let about = About {
            node: self.node.clone(),
            mqtt: self.mqtt.clone(),
            https: self.https.clone(),
            server_name: self.server_name.clone(),
        };
        let at = data.join(ABOUT);
        let about = serde_json::to_string_pretty(&about)
            .map_err(|source| IdentityError::Malformed { at: at.clone(), source })?;
        let wrong = |at: &Path| {
            let at = at.to_path_buf();
            move |source| IdentityError::File { at, source }
        };
        remove(data, ABOUT)?;
        remove(data, RENEWED)?;
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

/// The key and the certificate of a renewal that was cut off; `None`: there is none.
fn read_renewed(data: &Path) -> Result<Option<(String, String)>, IdentityError> {
    let at = data.join(RENEWED);
    let text = match fs::read_to_string(&at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| IdentityError::File { at, source })?,
    };
    let (key, certificate) = text.split_at(text.find(BEGINS).unwrap_or(text.len()));
    Ok(Some((key.to_owned(), certificate.to_owned())))
}

const BEGINS: &str = "-----BEGIN CERTIFICATE-----";

/// Removes a file, durably, if it is there.
fn remove(data: &Path, name: &str) -> Result<(), IdentityError> {
    let at = data.join(name);
    let removed = match fs::remove_file(&at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(data).and_then(|dir| dir.sync_all()),
    };
    removed.map_err(|source| IdentityError::File { at, source })
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
            https: Some("cloud.example:7443".parse().unwrap()),
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
    fn a_renewal_that_was_cut_off_anywhere_leaves_a_pair() {
        let dir = tempfile::tempdir().unwrap();
        let old = Identity { certificate_pem: format!("{BEGINS}old"), ..identity() };
        let new = Identity { certificate_pem: format!("{BEGINS}new"), ..identity() };
        assert_ne!(old.key_pem, new.key_pem);
        let cut_after = |steps: usize| {
            old.save(dir.path()).unwrap();
            let text = format!("{}{}", new.key_pem, new.certificate_pem);
            let writes =
                [(RENEWED, &text), (KEY, &new.key_pem), (CERTIFICATE, &new.certificate_pem)];
            for (name, text) in writes.into_iter().take(steps) {
                replace(dir.path(), &dir.path().join(name), text, 0o600).unwrap();
            }
            let seen = Identity::load(dir.path()).unwrap();
            Identity::settle(dir.path()).unwrap();
            assert_eq!(Identity::load(dir.path()).unwrap(), seen, "cut after {steps}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
            seen
        };
        assert_eq!(cut_after(0), old);
        for steps in 1..=3 {
            assert_eq!(cut_after(steps), new);
        }
        old.save(dir.path()).unwrap();
        new.save_renewed(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), new);
        let mode = fs::metadata(dir.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_identity_of_before_https_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let old = Identity { https: None, ..identity() };
        old.save(dir.path()).unwrap();
        assert!(!fs::read_to_string(dir.path().join(ABOUT)).unwrap().contains("https"));
        assert_eq!(Identity::load(dir.path()).unwrap(), old);
    }

    #[test]
    fn a_directory_that_never_joined_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = Identity::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("gnomon-edge join"), "{error}");
    }

    #[test]
    fn a_node_that_waits_comes_again_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = NewKey::keep(dir.path()).unwrap().to_pem();
        assert_eq!(NewKey::keep(dir.path()).unwrap().to_pem(), key);
        let mode = fs::metadata(dir.path().join(WAITING)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        NewKey::forget(dir.path()).unwrap();
        assert_ne!(NewKey::keep(dir.path()).unwrap().to_pem(), key);
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
