//! `gnomon completions`: the script with which a shell completes the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::output;

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: gnomon completions bash > /etc/bash_completion.d/gnomon")]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gnomon", &mut script);
    Ok(output::data(&String::from_utf8_lossy(&script))?)
}
