//! The configuration: a TOML file, then the environment, then flags; the later wins.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::access::{Rate, RateLimits};
use crate::health::HealthConfig;
use crate::traces::TracesConfig;

mod advertise;
#[cfg(test)]
mod tests;

pub use advertise::{Advertise, ParseAdvertiseError};

/// The flags of `serve`, and the environment variables that stand for them.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// The folder that holds everything: store, keys, tokens. Made if it is missing.
    #[arg(long, env = "GNOMON_CLOUD_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the HTTP API listens [default: 127.0.0.1:7780].
    #[arg(long, env = "GNOMON_CLOUD_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where the HTTP API listens with TLS, also for other machines.
    #[arg(long, env = "GNOMON_CLOUD_HTTPS", value_name = "ADDR")]
    pub https: Option<SocketAddr>,
    /// Let the plain HTTP API listen on other addresses than loopback, where tokens can be read on
    /// the way.
    #[arg(long, env = "GNOMON_CLOUD_INSECURE_HTTP")]
    pub insecure_http: bool,
    /// Where the broker listens for sites, with TLS [default: 0.0.0.0:8883].
    #[arg(long, env = "GNOMON_CLOUD_MQTT", value_name = "ADDR")]
    pub mqtt: Option<SocketAddr>,
    /// How sites reach the broker from outside.
    #[arg(long, env = "GNOMON_CLOUD_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<Advertise>,
    /// A TOML file with any of these, and more.
    #[arg(long, env = "GNOMON_CLOUD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the log on stderr looks; what it shows is for `RUST_LOG` to say.
    #[arg(long, env = "GNOMON_CLOUD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    insecure_http: Option<bool>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    names: Option<Vec<String>>,
    mqtt: Option<SocketAddr>,
    advertise: Option<Advertise>,
    log_format: Option<LogFormat>,
    #[serde(default)]
    limits: FileLimits,
    #[serde(default)]
    sync: FileSync,
    #[serde(default)]
    history: FileHistory,
    #[serde(default)]
    enrolment: FileEnrolment,
    #[serde(default)]
    audit: FileAudit,
    #[serde(default)]
    aws: FileAws,
    #[serde(default)]
    health: FileHealth,
    #[serde(default)]
    traces: FileTraces,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    nodes: Option<NonZeroUsize>,
    shadows_per_node: Option<NonZeroUsize>,
    watchers: Option<NonZeroUsize>,
    watch_queue: Option<NonZeroUsize>,
    http_connections: Option<NonZeroUsize>,
    requests_per_second: Option<NonZeroU32>,
    requests_at_once: Option<NonZeroU32>,
    body_kib_per_second: Option<NonZeroU32>,
    strangers_per_second: Option<NonZeroU32>,
    strangers_at_once: Option<NonZeroU32>,
    mqtt_connections: Option<NonZeroUsize>,
    mqtt_newcomers: Option<usize>,
    mqtt_connections_per_address: Option<NonZeroUsize>,
    mqtt_connects_per_second: Option<u32>,
    mqtt_connects_at_once: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSync {
    window: Option<std::num::NonZeroU8>,
    max_batch_bytes: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHistory {
    versions: Option<NonZeroUsize>,
    days: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEnrolment {
    certificate_days: Option<Days>,
    expired_grace_days: Option<GraceDays>,
    approve_unknown: Option<bool>,
    pending: Option<NonZeroUsize>,
}

/// A time in days, at least ten seconds; a part of a day is one, too.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct Days(std::time::Duration);

impl TryFrom<f64> for Days {
    type Error = &'static str;

    fn try_from(days: f64) -> Result<Self, &'static str> {
        let least = std::time::Duration::from_secs(10);
        let life = std::time::Duration::try_from_secs_f64(days * DAY.as_secs_f64()).ok();
        let life = life.filter(|life| (least..=DAY * 36_500).contains(life));
        life.map(Self).ok_or("it must be a number of days, at least ten seconds of one")
    }
}

/// A time in days, or none; a part of a day is one, too.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct GraceDays(std::time::Duration);

impl TryFrom<f64> for GraceDays {
    type Error = &'static str;

    fn try_from(days: f64) -> Result<Self, &'static str> {
        let grace = std::time::Duration::try_from_secs_f64(days * DAY.as_secs_f64()).ok();
        let grace = grace.filter(|grace| *grace <= DAY * 36_500);
        grace.map(Self).ok_or("it must be a number of days, or 0")
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAudit {
    entries: Option<NonZeroUsize>,
    days: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAws {
    access_keys: Option<PathBuf>,
    document_bytes: Option<NonZeroUsize>,
    shadows_per_thing: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHealth {
    min_free_mib: Option<u32>,
    certificate_notice_days: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTraces {
    endpoint: Option<String>,
    ratio: Option<f64>,
}

/// Everything that is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds everything.
    pub data: PathBuf,
    /// Where the HTTP API listens.
    pub http: SocketAddr,
    /// Where it listens with TLS.
    pub https: Option<SocketAddr>,
    /// What it shows there; `None`: what the own authority signs.
    pub https_files: Option<TlsFiles>,
    /// Further names and addresses under which the cloud is reached.
    pub names: Vec<String>,
    /// Where the broker listens.
    pub mqtt: SocketAddr,
    /// How sites reach the broker; `None`: as it listens.
    pub advertise: Option<Advertise>,
    /// How the log looks.
    pub log_format: LogFormat,
    /// The file with the keys that clients of AWS sign with; `None`: there are none.
    pub access_keys: Option<PathBuf>,
    /// The core's part.
    pub core: crate::core::CoreConfig,
    /// The HTTP listener's part.
    pub http_limits: crate::http::HttpConfig,
    /// How nodes join.
    pub enrolment: crate::http::EnrolmentConfig,
    /// How much one caller may ask for.
    pub rates: RateLimits,
    /// The broker's part.
    pub broker: gnomon_broker::Limits,
    /// When the cloud is not well.
    pub health: HealthConfig,
    /// Where traces go.
    pub traces: TracesConfig,
}

/// A certificate with its chain, and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {path} is wrong")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Tokens could be read on the way.
    #[error(
        "the plain HTTP API would listen on {addr}, where others can read tokens on the way; use \
         --https ADDR, or allow it with --insecure-http (a TLS proxy on another machine)"
    )]
    Insecure {
        /// Where.
        addr: SocketAddr,
    },
    /// One of two files is missing.
    #[error("tls_certificate and tls_key belong together: give both or neither")]
    HalfTls,
    /// No collector is there.
    #[error(
        "traces.endpoint is {0:?}; it is the address of a collector, as in http://127.0.0.1:4318"
    )]
    TracesEndpoint(Box<str>),
    /// No part of the traces.
    #[error("traces.ratio is {0}; it is the part of the traces that is recorded, from 0 to 1")]
    TracesRatio(f64),
    /// Nothing says where the data goes.
    #[error("say where the data goes: --data DIR, GNOMON_CLOUD_DATA, or `data` in the file")]
    NoData,
}

impl Config {
    /// Puts the file, the environment and the flags together.
    pub fn load(args: ServeArgs) -> Result<Self, ConfigError> {
        let file = args.config.as_deref().map(read).transpose()?.unwrap_or_default();
        Self::merge(args, file)
    }

    /// The names and addresses under which the cloud is reached.
    pub fn hosts(&self) -> Vec<String> {
        let advertised = self.advertise.iter().map(|advertise| advertise.host().to_owned());
        advertised.chain(self.names.iter().cloned()).collect()
    }

    /// How nodes reach a port of the API, as `host:port`.
    pub fn reached_at(&self, bound: SocketAddr) -> String {
        let host = self.hosts().into_iter().next();
        let host = host.unwrap_or_else(|| match bound.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            ip => ip.to_string(),
        });
        let is_bare_v6 = host.contains(':') && !host.starts_with('[');
        let host = if is_bare_v6 { format!("[{host}]") } else { host };
        format!("{host}:{}", bound.port())
    }

    /// A configuration with nothing but a data folder: any free port on the loopback address.
    pub fn for_tests(data: &Path) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let args = ServeArgs {
            data: Some(data.to_owned()),
            http: Some(any),
            mqtt: Some(any),
            ..ServeArgs::default()
        };
        Self::merge(args, File::default()).expect("the data folder is given")
    }

    fn merge(args: ServeArgs, file: File) -> Result<Self, ConfigError> {
        let http = args.http.or(file.http).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7780)));
        let allowed = args.insecure_http || file.insecure_http.unwrap_or(false);
        if !http.ip().is_loopback() && !allowed {
            return Err(ConfigError::Insecure { addr: http });
        }
        let https_files = match (file.tls_certificate, file.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => return Err(ConfigError::HalfTls),
        };
        let mut config = Self {
            data: args.data.or(file.data).ok_or(ConfigError::NoData)?,
            http,
            https: args.https.or(file.https),
            https_files,
            names: file.names.unwrap_or_default(),
            mqtt: args.mqtt.or(file.mqtt).unwrap_or(SocketAddr::from(([0, 0, 0, 0], 8883))),
            advertise: args.advertise.or(file.advertise),
            log_format: args.log_format.or(file.log_format).unwrap_or_default(),
            access_keys: file.aws.access_keys.clone(),
            core: crate::core::CoreConfig::default(),
            http_limits: crate::http::HttpConfig::default(),
            enrolment: crate::http::EnrolmentConfig::default(),
            rates: RateLimits::default(),
            broker: site_limits(),
            health: file.health.read(),
            traces: file.traces.read()?,
        };
        file.limits.apply(&mut config);
        file.sync.apply(&mut config.core.domain);
        file.history.apply(&mut config.core.domain.history);
        file.enrolment.apply(&mut config.enrolment, &mut config.core.domain);
        file.audit.apply(&mut config.core.audit);
        file.aws.apply(&mut config.core.things);
        Ok(config)
    }
}

/// All state of a site is in its store and in the cloud's: the broker keeps nothing for it.
fn site_limits() -> gnomon_broker::Limits {
    gnomon_broker::Limits {
        retained_messages: 0,
        session_expiry: std::time::Duration::ZERO,
        session_expiry_v4: std::time::Duration::ZERO,
        ..gnomon_broker::Limits::default()
    }
}

impl FileLimits {
    fn apply(self, config: &mut Config) {
        let set = |to: &mut usize, from: Option<NonZeroUsize>| {
            *to = from.map_or(*to, NonZeroUsize::get);
        };
        set(&mut config.core.domain.limits.nodes, self.nodes);
        set(&mut config.core.domain.limits.shadows_per_node, self.shadows_per_node);
        set(&mut config.core.watchers, self.watchers);
        set(&mut config.core.watch_queue, self.watch_queue);
        set(&mut config.http_limits.connections, self.http_connections);
        set(&mut config.broker.connections, self.mqtt_connections);
        let broker = &mut config.broker;
        set(&mut broker.connections_per_address, self.mqtt_connections_per_address);
        broker.newcomers = self.mqtt_newcomers.unwrap_or(broker.newcomers);
        broker.connect_rate = self.mqtt_connects_per_second.unwrap_or(broker.connect_rate);
        let burst = self.mqtt_connects_at_once.map(NonZeroU32::get);
        broker.connect_burst = burst.unwrap_or(broker.connect_burst);
        let set = |to: &mut NonZeroU32, from: Option<NonZeroU32>| *to = from.unwrap_or(*to);
        let RateLimits { requests, bytes, strangers } = &mut config.rates;
        set(&mut requests.per_second, self.requests_per_second);
        set(&mut requests.burst, self.requests_at_once);
        set(&mut strangers.per_second, self.strangers_per_second);
        set(&mut strangers.burst, self.strangers_at_once);
        if let Some(kib) = self.body_kib_per_second {
            *bytes = Rate::of_bodies(kib);
        }
    }
}

impl FileHealth {
    fn read(self) -> HealthConfig {
        let default = HealthConfig::default();
        HealthConfig {
            min_free: self.min_free_mib.map_or(default.min_free, |mib| u64::from(mib) << 20),
            certificate_notice: self
                .certificate_notice_days
                .map_or(default.certificate_notice, |days| DAY * days),
        }
    }
}

impl FileTraces {
    fn read(self) -> Result<TracesConfig, ConfigError> {
        let Self { endpoint, ratio } = self;
        let is_url = |text: &String| text.starts_with("http://") || text.starts_with("https://");
        if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| !is_url(endpoint)) {
            return Err(ConfigError::TracesEndpoint(endpoint.as_str().into()));
        }
        let ratio = ratio.unwrap_or(TracesConfig::default().ratio);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(ConfigError::TracesRatio(ratio));
        }
        Ok(TracesConfig { endpoint, ratio })
    }
}

impl FileAws {
    fn apply(self, limits: &mut crate::aws::domain::Limits) {
        if let Some(bytes) = self.document_bytes {
            limits.document_bytes = bytes.get();
        }
        if let Some(shadows) = self.shadows_per_thing {
            limits.shadows_per_thing = shadows.get();
        }
    }
}

impl FileSync {
    fn apply(self, config: &mut crate::domain::DomainConfig) {
        if let Some(window) = self.window {
            config.writer.window = window.get();
            config.reader.window = window.get();
        }
        if let Some(bytes) = self.max_batch_bytes {
            config.writer.max_batch = bytes.get();
        }
    }
}

impl FileHistory {
    fn apply(self, limits: &mut crate::domain::HistoryLimits) {
        if let Some(versions) = self.versions {
            limits.versions = versions.get();
        }
        if let Some(days) = self.days {
            limits.age_ms = u64::from(days.get()) * 24 * 60 * 60 * 1000;
        }
    }
}

impl FileEnrolment {
    fn apply(
        self,
        config: &mut crate::http::EnrolmentConfig,
        domain: &mut crate::domain::DomainConfig,
    ) {
        domain.expired_grace = self.expired_grace_days.map_or(DAY * 30, |grace| grace.0);
        if let Some(days) = self.certificate_days {
            config.certificate_life = days.0;
        }
        config.approve_unknown = self.approve_unknown.unwrap_or(config.approve_unknown);
        config.pending = self.pending.map_or(config.pending, NonZeroUsize::get);
    }
}

impl FileAudit {
    fn apply(self, limits: &mut crate::core::AuditLimits) {
        if let Some(entries) = self.entries {
            limits.entries = entries.get();
        }
        if let Some(days) = self.days {
            limits.age_ms = u64::from(days.get()) * 24 * 60 * 60 * 1000;
        }
    }
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
}
