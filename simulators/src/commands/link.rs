//! `gnomon-sim link`: runs emulated links until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use gnomon_sim::link::control::{ControlSocket, Links};
use gnomon_sim::link::tap::{TapConfig, TapEnd, TapLink};
use gnomon_sim::link::trace::Trace;
use gnomon_sim::link::{InvalidProfile, Link, LinkConfig, Profile, replay};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Run emulated links: TCP proxies that delay, pace, stall, reset and cut.
///
/// Prints one line of JSON with the bound addresses when all links accept connections, and runs
/// until SIGTERM or SIGINT. Steer it meanwhile with `gnomon-sim link-control`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gnomon-sim link --target 127.0.0.1:8883 --profile 4g-bad --control /tmp/links.sock\n  \
    gnomon-sim link --link a=127.0.0.1:0,127.0.0.1:8883 --link b=127.0.0.1:0,127.0.0.1:8883\n  \
    gnomon-sim link --tap a=site:up0:10.9.0.1/24,cloud:down0:10.9.0.2/24 --profile 4g-bad\n\n\
    Profiles: perfect, 4g-good, 4g-bad, 2g-edge, satellite, tunnel, carrier-outage, or the path of a TOML file.")]
pub(crate) struct LinkArgs {
    /// Where clients connect; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", requires = "target")]
    listen: String,
    /// Where the connections go
    #[arg(long, value_name = "HOST:PORT", required_unless_present_any = ["links", "taps"])]
    target: Option<String>,
    /// The name of the link of --listen and --target
    #[arg(long, value_name = "NAME", default_value = "link", requires = "target")]
    name: String,
    /// Another link; repeat it for as many as needed
    #[arg(long = "link", value_name = "NAME=LISTEN,TARGET", value_parser = parse_link)]
    links: Vec<LinkSpec>,
    /// A wire between two network namespaces, with real packets and real loss; needs root. Each end
    /// is NAMESPACE:DEVICE:ADDRESS, such as site:eth7:10.9.0.1/24; repeat it for as many as needed
    #[arg(long = "tap", value_name = "NAME=END,END", value_parser = parse_tap)]
    taps: Vec<TapSpec>,
    /// How the links behave at first: a shipped profile or the path of a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "perfect")]
    profile: String,
    /// Behave as this recorded link did, over and over again: a file of `gnomon-sim link-record`
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    trace: Option<PathBuf>,
    /// A Unix socket to steer the links over
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// Seeds everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct LinkSpec {
    name: String,
    listen: String,
    target: String,
}

#[derive(Clone, Debug, PartialEq)]
struct TapSpec {
    name: String,
    near: TapEnd,
    far: TapEnd,
}

#[derive(Serialize)]
struct Ready<'a> {
    links: Vec<ReadyLink<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<&'a PathBuf>,
}

#[derive(Serialize)]
struct ReadyLink<'a> {
    link: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<SocketAddr>,
}

pub(crate) async fn run(args: LinkArgs) -> anyhow::Result<()> {
    // Before anything is promised on stdout, so that a signal right after it is met.
    let mut terminated = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let trace = args.trace.as_deref().map(read_trace).transpose()?;
    let profile = match &trace {
        Some(_) => replay::base(),
        None => Profile::load(&args.profile)?,
    };
    let control = args.control.as_deref().map(ControlSocket::bind).transpose()?;
    let own = args.target.map(|target| LinkSpec { name: args.name, listen: args.listen, target });

    let mut links = Links::default();
    for (spec, seed) in own.into_iter().chain(args.links).zip(args.seed..) {
        let config = LinkConfig {
            listen: resolve(&spec.listen).await?,
            target: resolve(&spec.target).await?,
            profile: profile.clone(),
            seed,
        };
        let link = Link::start(config).with_context(|| format!("link {}", spec.name))?;
        links.insert(spec.name, link)?;
    }
    for (spec, seed) in args.taps.into_iter().zip(args.seed..) {
        let TapSpec { name, near, far } = spec;
        let config = TapConfig { near, far, profile: profile.clone(), seed };
        let wire = TapLink::start(config).await.with_context(|| format!("wire {name}"))?;
        links.insert(name, wire)?;
    }
    let links = Arc::new(links);
    let ready = links
        .iter()
        .map(|(link, at)| {
            let (addr, target) = at.addresses().unzip();
            ReadyLink { link, addr, target }
        })
        .collect();
    super::print_line(&Ready { links: ready, control: args.control.as_ref() })?;

    let stop = CancellationToken::new();
    let serving = control.map(|socket| tokio::spawn(socket.serve(links.clone(), stop.clone())));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        wrong = replay_all(&links, trace.as_ref()) => bail!("the trace makes no link: {wrong}"),
    }
    tracing::info!("stopping");
    stop.cancel();
    if let Some(serving) = serving {
        serving.await.context("the control socket failed")?;
    }
    links.shutdown().await;
    Ok(())
}

fn read_trace(at: &Path) -> anyhow::Result<Trace> {
    let text = std::fs::read_to_string(at);
    let text = text.with_context(|| format!("cannot read the trace {}", at.display()))?;
    Trace::parse(&text).with_context(|| format!("cannot use the trace {}", at.display()))
}

/// Returns only if a link cannot be what the trace says.
async fn replay_all(links: &Links, trace: Option<&Trace>) -> InvalidProfile {
    let Some(trace) = trace else { return std::future::pending().await };
    let all = links.iter().map(|(_, link)| Box::pin(replay::replay(link, trace)));
    futures_util::future::select_all(all).await.0
}

pub(super) async fn resolve(address: &str) -> anyhow::Result<SocketAddr> {
    let found = tokio::net::lookup_host(address)
        .await
        .with_context(|| format!("{address} is no address: use HOST:PORT"))?
        .next();
    match found {
        Some(found) => Ok(found),
        None => bail!("{address} has no address: check the host name"),
    }
}

fn parse_link(text: &str) -> Result<LinkSpec, String> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(',')?)));
    match parts {
        Some((name, (listen, target)))
            if ![name, listen, target].iter().any(|part| part.is_empty()) =>
        {
            Ok(LinkSpec {
                name: name.to_owned(),
                listen: listen.to_owned(),
                target: target.to_owned(),
            })
        }
        Some(_) | None => Err("expected NAME=LISTEN,TARGET, such as \
            site-1=127.0.0.1:0,127.0.0.1:8883"
            .to_owned()),
    }
}

fn parse_tap(text: &str) -> Result<TapSpec, String> {
    let end = |text: &str| {
        let mut parts = text.splitn(3, ':').map(str::to_owned);
        let (namespace, device, address) = (parts.next()?, parts.next()?, parts.next()?);
        let is_end = !namespace.is_empty() && (1..=15).contains(&device.len());
        (is_end && address.contains('/')).then_some(TapEnd { namespace, device, address })
    };
    let spec = || {
        let (name, ends) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        let (near, far) = ends.split_once(',')?;
        Some(TapSpec { name: name.to_owned(), near: end(near)?, far: end(far)? })
    };
    spec().ok_or_else(|| {
        "expected NAME=NAMESPACE:DEVICE:ADDRESS/BITS,NAMESPACE:DEVICE:ADDRESS/BITS, such as \
            a=site:up0:10.9.0.1/24,cloud:down0:10.9.0.2/24"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_is_named_and_has_two_ends() {
        let spec = parse_tap("a=site:up0:10.9.0.1/24,cloud:down0:fd00::2/64").unwrap();
        assert_eq!((spec.near.namespace.as_str(), spec.near.device.as_str()), ("site", "up0"));
        assert_eq!(spec.far.address, "fd00::2/64");
        for wrong in
            ["", "a=", "=s:d:1/2,c:d:1/2", "a=s:d:1,c:d:2", "a=s:a-name-that-is-long:1/8,c:d:1/8"]
        {
            assert!(parse_tap(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_link_is_named_and_has_two_addresses() {
        let spec = parse_link("site-1=127.0.0.1:0,[::1]:8883").unwrap();
        assert_eq!(spec.name, "site-1");
        assert_eq!((spec.listen.as_str(), spec.target.as_str()), ("127.0.0.1:0", "[::1]:8883"));
        for wrong in ["", "site-1", "site-1=a:1", "=a:1,b:2", "site-1=,b:2", "site-1=a:1,"] {
            assert!(parse_link(wrong).is_err(), "{wrong}");
        }
    }
}
