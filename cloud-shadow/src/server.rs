//! The whole cloud, from a data folder to open ports and back.

mod lock;

pub use lock::{DataLock, LockError};

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{Broker, BrokerConfig, Chain, ListenerConfig, Listeners};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::access::Book;
use crate::aws::domain::{CERTIFICATES, ReadThingError, certificate_of};
use crate::aws::{self, AccessKeys, AccessKeysError, ThingRoll};
use crate::clock::{self, Clock};
use crate::config::{Advertise, Config};
use crate::core::{self, Core, CoreHandle, CoreParts};
use crate::domain::Domain;
use crate::gate::{self, Gate, OpenBookError};
use crate::health::{Health, Outcomes, Subjects};
use crate::http::tls::{HttpsError, Shown};
use crate::http::{self, ApiParts, Serving};
use crate::identity::{Identity, IdentityError, Roll};
use crate::metrics::Metrics;
use crate::mqtt;
use crate::store::{JournaledStore, Store, StoreError};

/// A running cloud.
pub struct Server {
    http_addr: SocketAddr,
    https_addr: Option<SocketAddr>,
    mqtt_addr: SocketAddr,
    core: Core,
    broker: Broker,
    health: Health,
    /// What takes in the broker's events, of nodes and of things.
    tasks: [JoinHandle<()>; 2],
    listeners: Vec<Task>,
    stop: CancellationToken,
    /// Held as long as the data folder is ours.
    _lock: DataLock,
}

/// A task that ends when the cloud is stopped, and what it is.
type Task = (&'static str, JoinHandle<()>);

/// Why the cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The API cannot speak TLS.
    #[error(transparent)]
    Https(#[from] HttpsError),
    /// Keys, certificates or tokens cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's content cannot be used.
    #[error(transparent)]
    Core(#[from] core::StartError),
    /// The book of tokens cannot be read.
    #[error(transparent)]
    Book(#[from] OpenBookError),
    /// The access keys of AWS clients cannot be read.
    #[error(transparent)]
    AccessKeys(#[from] AccessKeysError),
    /// The certificates of things cannot be read.
    #[error("a certificate of a thing cannot be read; {}", crate::store::WAY_BACK)]
    Things(#[from] ReadThingError),
    /// The address of the HTTP API is taken or not ours.
    #[error("the HTTP API cannot listen on {addr}; is another server using it?")]
    Http {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The broker cannot start.
    #[error(transparent)]
    Broker(#[from] gnomon_broker::StartError),
}

/// How often certificates of the API are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(10);

/// The API with TLS.
struct Https {
    listener: TcpListener,
    addr: SocketAddr,
    shown: Arc<Shown>,
    tls: Arc<rustls::ServerConfig>,
}

impl Https {
    async fn open(config: &Config, identity: &Identity) -> Result<Option<Self>, ServeError> {
        let Some(addr) = config.https else {
            if config.advertise.is_some() {
                tracing::warn!("without --https ADDR no node can renew its certificate");
            }
            return Ok(None);
        };
        let shown = Arc::new(Shown::load(identity, config.https_files.clone())?);
        let grace = config.core.domain.expired_grace;
        let tls = http::tls::config(identity, Arc::clone(&shown), grace)?;
        let (listener, addr) = bind(addr).await?;
        Ok(Some(Self { listener, addr, shown, tls }))
    }
}

/// How long clients of the broker may take to go.
const GRACE: Duration = Duration::from_secs(5);

impl Server {
    /// Makes what is missing in the data folder, reads the rest, and opens the ports.
    pub async fn start(config: Config) -> Result<Self, ServeError> {
        let lock = DataLock::take(&config.data)?;
        let Opened { identity, store, outcomes, clock, domain, book } = open(&config).await?;
        let (listener, http_addr) = bind(config.http).await?;
        let https = Https::open(&config, &identity).await?;
        let https_at = https.as_ref().map(|https| https.addr);
        lock.announce(http_addr)?;
        let roll = read_nodes(&domain);
        let things = read_things(&*store)?;
        let keys = AccessKeys::load(config.access_keys.as_deref())?;
        let broker = start_broker(&config, &identity, roll.clone(), things.clone()).await?;
        let mqtt_addr = broker.addrs().first().map_or(config.mqtt, |bound| bound.addr);
        let (metrics, registry) = count(&broker);
        let (requests, thing_link) = aws::mqtt::attach(&broker, things.clone());
        let (attachment, link) = mqtt::attach(&broker, roll.clone(), Arc::clone(&thing_link));
        let parts =
            CoreParts { store, link: Arc::clone(&link) as _, metrics: metrics.clone(), clock };
        let core = Core::start(domain, parts, config.core);
        let answers = aws::mqtt::run(requests, thing_link, core.handle(), metrics.clone());
        let intake = mqtt::run(attachment, link, core.handle(), metrics.clone());
        let tasks = [tokio::spawn(intake), tokio::spawn(answers)];
        let stop = CancellationToken::new();
        let seen = (broker.listeners(), https.as_ref().map(|https| Arc::clone(&https.shown)));
        let health = look_at(&config, &core, outcomes, seen, &identity, &metrics);
        let api = ApiParts {
            core: core.handle(),
            gate: open_gate(&identity, book, core.handle(), &config)?,
            identity,
            keys: Arc::new(keys),
            throttled: metrics.api.throttled(),
            registry,
            metrics: metrics.clone(),
            health: health.clone(),
            https: https_at.map(|addr| config.reached_at(addr)),
            roll,
            things,
            mqtt: Arc::new([advertised(config.advertise, mqtt_addr)]),
            enrolment: config.enrolment,
            stop: stop.clone(),
        };
        let api = http::Api::from(api);
        let attending = attend(&health, &api, &stop);
        let (router, config) = (http::router(api), config.http_limits);
        let serving =
            Serving { tls: None, router, config, metrics: metrics.api, stop: stop.clone() };
        let mut listeners = listen(listener, https, serving);
        listeners.extend(attending);
        Ok(Self {
            http_addr,
            https_addr: https_at,
            mqtt_addr,
            core,
            broker,
            health,
            tasks,
            listeners,
            stop,
            _lock: lock,
        })
    }

    /// How the cloud is.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Where the HTTP API listens.
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where the HTTP API listens with TLS.
    pub const fn https_addr(&self) -> Option<SocketAddr> {
        self.https_addr
    }

    /// Where the broker listens.
    pub const fn mqtt_addr(&self) -> SocketAddr {
        self.mqtt_addr
    }

    /// Returns when the cloud can do its work no longer; the log says why.
    pub async fn failed(&self) {
        self.core.ended().await;
    }

    /// Ends the requests and sessions that are under way and then everything else.
    pub async fn stop(self) {
        self.stop.cancel();
        for (what, listener) in self.listeners {
            join(what, listener).await;
        }
        self.broker.shutdown(GRACE).await;
        for task in self.tasks {
            join("the broker's intake", task).await;
        }
        let store = Arc::clone(self.core.handle().store());
        self.core.stop().await;
        settle(store).await;
    }
}

/// Leaves the store as one file, so that the next start has nothing to make up for.
async fn settle(store: Arc<dyn Store>) {
    match tokio::task::spawn_blocking(move || store.settle()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the store keeps its journal, which the next start reads");
        }
        Err(error) => tracing::error!(%error, "settling the store ended by a panic"),
    }
}

/// What the data folder holds.
struct Opened {
    identity: Arc<Identity>,
    store: Arc<dyn Store>,
    outcomes: Outcomes,
    clock: Clock,
    domain: Domain,
    book: Book,
}

/// Makes what is missing in the data folder, and reads the rest.
async fn open(config: &Config) -> Result<Opened, ServeError> {
    let was_used = Identity::is_in(&config.data);
    let identity = Identity::open(&config.data, &config.hosts(), clock::since_1970())?;
    let identity = Arc::new(identity);
    let store_path = config.data.join(crate::backup::STORE);
    if was_used && std::fs::metadata(&store_path).map_or(0, |file| file.len()) == 0 {
        let path = store_path.display();
        tracing::warn!(%path, "the store of a used data folder is gone; it starts empty");
    }
    let (store, outcomes) = Outcomes::watch(Arc::new(JournaledStore::open(&store_path)?));
    let clock = Clock::start();
    let domain = core::load(Arc::clone(&store), clock, config.core.domain).await?;
    let book = open_book(&store).await?;
    Ok(Opened { identity, store, outcomes, clock, domain, book })
}

fn count(broker: &Broker) -> (Metrics, Arc<Registry>) {
    let (metrics, mut registry) = (Metrics::default(), Registry::default());
    metrics.register(&mut registry);
    broker.register(&mut registry);
    (metrics, Arc::new(registry))
}

fn look_at(
    config: &Config,
    core: &Core,
    outcomes: Outcomes,
    (broker, shown): (Listeners, Option<Arc<Shown>>),
    identity: &Arc<Identity>,
    metrics: &Metrics,
) -> Health {
    let (core, data) = (core.handle(), config.data.clone());
    let (identity, metrics) = (Arc::clone(identity), metrics.health.clone());
    let subjects = Subjects { core, outcomes, data, broker, identity, shown, metrics };
    Health::new(subjects, config.health)
}

/// Serves the API, with TLS where that is wanted, until it is stopped.
fn listen(listener: TcpListener, https: Option<Https>, serving: Serving) -> Vec<Task> {
    let mut tasks = Vec::new();
    if let Some(https) = https {
        let watching = http::tls::watch(https.shown, CERTIFICATE_LOOK, serving.stop.clone());
        tasks.push(("the look at certificates", tokio::spawn(watching)));
        let serving = Serving { tls: Some(TlsAcceptor::from(https.tls)), ..serving.clone() };
        tasks.push(("the HTTPS listener", tokio::spawn(http::serve(https.listener, serving))));
    }
    tasks.push(("the HTTP listener", tokio::spawn(http::serve(listener, serving))));
    tasks
}

/// What goes on beside the listeners, until it is stopped.
fn attend(health: &Health, api: &http::Api, stop: &CancellationToken) -> [Task; 2] {
    let look = tokio::spawn(health.clone().watch(stop.clone()));
    let intake = tokio::spawn(http::pending::take_in(api.clone()));
    [
        ("the look at the cloud's health", look),
        ("the intake of nodes that the backup does not know", intake),
    ]
}

async fn open_book(store: &Arc<dyn Store>) -> Result<Book, ServeError> {
    let store = Arc::clone(store);
    let read = tokio::task::spawn_blocking(move || gate::read_book(&*store)).await;
    Ok(read.map_err(|_| core::StartError::Panicked)??)
}

/// The owner's token is in a file, unless `init` made one that is nowhere but with its holder; so
/// whoever revokes the last one, or lost it, finds a new one there after a start.
fn open_gate(
    identity: &Identity,
    book: Book,
    core: CoreHandle,
    config: &Config,
) -> Result<Gate, ServeError> {
    let has_owner = book.has_owner(clock::unix_ms()) && !identity.has_owner_token();
    let owner = if has_owner { None } else { Some(identity.owner_token()?) };
    let local = identity.local_token()?;
    // No caller takes all the streams that there are.
    let most_streams = (config.core.watchers / 10).max(1);
    let key = identity.token_key.clone();
    Ok(Gate::new(book, key, owner, local, core, config.rates, most_streams))
}

async fn join(what: &str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "{what} ended by a panic");
    }
}

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Http { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn start_broker(
    config: &Config,
    identity: &Identity,
    roll: Roll,
    things: ThingRoll,
) -> Result<Broker, ServeError> {
    let listener = ListenerConfig { addr: config.mqtt, tls: Some(Arc::clone(&identity.tls)) };
    let broker = BrokerConfig {
        listeners: vec![listener],
        limits: config.broker.clone(),
        acl: mqtt::acl(),
        authenticator: Arc::new(Chain::new(vec![Arc::new(things), Arc::new(roll)])),
    };
    Ok(Broker::start(broker).await?)
}

/// Which nodes are let in.
fn read_nodes(domain: &Domain) -> Roll {
    let roll = Roll::new(domain.windows().clone());
    for node in domain.nodes() {
        roll.admit(node.name(), &node.admitted());
    }
    roll
}

/// Which things are let in.
fn read_things(store: &dyn Store) -> Result<ThingRoll, ServeError> {
    let (roll, mut serials) = (ThingRoll::default(), BTreeMap::<_, Vec<String>>::new());
    for (key, value) in store.scan(CERTIFICATES)? {
        let (thing, certificate) = certificate_of(&key, &value)?;
        serials.entry(thing).or_default().push(certificate.serial);
    }
    for (thing, serials) in &serials {
        roll.admit(thing, serials.iter().map(String::as_str));
    }
    Ok(roll)
}

/// What joining nodes are told.
fn advertised(advertise: Option<Advertise>, bound: SocketAddr) -> String {
    match advertise {
        Some(advertise) => advertise.to_string(),
        None if bound.ip().is_unspecified() => {
            let addr = format!("127.0.0.1:{}", bound.port());
            tracing::warn!(
                addr,
                "nodes that join are told this address; give --advertise HOST:PORT"
            );
            addr
        }
        None => bound.to_string(),
    }
}
