//! `gnomon get`: list nodes, apps or shadows.

use clap::ValueEnum;
use gnomon_schemas::id::NodeName;
use serde::Serialize;

use crate::api::{Node, Shadow, WatchEvent};
use crate::client::Client;
use crate::exit::Failure;
use crate::names;
use crate::output::{self, Format, table};
use crate::session::Session;

mod rows;

/// List nodes, apps or shadows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to list.
    #[arg(value_enum)]
    kind: Kind,
    /// Only these, by name (of a shadow: by key).
    names: Vec<String>,
    /// Only of this node.
    #[arg(long, short, value_parser = names::node)]
    node: Option<NodeName>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The sites' machines and their links.
    #[value(alias = "node")]
    Nodes,
    /// What runs where.
    #[value(alias = "app")]
    Apps,
    /// Desired and reported state.
    #[value(alias = "shadow")]
    Shadows,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let client = session.client()?;
    match args.kind {
        Kind::Nodes => {
            let nodes = list_nodes(&client, &args).await?;
            print(&args, nodes, |node| &node.name, rows::NODES, rows::node)
        }
        Kind::Apps => {
            let apps = client.apps(args.node.as_ref().map(NodeName::as_str)).await?;
            print(&args, apps, |app| &app.name, rows::APPS, rows::app)
        }
        Kind::Shadows => {
            let shadows = list_shadows(&client, &args).await?;
            print(&args, shadows, |shadow| &shadow.key, rows::SHADOWS, rows::shadow)
        }
    }
}

async fn list_nodes(client: &Client, args: &Args) -> anyhow::Result<Vec<Node>> {
    match &args.node {
        Some(node) => Ok(vec![client.node(node.as_str()).await?]),
        None => Ok(client.nodes().await?),
    }
}

/// The snapshot at the start of a watch is the one call that gives the shadows of every node.
async fn list_shadows(client: &Client, args: &Args) -> anyhow::Result<Vec<Shadow>> {
    if let Some(node) = &args.node {
        return Ok(client.shadows(node.as_str()).await?);
    }
    let mut watch = client.watch(&[], None).await?;
    let mut shadows = Vec::new();
    while let Some(event) = watch.next().await {
        match event? {
            WatchEvent::Shadow { shadow, .. } => shadows.push(*shadow),
            WatchEvent::Synced => return Ok(shadows),
            WatchEvent::Node(_) | WatchEvent::NodeDeleted { .. } => {}
            WatchEvent::Lagged => break,
        }
    }
    anyhow::bail!("the cloud closed the stream before it had sent everything; repeat the command")
}

fn print<T: Serialize>(
    args: &Args,
    mut items: Vec<T>,
    name: impl Fn(&T) -> &String,
    headings: rows::Headings,
    row: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    if !args.names.is_empty() {
        if let Some(missing) =
            args.names.iter().find(|&n| !items.iter().any(|item| name(item) == n))
        {
            let text = format!("there is no {} among the {}", missing, args.kind.plural());
            return Err(Failure::NotFound(text).into());
        }
        items.retain(|item| args.names.contains(name(item)));
    }
    let columns = match args.output {
        Format::Json | Format::Yaml => return output::value(&items, args.output),
        Format::Table => headings.narrow,
        Format::Wide => headings.all.len(),
    };
    if items.is_empty() {
        output::talk(&format!("no {} yet", args.kind.plural()));
        return Ok(());
    }
    let cut = |item: &T| row(item).into_iter().take(columns).collect();
    let rows: Vec<Vec<String>> = items.iter().map(cut).collect();
    let headings: Vec<&str> = headings.all.iter().take(columns).copied().collect();
    Ok(output::data(&table::render(&headings, &rows))?)
}

impl Kind {
    const fn plural(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Apps => "apps",
            Self::Shadows => "shadows",
        }
    }
}
