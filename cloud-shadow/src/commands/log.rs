//! Where log lines and spans go.

use std::io::{self, IsTerminal as _};

use gnomon_cloud::config::LogFormat;
use gnomon_cloud::traces::Traces;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// Writes log lines to stderr as `RUST_LOG` says, and hands spans to the traces.
pub(super) fn start(format: LogFormat, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    };
    let spans = traces.map(Traces::layer);
    tracing_subscriber::registry().with(lines).with(spans).init();
}
