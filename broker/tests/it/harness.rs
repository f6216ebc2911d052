//! A broker on loopback whose clients say who they are by their user name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{
    Acl, AuthError, Authenticator, Broker, BrokerConfig, Credentials, Limits, ListenerConfig,
    Principal, Role, Rule,
};
use prometheus_client::registry::Registry;

/// How long anything may take that is expected to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Takes the user name as the principal: `node/site-1`, `service/s`.
#[derive(Debug)]
pub(crate) struct ByUsername;

impl Authenticator for ByUsername {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        match credentials.username.and_then(|name| name.split_once('/')) {
            Some(("node", name)) => Ok(Principal::new(name, Role::Node)),
            Some(("service", name)) => Ok(Principal::new(name, Role::Service)),
            Some(_) => Err(AuthError::BadCredentials),
            None => Ok(Principal::anonymous()),
        }
    }
}

/// Nodes have their own topics, services have all.
pub(crate) fn acl() -> Acl {
    let all = &["#", "$aws/#"];
    let node = Rule::new(Role::Node, &["gnomon/1/{node}/u/+"], &["gnomon/1/{node}/d/+"]);
    Acl::new(vec![node.unwrap(), Rule::new(Role::Service, all, all).unwrap()])
}

pub(crate) struct Running {
    pub(crate) broker: Broker,
    pub(crate) addr: SocketAddr,
    registry: Registry,
}

pub(crate) async fn start() -> Running {
    start_with(Limits::default()).await
}

pub(crate) async fn start_with(limits: Limits) -> Running {
    let listeners = vec![ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls: None }];
    let authenticator = Arc::new(ByUsername);
    start_config(BrokerConfig { listeners, limits, acl: acl(), authenticator }).await
}

pub(crate) async fn start_config(config: BrokerConfig) -> Running {
    let broker = Broker::start(config).await.unwrap();
    let addr = broker.addrs()[0].addr;
    let mut registry = Registry::default();
    broker.register(&mut registry);
    Running { broker, addr, registry }
}

impl Running {
    /// The value of a metric, 0 if it was never set; `name` without the broker's prefix.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let start = format!("gnomon_broker_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |v| v.parse().unwrap())
    }

    /// Waits until a metric has at least this value.
    pub(crate) async fn metric_reaches(&self, name: &str, value: u64) {
        eventually(name, || self.metric(name) >= value).await;
    }

    /// Waits until no connection is open.
    pub(crate) async fn is_empty(&self) {
        eventually("no connection", || self.metric("connections") == 0).await;
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    within(what, async {
        while !condition() {
            ticks.tick().await;
        }
    })
    .await;
}

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(DEADLINE, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}
