//! `gnomon-sim link-record`: records a real link as a trace for `gnomon-sim link --trace`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use gnomon_sim::link::replay::record;
use gnomon_sim::link::trace::Point;
use serde_json::json;

/// Record a real link: how long a TCP handshake with a server takes, and how many are lost.
///
/// Five handshakes for each line of the trace. Prints one line of JSON; Ctrl-C ends without a file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gnomon-sim link-record --target cloud.example:8883 --for-s 600 --out depot.csv\n  \
    gnomon-sim link --target 127.0.0.1:8883 --trace depot.csv")]
pub(crate) struct LinkRecordArgs {
    /// A server behind the link; it may refuse the connections, as long as it answers
    #[arg(long, value_name = "HOST:PORT")]
    target: String,
    /// The trace
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How long to record, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    for_s: u64,
    /// How long each line stands for, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    every_ms: u64,
    /// The rate that is known of the link, in bytes a second; it is not measured, 0 is unlimited
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    rate: u64,
}

pub(crate) async fn run(args: LinkRecordArgs) -> anyhow::Result<()> {
    let server = super::link::resolve(&args.target).await?;
    let (every, length) = (Duration::from_millis(args.every_ms), Duration::from_secs(args.for_s));
    let mut count = 0_u64;
    let told = |point: &Point| {
        count += 1;
        tracing::info!(rtt_ms = point.rtt_ms, loss = point.loss, "recorded");
    };
    let trace = tokio::select! {
        trace = record(server, every, length, args.rate, told) => trace,
        _ = tokio::signal::ctrl_c() => bail!("interrupted: nothing is written"),
    };
    let trace = trace.context("what was recorded is no trace")?;
    std::fs::write(&args.out, trace.to_csv())
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    super::print_line(&json!({ "trace": args.out, "points": count }))
}
