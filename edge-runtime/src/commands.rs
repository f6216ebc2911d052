//! The subcommands, one file each. stdout is data, stderr is talk.

pub(crate) mod apply;
pub(crate) mod apps;
pub(crate) mod diag;
pub(crate) mod exec;
pub(crate) mod join;
pub(crate) mod logs;
pub(crate) mod orders;
pub(crate) mod run;
pub(crate) mod status;
mod table;
pub(crate) mod uninstall;

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

/// What is said of an answer that this program does not expect.
const OTHER_VERSION: &str = "the agent answered something else; is it of another version?";

/// Asks the running agent; a refusal is an error.
async fn ask(data: &DataArg, request: &Request) -> Result<Response> {
    let response = local::ask(&data.data, request).await?;
    if let Response::Refused(refusal) = response {
        bail!(refusal);
    }
    Ok(response)
}

/// Orders something and says what the agent does about it.
async fn order(data: &DataArg, request: &Request) -> Result<()> {
    let Response::Done(told) = ask(data, request).await? else { bail!(OTHER_VERSION) };
    talk(&format!("{told}\n"));
    Ok(())
}

/// Writes text to stderr.
fn talk(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Writes text to stdout; a reader that has gone is no error.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing to stdout"),
    }
}
