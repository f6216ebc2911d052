//! `gnomon shadow`: read, write, watch and delete one shadow's desired half.

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;

use crate::client::Precondition;
use crate::names;
use crate::output::{self, Format};
use crate::session::Session;

mod changes;
mod set;
mod value;
mod watch;

/// Read, write and watch desired and reported state.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Get(Get),
    Set(set::Args),
    Watch(watch::Args),
    Delete(Delete),
}

/// Print one shadow.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The node.
    #[arg(value_parser = names::node)]
    node: NodeName,
    /// The key: node, app/NAME or device/ID[/SHADOW].
    #[arg(value_parser = names::key)]
    key: ShadowKey,
    /// How to print it; the table and wide forms are the same as json here.
    #[arg(long, short, value_enum, default_value = "json", value_name = "FORMAT")]
    output: Format,
}

/// Delete the desired half of a shadow.
#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// The node.
    #[arg(value_parser = names::node)]
    node: NodeName,
    /// The key: node, app/NAME or device/ID[/SHADOW].
    #[arg(value_parser = names::key)]
    key: ShadowKey,
    /// Only while the desired half has this version.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    let client = session.client()?;
    match command {
        Command::Get(Get { node, key, output: format }) => {
            output::value(&client.shadow(node.as_str(), &key.to_string()).await?, format)
        }
        Command::Set(args) => set::run(&client, args).await,
        Command::Watch(args) => watch::run(&client, args).await,
        Command::Delete(Delete { node, key, if_version }) => {
            let precondition = if_version.map_or(Precondition::None, Precondition::Version);
            client.delete_shadow(node.as_str(), &key.to_string(), precondition).await?;
            Ok(output::data(&format!("{key} on {node}: desired deleted"))?)
        }
    }
}
