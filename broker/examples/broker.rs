//! A broker on its own, to point MQTT tools at: anyone may do anything.
//!
//! `cargo run -p gnomon-broker --example broker -- 127.0.0.1:1883 [127.0.0.1:8083]`
//!
//! The first address speaks MQTT 3.1.1 and 5.0, the second the same over WebSocket. It
//! runs until it is interrupted.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{
    Acl, AuthError, Authenticator, Broker, BrokerConfig, Credentials, Endpoint, Limits,
    ListenerConfig, Principal, Role, Rule, Transport,
};

/// Lets everyone in, each user name as a principal of its own.
#[derive(Debug)]
struct Anyone;

impl Authenticator for Anyone {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        Ok(credentials
            .username
            .map_or_else(Principal::anonymous, |name| Principal::new(name, Role::Service)))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.event_interval(gnomon_broker::EVENT_INTERVAL).enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let mut addrs = std::env::args().skip(1).map(|text| text.parse::<SocketAddr>());
    let addr = addrs.next().unwrap_or_else(|| Ok(([127, 0, 0, 1], 1883).into()))?;
    let all: &[&str] = &["#"];
    let rules = [Role::Anonymous, Role::Service].map(|role| Rule::new(role, all, all));
    let mut broker = Broker::start(BrokerConfig {
        listeners: vec![ListenerConfig { addr, tls: None }],
        limits: Limits { away_per_principal: 10_000, ..Limits::default() },
        acl: Acl::new(rules.into_iter().collect::<Result<_, _>>()?),
        authenticator: Arc::new(Anyone),
    })
    .await?;
    if let Some(addr) = addrs.next().transpose()? {
        let transport = Transport::WebSocket;
        broker.listen(Endpoint { addr, tls: None, transport, proxy_protocol: false }).await?;
    }
    tokio::signal::ctrl_c().await?;
    broker.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
