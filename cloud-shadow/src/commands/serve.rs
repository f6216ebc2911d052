//! `gnomon-cloud serve`: a line of JSON on stdout when it is ready, then silence there until the end.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use gnomon_cloud::config::{Config, ServeArgs};
use gnomon_cloud::health::Health;
use gnomon_cloud::server::Server;
use gnomon_cloud::traces::Traces;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::log;

pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args)?;
    let traces = Traces::start(&config.traces)?;
    log::start(config.log_format, traces.as_ref());
    let done = run(config).await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    done
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    outlive_large_files().context("cannot wait for SIGXFSZ")?;
    let data = config.data.clone();
    let server = Server::start(config).await?;
    let ready = serde_json::json!({
        "ready": true,
        "http": server.http_addr().to_string(),
        "https": server.https_addr().map(|addr| addr.to_string()),
        "mqtt": server.mqtt_addr().to_string(),
        "data": data,
    });
    writeln!(io::stdout(), "{ready}").context("cannot write to stdout")?;
    let failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = server.failed() => true,
        () = stay_alive(server.health()) => false,
    };
    tracing::info!("stopping");
    tell(NotifyState::Stopping);
    server.stop().await;
    tracing::info!("stopped");
    anyhow::ensure!(!failed, "the core has ended by a fault of gnomon-cloud; the log says where");
    Ok(())
}

/// A file that may not grow (`ulimit -f`, `LimitFSIZE=`) is to the store what a full disk is: the write
/// is refused. Without anybody who listens the signal would end the process.
fn outlive_large_files() -> io::Result<()> {
    signal(SignalKind::from_raw(nix::libc::SIGXFSZ)).map(drop)
}

/// Tells systemd, where there is one, that the cloud is ready, and again and again that it lives. It
/// lives when it is ready, so a core that hangs is found.
async fn stay_alive(health: Health) {
    tell(NotifyState::Ready);
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return std::future::pending().await;
    }
    let pause = (Duration::from_micros(micros) / 3).max(Duration::from_millis(100));
    loop {
        if health.report().await.is_ready() {
            tell(NotifyState::Watchdog);
        }
        tokio::time::sleep(pause).await;
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::debug!(%error, "systemd does not hear");
    }
}
