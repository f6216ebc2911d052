//! `gnomon delete`: take an app off nodes.

use gnomon_schemas::id::{AppName, NodeName};

use crate::client::Precondition;
use crate::names;
use crate::output;
use crate::session::Session;

/// Take something away.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Take an app off nodes: its services stop and are removed.
    App {
        /// The app's name.
        #[arg(value_parser = names::app)]
        name: AppName,
        /// The nodes, separated by commas; may be given more than once.
        #[arg(
            long = "node",
            short,
            required = true,
            value_delimiter = ',',
            value_parser = names::node
        )]
        nodes: Vec<NodeName>,
    },
}

/// Runs the command.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    let Command::App { name, nodes } = command;
    let client = session.client()?;
    let key = format!("app/{name}");
    for node in nodes {
        client.delete_shadow(node.as_str(), &key, Precondition::None).await?;
        output::data(&format!("{key} on {node}: deleted"))?;
    }
    Ok(())
}
