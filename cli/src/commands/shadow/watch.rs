//! `gnomon shadow watch`: changes as they happen, over reconnects.

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use serde_json::json;

use super::changes::{self, Seen};
use crate::api::WatchEvent;
use crate::client::{ApiError, Client};
use crate::exit;
use crate::names;
use crate::output::{self, Format};
use crate::sse::Watch;

const BACK_OFF: [u64; 6] = [1, 2, 4, 8, 15, 30];

/// Print what is there and then every change, one line each, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of this node.
    #[arg(value_parser = names::node)]
    node: Option<NodeName>,
    /// Only this key: node, app/NAME or device/ID[/SHADOW].
    #[arg(value_parser = names::key)]
    key: Option<ShadowKey>,
    /// A line for people, or one JSON document per line.
    #[arg(long, short, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

/// Runs the command.
pub(super) async fn run(client: &Client, args: Args) -> anyhow::Result<()> {
    let nodes: Vec<String> = args.node.iter().map(ToString::to_string).collect();
    let key = args.key.as_ref().map(ToString::to_string);
    let mut seen = BTreeMap::new();
    let mut failures = 0;
    let mut connected_before = false;
    loop {
        match client.watch(&nodes, key.as_deref()).await {
            Ok(watch) => {
                if connected_before {
                    output::talk("watch: connected again");
                }
                (connected_before, failures) = (true, 0);
                let end = follow(watch, args.output, &mut seen).await?;
                output::talk(&format!("watch: {end}"));
            }
            Err(error @ (ApiError::Refused(_) | ApiError::BadAnswer { .. })) => {
                return Err(error.into());
            }
            Err(error) if !connected_before => return Err(error.into()),
            Err(error) => output::talk(&format!("watch: {}", exit::describe(&error.into()))),
        }
        let pause = BACK_OFF.get(failures).or(BACK_OFF.last()).copied().unwrap_or(30);
        failures += 1;
        output::talk(&format!("watch: trying again in {pause} s"));
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

/// Prints until the stream ends; says why it did.
async fn follow(mut watch: Watch, format: Format, seen: &mut Seen) -> anyhow::Result<String> {
    while let Some(event) = watch.next().await {
        let line = match event {
            Ok(WatchEvent::Shadow { shadow, raw }) => {
                changes::line_of_shadow(seen, *shadow).map(|line| (line, raw))
            }
            Ok(WatchEvent::Node(node)) => {
                let line = changes::line_of_node(&node);
                Some((line, serde_json::to_value(&node)?))
            }
            Ok(WatchEvent::NodeDeleted { name }) => {
                seen.retain(|(node, _), _| *node != name);
                Some((changes::line_of_deleted(&name), json!({ "name": name, "deleted": true })))
            }
            Ok(WatchEvent::Synced) => None,
            Ok(WatchEvent::Lagged) => return Ok("too slow, the cloud cut it off".to_owned()),
            Err(error @ ApiError::BadAnswer { .. }) => return Err(error.into()),
            Err(error) => return Ok(exit::describe(&error.into())),
        };
        if let Some((line, raw)) = line {
            output::data(&match format {
                Format::Json | Format::Yaml => raw.to_string(),
                Format::Table | Format::Wide => line,
            })?;
        }
    }
    Ok("the cloud closed the stream".to_owned())
}
