//! `gnomon-cloud broker`: the broker alone, for clients of any kind.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use gnomon_broker::{Broker, TokenKey, hash_password};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};

mod config;
mod metrics;
mod reload;

use config::Standalone;

/// How long clients have for their goodbye at the end.
const GRACE: std::time::Duration = std::time::Duration::from_secs(10);

/// The flags of `broker`.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true)]
pub(crate) struct BrokerArgs {
    /// The TOML file that says where it listens, who may come in, and what they may do.
    #[arg(long, value_name = "FILE", group = "what")]
    config: Option<PathBuf>,
    /// Only say whether the file and what it names are right.
    #[arg(long, requires = "config")]
    check: bool,
    /// Read a password from the first line of stdin and write its hash, for a line of the
    /// passwords file.
    #[arg(long, group = "what", conflicts_with_all = ["config", "hash_token"])]
    hash_password: bool,
    /// Read a token from the first line of stdin and write its hash with this key, for a line
    /// of the tokens file.
    #[arg(long, value_name = "KEYFILE", group = "what", conflicts_with = "config")]
    hash_token: Option<PathBuf>,
}

/// Runs the command to its end.
pub(crate) async fn run(args: BrokerArgs) -> anyhow::Result<()> {
    if args.hash_password {
        return say(&hash_password(&first_line()?)?);
    }
    if let Some(file) = args.hash_token {
        return say(&token_key(&file)?.hash(&first_line()?));
    }
    let Some(path) = args.config else { bail!("say which file: --config FILE") };
    let standalone = Standalone::load(&path)?;
    if args.check {
        return say(&format!("{} is right", path.display()));
    }
    serve(path, standalone).await
}

async fn serve(path: PathBuf, standalone: Standalone) -> anyhow::Result<()> {
    super::log::start(standalone.log_format, None);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let Standalone { endpoints, limits, acl, authenticator, metrics, .. } = standalone;
    let current = reload::Current::new(authenticator);
    let broker = Broker::open(endpoints, limits, acl, current.authenticator()).await?;
    let mut registry = Registry::default();
    broker.register(&mut registry);
    let metrics = match metrics {
        Some(addr) => Some(metrics::serve(addr, registry).await?),
        None => None,
    };
    let listeners: Vec<_> = broker
        .addrs()
        .iter()
        .map(|bound| serde_json::json!({ "addr": bound.addr.to_string(), "tls": bound.tls }))
        .collect();
    let metrics_addr = metrics.as_ref().map(|served| served.addr.to_string());
    let ready = serde_json::json!({
        "ready": true, "listeners": listeners, "metrics": metrics_addr,
    });
    say(&ready.to_string())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => current.reload(&path, &broker),
        }
    }
    tracing::info!("stopping");
    broker.shutdown(GRACE).await;
    Ok(())
}

fn token_key(path: &Path) -> anyhow::Result<TokenKey> {
    let secret = std::fs::read(path)
        .with_context(|| format!("the key for tokens {} cannot be read", path.display()))?;
    TokenKey::new(&secret).with_context(|| format!("{} is no key for tokens", path.display()))
}

fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("cannot read from stdin")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to stdout")
}
