//! `gnomon-edge run`: the agent itself, until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gnomon_edge::backoff::Backoff;
use gnomon_edge::core::{Core, CoreConfig};
use gnomon_edge::identity::Identity;
use gnomon_edge::link::clock::Clock;
use gnomon_edge::link::memory::Memory;
use gnomon_edge::link::mqtt::{Address, MqttLink, MqttSettings};
use gnomon_edge::link::proxy::Proxy;
use gnomon_edge::link::{self, Tls};
use gnomon_edge::lock::DataLock;
use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::renewal::agent::Renewer;
use gnomon_edge::run::{Parts, run};
use gnomon_edge::settings::{self, Brokers, Given, LogFormat, Settings};
use gnomon_edge::store::sled::{SledConfig, SledStore};
use gnomon_edge::store::thread::StoreHandle;
use gnomon_edge::update::{self, Started, Updater, Wish};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};

pub(super) mod choose;
mod service;

/// The most that the updater tells before it is heard.
const UPDATES: usize = 4;

/// Runs the agent.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The agent's data directory [default: /var/lib/gnomon-edge].
    #[arg(long, env = "GNOMON_EDGE_DATA")]
    data: Option<PathBuf>,
    /// What runs apps: auto, docker, process or k3s.
    #[arg(long, env = "GNOMON_EDGE_ORCHESTRATOR")]
    orchestrator: Option<String>,
    /// The Docker daemon's socket.
    #[arg(long, env = "GNOMON_EDGE_DOCKER_SOCKET", value_name = "PATH")]
    docker_socket: Option<PathBuf>,
    /// Where the broker is reached, if not where the identity says; tried in turn.
    #[arg(long, env = "GNOMON_EDGE_BROKER", value_name = "HOST:PORT", value_delimiter = ',')]
    broker: Option<Vec<Address>>,
    /// Where the cloud's API speaks HTTPS, if not where the identity says.
    #[arg(long, env = "GNOMON_EDGE_API", value_name = "HOST:PORT")]
    api: Option<Address>,
    /// The proxy on the way to the cloud: socks5://[USER:PASSWORD@]HOST:PORT or http://...
    #[arg(long, env = "GNOMON_EDGE_PROXY", value_name = "URL", hide_env_values = true)]
    proxy: Option<Proxy>,
    /// The shortest silence on the link, in seconds; it grows while the network allows it.
    #[arg(long, env = "GNOMON_EDGE_KEEP_ALIVE_S", value_name = "SECONDS")]
    keep_alive_s: Option<u64>,
    /// A configuration file; see gnomon-edge.example.toml.
    #[arg(long, env = "GNOMON_EDGE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How logs look: text or json.
    #[arg(long, env = "GNOMON_EDGE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl RunArgs {
    /// Where the agent's data is, and how long an update has, also when the setup cannot be read:
    /// the program that is to run may understand it.
    pub(crate) fn start(&self) -> (PathBuf, Duration) {
        self.settings().map_or_else(
            |_| {
                let data = self.data.clone().unwrap_or_else(|| settings::DATA.into());
                (data, Duration::from_secs(settings::UPDATE_WITHIN_S))
            },
            |settings| (settings.data, settings.update_within),
        )
    }

    /// The whole setup: file, environment, flags.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let flags = Given {
            data: self.data.clone(),
            orchestrator: self.orchestrator.clone(),
            docker_socket: self.docker_socket.clone(),
            broker: self.broker.clone().map(Brokers::Several),
            api: self.api.clone(),
            proxy: self.proxy.clone(),
            keep_alive_s: self.keep_alive_s,
            log_format: self.log_format,
            ..Given::default()
        };
        let file = self.config.as_deref().map(Given::read).transpose()?.unwrap_or_default();
        Ok(flags.over(file).settle()?)
    }
}

/// Runs until it is told to stop; gives back what starts another program, if that is why.
pub(crate) async fn execute(settings: &Settings, started: Started) -> Result<Option<Started>> {
    update::reap_inherited();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let data = &settings.data;
    let identity = Identity::load(data)?;
    let _lock = DataLock::take(data)?;
    Identity::settle(data)?;
    let (secure, memory) = Secure::open(settings, &identity)?;
    let orchestrator = choose::orchestrator(settings, &identity.node).await?;
    let store = StoreHandle::spawn(store(settings, &identity))?;
    let release = started.version().map(ToOwned::to_owned);
    let line = serde_json::json!({
        "ready": true, "node": identity.node, "orchestrator": orchestrator.kind(),
        "update": release,
    });
    let (wishes, wanted) = watch::channel(Wish::default());
    let (told, updates) = mpsc::channel(UPDATES);
    let keeper = Updater {
        started,
        key: settings.update_key,
        proxy: settings.proxy.clone(),
        backoff: Backoff::new(update::WAITS.0, update::WAITS.1, StdRng::from_rng(&mut rand::rng())),
    };
    let parts = Parts {
        core: core(settings, &identity, &orchestrator),
        link: secure.link(settings, &identity, memory),
        store,
        orchestrator,
        http: settings.http.clone(),
        wishes,
        updates,
    };
    let renewing = tokio::spawn(secure.renewer(settings, identity).run());
    let is_ready = Arc::new(Notify::new());
    let alive = service::stay_alive(data.clone(), Arc::clone(&is_ready));
    let ready = move || {
        is_ready.notify_one();
        if let Err(error) = super::print(&format!("{line}\n")) {
            tracing::warn!(%error, "the ready line was not printed");
        }
    };
    let mut next = None;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            started = keeper.run(wanted, told) => next = Some(started),
            () = alive => {}
        }
        tracing::info!("stopping; apps keep running");
    };
    let ended =
        Box::pin(run(parts, data, ready, stop)).await.context("listening for local requests");
    renewing.abort();
    ended.map(|()| next)
}

/// The node's durable memory.
pub(super) fn store(settings: &Settings, identity: &Identity) -> Box<SledStore> {
    Box::new(SledStore::new(SledConfig {
        min_free_bytes: settings.min_free_bytes,
        ..SledConfig::new(settings.data.join("store").join(identity.node.as_str()))
    }))
}

fn core(settings: &Settings, identity: &Identity, orchestrator: &Orchestrator) -> Core {
    let config = CoreConfig {
        node: identity.node.clone(),
        capabilities: orchestrator.capabilities(),
        observe_every: settings.observe_every,
        budgets: settings.budgets.clone(),
        image_grace: settings.image_grace,
    };
    Core::new(config, StdRng::from_rng(&mut rand::rng()))
}

/// What the link and the renewal of its certificate share.
struct Secure {
    tls: Tls,
    clock: Arc<Clock>,
}

impl Secure {
    fn open(settings: &Settings, identity: &Identity) -> Result<(Self, Memory)> {
        let memory = Memory::open(&settings.data);
        let clock = Arc::new(Clock::default());
        clock.learn(memory.learned().past_s);
        let tls = link::client_config_at(identity, Arc::clone(&clock))?.into();
        Ok((Self { tls, clock }, memory))
    }

    fn link(&self, settings: &Settings, identity: &Identity, memory: Memory) -> MqttLink {
        let link = MqttSettings {
            node: identity.node.clone(),
            addresses: settings.brokers.clone().unwrap_or_else(|| identity.mqtt.clone()),
            proxy: settings.proxy.clone(),
            tls: self.tls.clone(),
            clock: Arc::clone(&self.clock),
            keep_alive: settings.keep_alive,
        };
        MqttLink::start(link, memory, StdRng::from_rng(&mut rand::rng()))
    }

    fn renewer(self, settings: &Settings, identity: Identity) -> Renewer {
        Renewer {
            data: settings.data.clone(),
            identity,
            api: settings.api.clone(),
            proxy: settings.proxy.clone(),
            tls: self.tls,
            clock: self.clock,
            rng: StdRng::from_rng(&mut rand::rng()),
        }
    }
}
