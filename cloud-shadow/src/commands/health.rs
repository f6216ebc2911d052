//! `gnomon-cloud health`: the answer of /readyz, for supervisors and containers without a shell.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use gnomon_cloud::local;
use gnomon_cloud::server::DataLock;
use http_body_util::{BodyExt as _, Limited};

/// The flags of `health`.
#[derive(Args)]
pub(crate) struct HealthArgs {
    /// The folder that holds the cloud's data.
    #[arg(long, env = "GNOMON_CLOUD_DATA", value_name = "DIR")]
    data: PathBuf,
}

const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: usize = 64 * 1024;

pub(crate) async fn health(args: &HealthArgs) -> anyhow::Result<()> {
    let data = args.data.display();
    let addr = DataLock::addr(&args.data)
        .with_context(|| format!("no cloud runs on {data}; say where its data is: --data DIR"))?;
    let asking = async {
        let answer = local::get(addr, "/readyz", None).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        anyhow::Ok((status, body))
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    let asked = asked.with_context(|| format!("the cloud at {addr} does not answer"))?;
    let (status, body) = asked.with_context(|| format!("the cloud at {addr} is not there"))?;
    let text = String::from_utf8_lossy(&body);
    writeln!(io::stdout(), "{}", text.trim()).context("cannot write to stdout")?;
    anyhow::ensure!(status.is_success(), "the cloud at {addr} is not ready");
    Ok(())
}
