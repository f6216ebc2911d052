//! `gnomon apply`: make nodes run the app of a Compose file or of Kubernetes manifests.

use std::path::PathBuf;
use std::time::Duration;

use gnomon_schemas::id::{AppName, NodeName};

use crate::client::{ApiError, Client, Precondition, WriteMode};
use crate::names;
use crate::output;
use crate::session::Session;

mod changes;
pub(crate) mod source;
mod wait;

/// How often somebody else may write in between before it is a conflict.
const ATTEMPTS: usize = 5;

/// Make nodes run the app of a Compose file, or of Kubernetes manifests on k3s.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Variables such as ${TAG:-1} in a Compose file are filled in from the environment; Kubernetes
manifests (YAML, any number of documents) are taken as they are, by nodes on k3s only.

Examples:
  gnomon apply -f compose.yaml --node site-1,site-2 --wait
  gnomon apply -f - --app web --node site-1 < compose.yaml
  gnomon apply -f manifests.yaml --app shop --node site-1 --wait")]
pub(crate) struct Args {
    /// The Compose file or the Kubernetes manifests; `-` is stdin.
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// The nodes, separated by commas; may be given more than once.
    #[arg(
        long = "node",
        short,
        required = true,
        value_name = "NODE",
        value_delimiter = ',',
        value_parser = names::node
    )]
    nodes: Vec<NodeName>,
    /// The app's name, where it is not the `name:` in the file.
    #[arg(long, value_name = "NAME", value_parser = names::app)]
    app: Option<AppName>,
    /// Wait until every node runs the app as written and it has shown to be good.
    ///
    /// An app is good once it was as desired for its settle time: 30 s, or `settle:` below
    /// `x-gnomon:` in the file. Fails when a node goes back to the revision before.
    #[arg(long, short)]
    wait: bool,
    /// How long to wait, such as 90s or 5m.
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = names::duration)]
    timeout: Duration,
}

/// What a node's app is to become.
pub(super) struct Target {
    node: String,
    /// The desired version that the node must report.
    version: u64,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let source = source::read(&args.file, args.app.as_ref())?;
    let client = session.client()?;
    let key = format!("app/{}", source.name);
    let mut nodes: Vec<String> = Vec::new();
    for node in args.nodes.iter().map(ToString::to_string) {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    // Nothing is written while one of the nodes is unknown.
    for node in &nodes {
        client.find_shadow(node, &key).await?;
    }
    let mut targets = Vec::new();
    for node in nodes {
        let version = write(&client, &node, &key, &source.spec).await?;
        targets.push(Target { node, version });
    }
    if args.wait {
        wait::until_running(&client, &key, targets, args.timeout).await?;
    }
    Ok(())
}

/// Writes unless it is there already; returns the desired version.
async fn write(
    client: &Client,
    node: &str,
    key: &str,
    spec: &serde_json::Value,
) -> anyhow::Result<u64> {
    let mut attempt = 1;
    loop {
        let before = client.find_shadow(node, key).await?;
        let desired = before.as_ref().and_then(|shadow| shadow.desired.as_ref());
        let read_version = desired.map_or(0, |half| half.version);
        if desired.is_some_and(|half| half.document == *spec) {
            output::data(&format!("{key} on {node}: unchanged (v{read_version})"))?;
            return Ok(read_version);
        }
        let precondition = Precondition::Version(read_version);
        let written = client.write_shadow(node, key, spec, WriteMode::Replace, precondition).await;
        match written {
            Ok((shadow, _)) => {
                let version = shadow.desired_version();
                // The cloud knows better what is equal: it does not show secrets.
                let line = if version == read_version {
                    format!("{key} on {node}: unchanged (v{version})")
                } else {
                    changes::describe(key, node, version, desired, spec)
                };
                output::data(&line)?;
                return Ok(version);
            }
            Err(ApiError::Refused(refusal))
                if refusal.code == "version_conflict" && attempt < ATTEMPTS =>
            {
                output::talk(&format!("{key} on {node}: somebody wrote in between, again"));
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
