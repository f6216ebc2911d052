//! `gnomon token`: make, list and revoke tokens of the API.

use std::time::Duration;

use clap::ValueEnum;

use crate::api::Token;
use crate::client::ScopeArgs;
use crate::names;
use crate::output::age::{now_ms, since, until};
use crate::output::{self, Format, table};
use crate::session::Session;

/// Make, list and revoke tokens of the API.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it, this one time.
    Create {
        /// What it is called by; the cloud adds some digits.
        name: String,
        /// What its holder may.
        #[arg(long, value_enum)]
        role: Role,
        /// How long it works, such as 12h or 90d; for ever if not given.
        #[arg(long, value_parser = names::duration)]
        ttl: Option<Duration>,
        #[command(flatten)]
        scope: ScopeArgs,
        /// Print the token with all about it as json or yaml.
        #[arg(long, short, value_enum, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// List the tokens that allow nothing beyond the own one.
    List {
        /// How to print them.
        #[arg(long, short, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Revoke a token, at once.
    Revoke {
        /// Its id, as `gnomon token list` shows it.
        id: String,
    },
}

/// What a holder may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// See everything.
    Viewer,
    /// Also write what is desired.
    Publisher,
    /// Also make, label and delete nodes, and let them join.
    Operator,
    /// Also make tokens and read the audit log.
    Admin,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Runs the command.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    let client = session.client()?;
    match command {
        Command::Create { name, role, ttl, scope, output: format } => {
            let token = client.create_token(&name, role.as_str(), ttl, &scope).await?;
            print_new(&token, format)
        }
        Command::List { output: format } => {
            let tokens = client.tokens().await?;
            print_list(&tokens, format, &["ID", "ROLE", "SCOPE", "EXPIRES", "LAST-USED"], |token| {
                let used = token.rest.get("last_used_ms").and_then(serde_json::Value::as_u64);
                let role = token.role.clone().unwrap_or_default();
                let now = now_ms();
                vec![
                    token.id.clone(),
                    role,
                    scope_of(token),
                    until(token.expires_ms, now),
                    since(used, now),
                ]
            })
        }
        Command::Revoke { id } => {
            client.revoke_token(&id).await?;
            Ok(output::data(&format!("token/{id} revoked"))?)
        }
    }
}

/// Prints a token that was just made.
pub(crate) fn print_new(token: &Token, format: Option<Format>) -> anyhow::Result<()> {
    if let Some(format) = format {
        return output::value(token, format);
    }
    output::talk(&format!("{} is made; the token is said this once:", token.id));
    Ok(output::data(token.secret.as_deref().unwrap_or_default())?)
}

/// Prints tokens.
pub(crate) fn print_list(
    tokens: &[Token],
    format: Format,
    headings: &[&str],
    row: impl Fn(&Token) -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        Format::Json | Format::Yaml => output::value(&tokens, format),
        Format::Table | Format::Wide if tokens.is_empty() => {
            output::talk("no tokens yet");
            Ok(())
        }
        Format::Table | Format::Wide => {
            let rows: Vec<_> = tokens.iter().map(row).collect();
            Ok(output::data(&table::render(headings, &rows))?)
        }
    }
}

/// The nodes that a token is good for, on one line.
pub(crate) fn scope_of(token: &Token) -> String {
    let tenant = token.tenant.iter().map(|name| format!("tenant:{name}"));
    let pool = token.pool.iter().map(|name| format!("pool:{name}"));
    let labels = token.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let all: Vec<String> = tenant.chain(pool).chain(labels).collect();
    if all.is_empty() { "all".to_owned() } else { all.join(",") }
}
