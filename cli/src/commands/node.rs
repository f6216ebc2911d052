//! `gnomon node`: create and delete nodes, let them join.

mod update;

use std::time::Duration;

use gnomon_schemas::id::NodeName;

use crate::names;
use crate::output::{self, Format};
use crate::session::Session;

/// Create and delete nodes, let them join.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a node, or replace the labels of one that exists.
    Create {
        /// The node's name.
        #[arg(value_parser = names::node)]
        name: NodeName,
        /// A label; may be given more than once.
        #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = names::label)]
        labels: Vec<(String, String)>,
        /// How to print the node.
        #[arg(long, short, value_enum, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// Print a token with which the node can join once.
    Token {
        /// The node's name.
        #[arg(value_parser = names::node)]
        name: NodeName,
        /// How long the token works, such as 90s, 10m or 1d.
        #[arg(long, default_value = "1h", value_parser = names::duration)]
        ttl: Duration,
        /// Print the token with its node and end as json or yaml.
        #[arg(long, short, value_enum, value_name = "FORMAT")]
        output: Option<Format>,
    },
    Update(update::Args),
    UpdateKey(update::KeyArgs),
    /// Delete a node with all its shadows.
    Delete {
        /// The node's name.
        #[arg(value_parser = names::node)]
        name: NodeName,
    },
}

/// Runs the command.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    if let Command::UpdateKey(args) = &command {
        return update::make_key(args);
    }
    let client = session.client()?;
    match command {
        Command::UpdateKey(_) => {}
        Command::Update(args) => update::run(&client, &args).await?,
        Command::Create { name, labels, output: format } => {
            let labels = labels.into_iter().collect();
            let (node, created) = client.put_node(name.as_str(), &labels).await?;
            if let Some(format) = format {
                return output::value(&node, format);
            }
            let verb = if created { "created" } else { "labels replaced" };
            output::data(&format!("node/{name} {verb}"))?;
            if created {
                output::talk(&format!("let it join with the token of `gnomon node token {name}`"));
            }
        }
        Command::Token { name, ttl, output: format } => {
            let token = client.join_token(name.as_str(), ttl).await?;
            if let Some(format) = format {
                return output::value(&token, format);
            }
            output::talk(&format!(
                "on the site's machine: gnomon-edge join {} --token TOKEN --data DIR (works once)",
                client.server()
            ));
            output::data(&token.token)?;
        }
        Command::Delete { name } => {
            client.delete_node(name.as_str()).await?;
            output::data(&format!("node/{name} deleted"))?;
        }
    }
    Ok(())
}
