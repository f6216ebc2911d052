//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{apply, audit, completions, delete, demo, get, node, shadow, token};
use crate::exit;

/// Run what you want on sites with bad links: Compose files in, running sites out.
#[derive(Debug, Parser)]
#[command(
    name = "gnomon",
    version,
    after_help = exit::HELP,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cloud, and how to be let in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The cloud")]
pub(crate) struct CloudArgs {
    /// The cloud's HTTP address.
    #[arg(
        long,
        global = true,
        env = "GNOMON_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7780"
    )]
    pub(crate) server: String,
    /// The token itself; the file is safer, other users can see command lines.
    #[arg(long, global = true, env = "GNOMON_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// The file that holds the token, such as the cloud's DIR/admin-token.
    #[arg(long, global = true, env = "GNOMON_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The authority to trust over https, such as the cloud's DIR/ca.pem; the system's if not given.
    #[arg(long, global = true, env = "GNOMON_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Apply(apply::Args),
    Get(get::Args),
    #[command(subcommand)]
    Shadow(shadow::Command),
    #[command(subcommand)]
    Node(node::Command),
    #[command(subcommand)]
    Token(token::Command),
    Audit(audit::Args),
    #[command(subcommand)]
    Delete(delete::Command),
    Completions(completions::Args),
    Demo(demo::Args),
}
