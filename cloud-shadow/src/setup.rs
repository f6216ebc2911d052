//! The first start of a cloud: its folder, keys, configuration file and first token. Never touches
//! what is there.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::{ApiToken, Book, BookRefusal, Edit, Grant};
use crate::backup::STORE;
use crate::config::Advertise;
use crate::identity::{Identity, IdentityError, Secret, token_id};
use crate::server::{DataLock, LockError};
use crate::store::{self, JournaledStore, Op, RedbStore, SchemaError, Store as _, StoreError};

/// What the cloud shall be like.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The folder that holds everything.
    pub dir: PathBuf,
    /// Names and addresses under which it is reached.
    pub names: Vec<String>,
    /// How sites reach the broker; `None`: under the first name.
    pub advertise: Option<Advertise>,
    /// Where the API listens without TLS.
    pub http: SocketAddr,
    /// Where the API listens with TLS.
    pub https: SocketAddr,
    /// Where the broker listens.
    pub mqtt: SocketAddr,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The configuration file.
    pub config: PathBuf,
    /// The certificate of the authority.
    pub ca: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub ca_sha256: String,
    /// The first token, which is written down nowhere.
    pub token: String,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a cloud already.
    #[error(
        "{path} is there already, so nothing was changed; start the cloud with `gnomon-cloud \
         --config {config}`, or move {dir} away to begin anew", dir = dir.display()
    )]
    Present {
        /// What is there.
        path: Box<str>,
        /// The configuration file.
        config: Box<str>,
        /// The folder.
        dir: PathBuf,
    },
    /// There is a cloud that has no configuration file.
    #[error(
        "{path} is there already, so nothing was changed: it is the store of a cloud without a \
         configuration file; start it with `gnomon-cloud serve --data {dir}`", dir = dir.display()
    )]
    Used {
        /// The store.
        path: Box<str>,
        /// The folder.
        dir: PathBuf,
    },
    /// No path that TOML can hold.
    #[error("{0} is not UTF-8, so no configuration file can name it; take another folder")]
    Path(Box<str>),
    /// The plain API would be open to others.
    #[error("--http {0} is not a loopback address: others could read tokens; use --https for them")]
    Insecure(SocketAddr),
    /// The configuration file could not be written.
    #[error("writing {path} failed; check the folder's rights and the disk")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Keys or certificates could not be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store could not be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is not for this build.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The token could not be made.
    #[error(transparent)]
    Token(#[from] BookRefusal),
}

/// The configuration file in the folder.
pub const CONFIG: &str = "gnomon-cloud.toml";

/// The file that shows every option.
const EXAMPLE: &str = include_str!("../gnomon-cloud.example.toml");

/// Makes everything; the token comes last, so that a cut before it can be repeated or, if the
/// configuration is there, leaves a cloud that makes its token file at its first start.
pub fn init(wanted: &Wanted, now: Duration) -> Result<Made, InitError> {
    if !wanted.http.ip().is_loopback() {
        return Err(InitError::Insecure(wanted.http));
    }
    let (config, store) = (wanted.dir.join(CONFIG), wanted.dir.join(STORE));
    let show = |path: &Path| path.display().to_string().into_boxed_str();
    if config.exists() {
        let (path, config, dir) = (show(&config), show(&config), wanted.dir.clone());
        return Err(InitError::Present { path, config, dir });
    }
    if store.exists() || JournaledStore::journal_of(&store).exists() {
        return Err(InitError::Used { path: show(&store), dir: wanted.dir.clone() });
    }
    let _lock = DataLock::take(&wanted.dir)?;
    let failed = |source| InitError::Write { path: config.clone(), source };
    let dir = std::fs::canonicalize(&wanted.dir).map_err(failed)?;
    let text = settings(wanted, dir.to_str().ok_or_else(|| InitError::Path(show(&dir)))?);
    let identity = Identity::open(&wanted.dir, &wanted.names, now)?;
    write_new(&config, &text).map_err(failed)?;
    let token = first_token(&store, &identity, now)?;
    let ca = wanted.dir.join("ca.pem");
    let ca_sha256 = identity.authority.fingerprint().to_owned();
    Ok(Made { config, ca, ca_sha256, token })
}

/// The example with what is wanted in it.
fn settings(wanted: &Wanted, dir: &str) -> String {
    let text = |value: &dyn std::fmt::Display| toml::Value::String(value.to_string()).to_string();
    // Of a port that the system chooses nobody can be told.
    let known = wanted.names.first().filter(|_| wanted.mqtt.port() != 0);
    let advertise = match (&wanted.advertise, known) {
        (Some(advertise), _) => Some(text(advertise)),
        (None, Some(host)) if host.contains(':') => {
            Some(text(&format!("[{host}]:{}", wanted.mqtt.port())))
        }
        (None, Some(host)) => Some(text(&format!("{host}:{}", wanted.mqtt.port()))),
        (None, None) => None,
    };
    let names = wanted.names.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ");
    let lines = EXAMPLE.lines().skip_while(|line| !line.is_empty()).map(|line| {
        let value = match line.split_once(" = ").map(|(name, _)| name) {
            Some("data") => text(&dir),
            Some("http") => text(&wanted.http),
            Some("https") => text(&wanted.https),
            Some("mqtt") => text(&wanted.mqtt),
            Some("names") => format!("[{names}]"),
            // There is no such file yet.
            Some("access_keys" | "endpoint") => return format!("# {line}"),
            Some("advertise") => match &advertise {
                Some(advertise) => advertise.clone(),
                None => return format!("# {line}"),
            },
            _ => return line.to_owned(),
        };
        let name = line.split_once(" = ").map_or(line, |(name, _)| name);
        format!("{name} = {value}")
    });
    let head = "# Written by `gnomon-cloud init`; every option is here, most with their default.\n";
    lines.fold(head.to_owned(), |text, line| text + &line + "\n")
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn first_token(path: &Path, identity: &Identity, now: Duration) -> Result<String, InitError> {
    let store = RedbStore::open(path)?;
    store::check_schema(&store)?;
    let (secret, owner) = (Secret::api(), Grant::owner());
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let token = ApiToken {
        id: token_id("admin"),
        hash: identity.token_key.hash(secret.text()),
        grant: owner.clone(),
        by: "init".to_owned(),
        created_ms: now_ms,
        expires_ms: None,
        last_used_ms: None,
    };
    let edits = Book::default().make_token(&owner, token, now_ms)?;
    store.commit(&edits.iter().map(Edit::op).collect::<Vec<Op>>())?;
    Ok(secret.text().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ServeArgs};

    fn wanted(dir: &Path) -> Wanted {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let names = vec!["cloud.example".to_owned(), "10.1.2.3".to_owned()];
        let dir = dir.to_owned();
        Wanted { dir, names, advertise: None, http: any, https: any, mqtt: any }
    }

    #[test]
    fn the_configuration_says_what_was_wanted_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let done = init(&wanted(dir.path()), Duration::from_secs(1_000_000)).unwrap();
        let args = ServeArgs { config: Some(done.config.clone()), ..ServeArgs::default() };
        let config = Config::load(args).unwrap();
        assert_eq!(config.data, dir.path().canonicalize().unwrap());
        assert_eq!(config.hosts(), ["cloud.example", "10.1.2.3"]);
        assert_eq!(config.https, Some(SocketAddr::from(([127, 0, 0, 1], 0))));
        let mode = std::fs::metadata(&done.config).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&done.config).unwrap().contains(&done.token));
    }

    #[test]
    fn a_second_init_changes_nothing_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let now = Duration::from_secs(1_000_000);
        let made = init(&wanted(dir.path()), now).unwrap();
        let before = std::fs::read(dir.path().join(STORE)).unwrap();
        let error = init(&wanted(dir.path()), now).unwrap_err().to_string();
        assert!(error.contains("gnomon-cloud --config"), "{error}");
        assert_eq!(std::fs::read(dir.path().join(STORE)).unwrap(), before);
        std::fs::remove_file(made.config).unwrap();
        let error = init(&wanted(dir.path()), now).unwrap_err().to_string();
        assert!(error.contains("serve --data"), "{error}");
    }

    #[test]
    fn the_store_holds_the_tokens_fingerprint_and_not_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let made = init(&wanted(dir.path()), Duration::from_secs(1_000_000)).unwrap();
        let secret = made.token.as_bytes();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let content = std::fs::read(&path).unwrap();
            let found = content.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} holds the token", path.display());
        }
    }
}
