//! What runs in processes of their own: our broker, and clients that end all at once.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use gnomon_broker::{
    Acl, Broker, BrokerConfig, CertificateAuthenticator, Limits, ListenerConfig, Role, Rule,
};

use crate::certificates::Certificates;
use crate::client;

/// The limits of the run: the defaults, but for what one address or one principal may do, since
/// all clients have the same.
pub(crate) fn limits() -> Limits {
    Limits { connect_rate: 0, ..Limits::default() }
}

/// A broker on these addresses where everyone may do everything.
pub(crate) async fn start(listeners: Vec<ListenerConfig>) -> anyhow::Result<Broker> {
    let all: &[&str] = &["#"];
    let rules = [Role::Anonymous, Role::Node].map(|role| Rule::new(role, all, all));
    let config = BrokerConfig {
        listeners,
        limits: limits(),
        acl: Acl::new(rules.into_iter().collect::<Result<_, _>>()?),
        authenticator: Arc::new(CertificateAuthenticator),
    };
    Ok(Broker::start(config).await?)
}

/// Serves until standard input ends: plain and over TLS.
pub(crate) fn broker(folder: &Path) -> anyhow::Result<()> {
    let tls = Certificates::open(folder).server()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.event_interval(gnomon_broker::EVENT_INTERVAL).enable_all().build()?;
    runtime.block_on(async {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = [None, Some(tls)].map(|tls| ListenerConfig { addr, tls });
        let broker = start(listeners.into()).await?;
        let addrs: Vec<_> = broker.addrs().iter().map(|bound| bound.addr.to_string()).collect();
        announce(&addrs.join(" "))?;
        tokio::task::spawn_blocking(wait_for_the_end).await??;
        drop(broker);
        anyhow::Ok(())
    })
}

/// Holds idle connections until it is killed.
pub(crate) fn hold(addr: &str, count: &str) -> anyhow::Result<()> {
    let (addr, count) = (addr.parse()?, count.parse::<usize>()?);
    let held: Vec<_> =
        (0..count).map(|n| client::plain(addr, &format!("held-{n}"))).collect::<Result<_, _>>()?;
    announce("ready")?;
    wait_for_the_end()?;
    drop(held);
    Ok(())
}

fn announce(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("answering the benchmark")
}

fn wait_for_the_end() -> std::io::Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
