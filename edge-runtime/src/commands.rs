//! The subcommands, one file each. stdout is data, stderr is talk.

pub(crate) mod join;
pub(crate) mod logs;
pub(crate) mod run;
pub(crate) mod status;

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use gnomon_edge::local::{self, Request, Response};

/// Names the data directory.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArg {
    /// The agent's data directory.
    #[arg(long, env = "GNOMON_EDGE_DATA", default_value = gnomon_edge::settings::DATA)]
    pub(crate) data: PathBuf,
}

/// Asks the running agent; a refusal is an error.
async fn ask(data: &DataArg, request: &Request) -> Result<Response> {
    match local::ask(&data.data, request).await? {
        Response::Refused(refusal) => bail!(refusal),
        response @ (Response::Status(_) | Response::Logs(_)) => Ok(response),
    }
}

/// Writes text to stdout; a reader that has gone is no error.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing to stdout"),
    }
}
