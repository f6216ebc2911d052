//! `gnomon`, the operator's command line: talks to the cloud's HTTP API and nothing else.

mod api;
mod args;
mod client;
mod commands;
mod demo;
mod exit;
mod names;
mod output;
mod session;
mod sse;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use session::Session;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::talk(&format!("error: {}", exit::describe(&error)));
            if let Some(hint) = exit::hint(&error) {
                output::talk(&format!("hint: {hint}"));
            }
            ExitCode::from(exit::code(&error))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(dispatch(cli));
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let session = Session::new(cli.cloud);
    match cli.command {
        Command::Apply(args) => commands::apply::run(&session, args).await,
        Command::Get(args) => commands::get::run(&session, args).await,
        Command::Shadow(command) => commands::shadow::run(&session, command).await,
        Command::Node(command) => commands::node::run(&session, command).await,
        Command::Token(command) => commands::token::run(&session, command).await,
        Command::Audit(args) => commands::audit::run(&session, args).await,
        Command::Delete(command) => commands::delete::run(&session, command).await,
        Command::Completions(args) => commands::completions::run(&args),
        Command::Demo(args) => Box::pin(commands::demo::run(args)).await,
    }
}

/// `gnomon get nodes | head -1` closes the pipe; that is how the reader says "enough".
fn nobody_reads(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
