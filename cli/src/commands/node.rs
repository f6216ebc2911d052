//! `gnomon node`: create and delete nodes, let them join.

mod update;

use std::time::Duration;

use gnomon_schemas::id::NodeName;

use super::token;
use crate::api::{Node, Pending};
use crate::client::{Client, ScopeArgs};
use crate::exit::Failure;
use crate::names;
use crate::output::age::{now_ms, since, until};
use crate::output::{self, Format, table};
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
        /// Whose it is, for life; the own token's tenant if not given.
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// The group that it is in.
        #[arg(long, value_name = "NAME")]
        pool: Option<String>,
        /// How to print the node.
        #[arg(long, short, value_enum, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// Print a token with which a node can join once, or several that need not be known before.
    Token {
        /// The node's name; left out: any node that names itself.
        #[arg(value_parser = names::node)]
        name: Option<NodeName>,
        /// How many nodes may join with it; only without a name.
        #[arg(long, default_value_t = 1, value_name = "NUMBER", conflicts_with = "name")]
        uses: u32,
        #[command(flatten)]
        home: ScopeArgs,
        /// How long the token works, such as 90s, 10m or 1d.
        #[arg(long, default_value = "1h", value_parser = names::duration)]
        ttl: Duration,
        /// Print the token with its node and end as json or yaml.
        #[arg(long, short, value_enum, value_name = "FORMAT")]
        output: Option<Format>,
    },
    Update(update::Args),
    UpdateKey(update::KeyArgs),
    /// List the join tokens that any node may use.
    Tokens {
        /// How to print them.
        #[arg(long, short, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Revoke a join token that any node may use.
    RevokeToken {
        /// Its id, as `gnomon node tokens` shows it.
        id: String,
    },
    /// List the nodes without a token that wait to be let in.
    Pending {
        /// How to print them.
        #[arg(long, short, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Let a node in that waits; compare the fingerprint of its key first.
    Approve {
        /// Its id, as `gnomon node pending` shows it.
        id: String,
        #[command(flatten)]
        home: ScopeArgs,
    },
    /// Do not let a node in that waits.
    Deny {
        /// Its id, as `gnomon node pending` shows it.
        id: String,
    },
    /// Shut a node out: its session ends, its certificates and join tokens are void.
    Revoke {
        /// The node's name.
        #[arg(value_parser = names::node)]
        name: NodeName,
    },
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
        Command::Create { name, labels, tenant, pool, output: format } => {
            let labels = labels.into_iter().collect();
            let put =
                client.put_node(name.as_str(), &labels, tenant.as_deref(), pool.as_deref()).await?;
            return created(&name, &put, format);
        }
        Command::Token { name: Some(name), ttl, home, output: format, .. } => {
            if !home.is_empty() {
                let text = "the node has its tenant, pool and labels already; leave them out";
                return Err(Failure::Usage(text.to_owned()).into());
            }
            return token_of_one(&client, &name, ttl, format).await;
        }
        Command::Token { name: None, uses, ttl, home, output: format } => {
            let token = client.fleet_token(uses, ttl, &home).await?;
            output::talk(&format!(
                "on each machine: gnomon-edge join {} --node NAME --token TOKEN --data DIR",
                client.server()
            ));
            return token::print_new(&token, format);
        }
        Command::Tokens { output: format } => return tokens(&client, format).await,
        Command::RevokeToken { id } => {
            client.revoke_fleet_token(&id).await?;
            output::data(&format!("join-token/{id} revoked"))?;
        }
        Command::Pending { output: format } => return pending(&client, format).await,
        Command::Approve { id, home } => {
            client.approve(&id, &home).await?;
            output::data(&format!("pending/{id} approved"))?;
        }
        Command::Deny { id } => {
            client.deny(&id).await?;
            output::data(&format!("pending/{id} denied"))?;
        }
        Command::Revoke { name } => {
            client.revoke_node(name.as_str()).await?;
            output::data(&format!("node/{name} revoked"))?;
        }
        Command::Delete { name } => {
            client.delete_node(name.as_str()).await?;
            output::data(&format!("node/{name} deleted"))?;
        }
    }
    Ok(())
}

async fn token_of_one(
    client: &Client,
    name: &NodeName,
    ttl: Duration,
    format: Option<Format>,
) -> anyhow::Result<()> {
    let token = client.join_token(name.as_str(), ttl).await?;
    if let Some(format) = format {
        return output::value(&token, format);
    }
    output::talk(&format!(
        "on the site's machine: gnomon-edge join {} --token TOKEN --data DIR (works once)",
        client.server()
    ));
    Ok(output::data(&token.token)?)
}

fn created(
    name: &NodeName,
    (node, created): &(Node, bool),
    format: Option<Format>,
) -> anyhow::Result<()> {
    if let Some(format) = format {
        return output::value(node, format);
    }
    let verb = if *created { "created" } else { "labels replaced" };
    output::data(&format!("node/{name} {verb}"))?;
    if *created {
        output::talk(&format!("let it join with the token of `gnomon node token {name}`"));
    }
    Ok(())
}

async fn tokens(client: &Client, format: Format) -> anyhow::Result<()> {
    let tokens = client.fleet_tokens().await?;
    token::print_list(&tokens, format, &["ID", "USES-LEFT", "SCOPE", "EXPIRES"], |token| {
        let uses = token.rest.get("uses_left").and_then(serde_json::Value::as_u64);
        let uses = uses.unwrap_or_default().to_string();
        vec![token.id.clone(), uses, token::scope_of(token), until(token.expires_ms, now_ms())]
    })
}

async fn pending(client: &Client, format: Format) -> anyhow::Result<()> {
    let pending = client.pending().await?;
    match format {
        Format::Json | Format::Yaml => return output::value(&pending, format),
        Format::Table | Format::Wide if pending.is_empty() => output::talk("nobody waits"),
        Format::Table | Format::Wide => {
            let row = |waiting: &Pending| {
                let since = since(Some(waiting.since_ms), now_ms());
                let [id, node, state, peer, key] = [
                    &waiting.id,
                    &waiting.node,
                    &waiting.state,
                    &waiting.peer,
                    &waiting.key_sha256,
                ]
                .map(Clone::clone);
                vec![id, node, state, since, peer, key]
            };
            let rows: Vec<_> = pending.iter().map(row).collect();
            let headings = ["ID", "NODE", "STATE", "SINCE", "FROM", "KEY-SHA256"];
            output::data(&table::render(&headings, &rows))?;
        }
    }
    Ok(())
}
