//! How the agent is set up: a TOML file, below the environment, below flags. The data directory
//! holds everything that the agent owns.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::core::{Budgets, Limits};
use crate::link::mqtt::Address;
use crate::link::proxy::Proxy;
use crate::local::http::{At, ParseAtError};
use crate::orchestrator::Kind;
use crate::update::{PublicKey, PublicKeyError};

/// The data directory of an agent that was not told another.
pub const DATA: &str = "/var/lib/gnomon-edge";

const KEEP_ALIVE_S: u64 = 30;
const KEEP_ALIVE_MAX_S: u64 = 300;
const OBSERVE_EVERY_S: u64 = 30;
const MIN_FREE_MIB: u64 = 16;
const IMAGE_GRACE_H: u64 = 24;
const WRITE_KIB_PER_HOUR: u64 = 512;
/// A trial of an update.
pub const UPDATE_WITHIN_S: u64 = 600;
const MOST_KIB: u64 = 1 << 30;

/// A complete, checked setup.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// What runs apps.
    pub orchestrator: Choice,
    /// The socket of the Docker daemon; `None`: the usual one.
    pub docker_socket: Option<PathBuf>,
    /// How the cluster of the k3s orchestrator is reached; `None`: as a pod, or by `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the k3s orchestrator; `None`: `gnomon`.
    pub namespace: Option<String>,
    /// Namespaces beside its own in which the k3s orchestrator may apply manifests.
    pub manifest_namespaces: Vec<String>,
    /// Kinds of the whole cluster of which it may apply manifests, such as `Namespace`.
    pub manifest_kinds: Vec<String>,
    /// Where the broker listens, if not where the identity says; tried in turn.
    pub brokers: Option<Vec<Address>>,
    /// Where the cloud's API speaks HTTPS, if not where the identity says.
    pub api: Option<Address>,
    /// The proxy on the way to the cloud.
    pub proxy: Option<Proxy>,
    /// The shortest and the longest silence on the link.
    pub keep_alive: (Duration, Duration),
    /// The longest time between two looks at what runs.
    pub observe_every: Duration,
    /// Directories of the node below which a bind mount may point.
    pub bind_prefixes: Vec<PathBuf>,
    /// Below this much free space nothing is stored.
    pub min_free_bytes: u64,
    /// What may be written and sent.
    pub budgets: Budgets,
    /// How long an image stays that nothing needs any more.
    pub image_grace: Duration,
    /// Where workloads may ask over HTTP; `None`: nowhere.
    pub http: Option<At>,
    /// Whose updates of the agent are taken; `None`: nobody's.
    pub update_key: Option<PublicKey>,
    /// How long an update has to reach the cloud.
    pub update_within: Duration,
    /// How logs look.
    pub log_format: LogFormat,
}

/// What shall run apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// What ran them before; at first Docker where a daemon answers, else host processes.
    #[default]
    Auto,
    /// This one.
    Fixed(Kind),
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The parts of a setup that were given; in the file, the environment or flags.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// See [`Settings::data`].
    pub data: Option<PathBuf>,
    /// `auto`, `docker`, `process` or `k3s`.
    pub orchestrator: Option<String>,
    /// See [`Settings::docker_socket`].
    pub docker_socket: Option<PathBuf>,
    /// See [`Settings::kubeconfig`].
    pub kubeconfig: Option<PathBuf>,
    /// See [`Settings::namespace`].
    pub namespace: Option<String>,
    /// See [`Settings::manifest_namespaces`].
    pub manifest_namespaces: Option<Vec<String>>,
    /// See [`Settings::manifest_kinds`].
    pub manifest_kinds: Option<Vec<String>>,
    /// See [`Settings::brokers`].
    pub broker: Option<Brokers>,
    /// See [`Settings::api`].
    pub api: Option<Address>,
    /// See [`Settings::proxy`].
    pub proxy: Option<Proxy>,
    /// See [`Settings::keep_alive`], in seconds.
    pub keep_alive_s: Option<u64>,
    /// See [`Settings::keep_alive`], in seconds.
    pub keep_alive_max_s: Option<u64>,
    /// See [`Settings::observe_every`], in seconds.
    pub observe_every_s: Option<u64>,
    /// See [`Settings::bind_prefixes`].
    pub bind_prefixes: Option<Vec<PathBuf>>,
    /// See [`Settings::min_free_bytes`], in MiB.
    pub min_free_mib: Option<u64>,
    /// See [`Budgets::write_bytes_per_hour`], in KiB.
    pub write_kib_per_hour: Option<u64>,
    /// See [`Budgets::link`], in KiB.
    pub link_kib_per_day: Option<u64>,
    /// See [`Budgets::link`], in KiB.
    pub link_kib_per_month: Option<u64>,
    /// See [`Budgets::dead_bands`].
    pub dead_bands: Option<BTreeMap<String, f64>>,
    /// See [`Settings::image_grace`], in hours.
    pub image_grace_h: Option<u64>,
    /// See [`Settings::http`].
    pub http: Option<String>,
    /// See [`Settings::update_key`].
    pub update_key: Option<String>,
    /// See [`Settings::update_within`], in seconds.
    pub update_within_s: Option<u64>,
    /// See [`Settings::log_format`].
    pub log_format: Option<LogFormat>,
}

/// One address, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Brokers {
    /// One.
    One(Address),
    /// Several, in the order in which they are tried.
    Several(Vec<Address>),
}

impl Brokers {
    fn list(self) -> Vec<Address> {
        match self {
            Self::One(address) => vec![address],
            Self::Several(addresses) => addresses,
        }
    }
}

/// Why a setup was refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", at.display())]
    File {
        /// The file.
        at: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {} is malformed", at.display())]
    Malformed {
        /// The file.
        at: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// There is no such orchestrator.
    #[error("{0:?} is no orchestrator; one is `auto`, `docker`, `process` or `k3s`")]
    UnknownOrchestrator(String),
    /// The local HTTP may not listen there.
    #[error(transparent)]
    Http(#[from] ParseAtError),
    /// The key of updates is none.
    #[error(transparent)]
    UpdateKey(#[from] PublicKeyError),
    /// A number is out of its range.
    #[error("{name} must be between {min} and {max}, not {given}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
        /// The value.
        given: u64,
    },
}

impl Given {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let at = || path.to_path_buf();
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| SettingsError::File { at: at(), source })?;
        toml::from_str(&text)
            .map_err(|source| SettingsError::Malformed { at: at(), source: Box::new(source) })
    }

    /// What was given here, and below it what was given in `lower`.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            data: self.data.or(lower.data),
            orchestrator: self.orchestrator.or(lower.orchestrator),
            docker_socket: self.docker_socket.or(lower.docker_socket),
            kubeconfig: self.kubeconfig.or(lower.kubeconfig),
            namespace: self.namespace.or(lower.namespace),
            manifest_namespaces: self.manifest_namespaces.or(lower.manifest_namespaces),
            manifest_kinds: self.manifest_kinds.or(lower.manifest_kinds),
            broker: self.broker.or(lower.broker),
            api: self.api.or(lower.api),
            proxy: self.proxy.or(lower.proxy),
            keep_alive_s: self.keep_alive_s.or(lower.keep_alive_s),
            keep_alive_max_s: self.keep_alive_max_s.or(lower.keep_alive_max_s),
            observe_every_s: self.observe_every_s.or(lower.observe_every_s),
            bind_prefixes: self.bind_prefixes.or(lower.bind_prefixes),
            min_free_mib: self.min_free_mib.or(lower.min_free_mib),
            write_kib_per_hour: self.write_kib_per_hour.or(lower.write_kib_per_hour),
            link_kib_per_day: self.link_kib_per_day.or(lower.link_kib_per_day),
            link_kib_per_month: self.link_kib_per_month.or(lower.link_kib_per_month),
            dead_bands: self.dead_bands.or(lower.dead_bands),
            image_grace_h: self.image_grace_h.or(lower.image_grace_h),
            http: self.http.or(lower.http),
            update_key: self.update_key.or(lower.update_key),
            update_within_s: self.update_within_s.or(lower.update_within_s),
            log_format: self.log_format.or(lower.log_format),
        }
    }

    /// The whole setup.
    pub fn settle(self) -> Result<Settings, SettingsError> {
        let seconds = |name, given: Option<u64>, usual, min, max| {
            within(name, given.unwrap_or(usual), min, max).map(Duration::from_secs)
        };
        let budgets = self.budgets()?;
        Ok(Settings {
            data: self.data.unwrap_or_else(|| DATA.into()),
            orchestrator: self.orchestrator.as_deref().map_or(Ok(Choice::Auto), str::parse)?,
            docker_socket: self.docker_socket,
            kubeconfig: self.kubeconfig,
            namespace: self.namespace,
            manifest_namespaces: self.manifest_namespaces.unwrap_or_default(),
            manifest_kinds: self.manifest_kinds.unwrap_or_default(),
            brokers: self.broker.map(Brokers::list).filter(|list| !list.is_empty()),
            api: self.api,
            proxy: self.proxy,
            keep_alive: (
                seconds("keep_alive_s", self.keep_alive_s, KEEP_ALIVE_S, 5, 3600)?,
                seconds("keep_alive_max_s", self.keep_alive_max_s, KEEP_ALIVE_MAX_S, 5, 3600)?,
            ),
            observe_every: seconds(
                "observe_every_s",
                self.observe_every_s,
                OBSERVE_EVERY_S,
                1,
                3600,
            )?,
            bind_prefixes: self.bind_prefixes.unwrap_or_default(),
            min_free_bytes: within(
                "min_free_mib",
                self.min_free_mib.unwrap_or(MIN_FREE_MIB),
                0,
                1 << 20,
            )? << 20,
            budgets,
            image_grace: Duration::from_hours(within(
                "image_grace_h",
                self.image_grace_h.unwrap_or(IMAGE_GRACE_H),
                0,
                24 * 365,
            )?),
            http: self.http.as_deref().map(str::parse).transpose()?,
            update_key: self.update_key.as_deref().map(str::parse).transpose()?,
            update_within: seconds(
                "update_within_s",
                self.update_within_s,
                UPDATE_WITHIN_S,
                5,
                86_400,
            )?,
            log_format: self.log_format.unwrap_or_default(),
        })
    }

    fn budgets(&self) -> Result<Budgets, SettingsError> {
        Ok(Budgets {
            write_bytes_per_hour: within(
                "write_kib_per_hour",
                self.write_kib_per_hour.unwrap_or(WRITE_KIB_PER_HOUR),
                16,
                MOST_KIB,
            )? << 10,
            link: Limits {
                day: kib("link_kib_per_day", self.link_kib_per_day)?,
                month: kib("link_kib_per_month", self.link_kib_per_month)?,
            },
            dead_bands: self.dead_bands.clone().unwrap_or_default(),
        })
    }
}

fn kib(name: &'static str, given: Option<u64>) -> Result<Option<u64>, SettingsError> {
    given.map(|given| Ok(within(name, given, 1, MOST_KIB)? << 10)).transpose()
}

fn within(name: &'static str, given: u64, min: u64, max: u64) -> Result<u64, SettingsError> {
    if (min..=max).contains(&given) {
        Ok(given)
    } else {
        Err(SettingsError::OutOfRange { name, min, max, given })
    }
}

impl FromStr for Choice {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text {
            "auto" => Ok(Self::Auto),
            "docker" => Ok(Self::Fixed(Kind::Docker)),
            "process" => Ok(Self::Fixed(Kind::Process)),
            "k3s" => Ok(Self::Fixed(Kind::K3s)),
            other => Err(SettingsError::UnknownOrchestrator(other.chars().take(64).collect())),
        }
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("the log format is `text` or `json`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_valid_and_shows_every_setting_with_its_usual_value() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("gnomon-edge.example.toml");
        let text = fs::read_to_string(&example).unwrap();
        let uncommented: String = text
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        let given: Given = toml::from_str(&uncommented).unwrap();
        let Given { data, orchestrator, docker_socket, broker, keep_alive_s, .. } = given.clone();
        assert!(data.is_some() && orchestrator.is_some() && docker_socket.is_some());
        assert!(given.update_key.is_some() && given.update_within_s.is_some());
        assert!(given.api.is_some() && given.proxy.is_some() && given.keep_alive_max_s.is_some());
        assert!(broker.is_some() && keep_alive_s.is_some() && given.observe_every_s.is_some());
        assert!(given.kubeconfig.is_some() && given.namespace.is_some());
        assert!(given.manifest_namespaces.is_some() && given.manifest_kinds.is_some());
        assert!(given.bind_prefixes.is_some() && given.min_free_mib.is_some());
        assert!(given.log_format.is_some() && given.http.is_some());
        assert!(given.write_kib_per_hour.is_some() && given.link_kib_per_day.is_some());
        assert!(given.image_grace_h.is_some());
        assert!(given.link_kib_per_month.is_some() && given.dead_bands.is_some());
        let plain = Given::read(&example).unwrap().settle().unwrap();
        assert_eq!(plain, Given::default().settle().unwrap());
    }

    #[test]
    fn flags_go_over_the_file() {
        let file: Given = toml::from_str("orchestrator = \"docker\"\nkeep_alive_s = 60").unwrap();
        let flags = Given { orchestrator: Some("process".to_owned()), ..Given::default() };
        let settings = flags.over(file).settle().unwrap();
        assert_eq!(settings.orchestrator, Choice::Fixed(Kind::Process));
        assert_eq!(settings.keep_alive, (Duration::from_mins(1), Duration::from_mins(5)));
    }

    #[test]
    fn unknown_settings_and_bad_values_are_refused() {
        assert!(toml::from_str::<Given>("keepalive = 3").is_err());
        assert!(toml::from_str::<Given>("broker = \"nowhere\"").is_err());
        assert!(toml::from_str::<Given>("proxy = \"ftp://a:1\"").is_err());
        let settle = |text: &str| toml::from_str::<Given>(text).unwrap().settle();
        assert!(matches!(settle("keep_alive_s = 1"), Err(SettingsError::OutOfRange { .. })));
        assert_eq!(
            settle("orchestrator = \"k3s\"").unwrap().orchestrator,
            Choice::Fixed(Kind::K3s)
        );
        assert!(settle("orchestrator = \"podman\"").is_err());
        assert!(matches!(settle("http = \"0.0.0.0:80\""), Err(SettingsError::Http(_))));
    }
}
