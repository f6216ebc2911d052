//! `gnomon-edge exec`: a command where a service runs.

use std::process::ExitCode;

use anyhow::{Result, bail};
use gnomon_edge::local::{Request, Response};
use gnomon_schemas::id::{AppName, ServiceName};

use super::DataArg;

/// Runs a command where a copy of a service runs.
///
/// In its container, or beside its process with the same environment, folder and user. Ends with
/// the command's exit code.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    data: DataArg,
    /// The copy, from 0.
    #[arg(long, default_value_t = 0)]
    replica: u16,
    /// How many seconds it may take.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    /// Print code, stdout and stderr as JSON.
    #[arg(long)]
    json: bool,
    /// The app.
    app: AppName,
    /// The service.
    service: ServiceName,
    /// The program and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(crate) async fn execute(args: &ExecArgs) -> Result<ExitCode> {
    let request = Request::Exec {
        app: args.app.clone(),
        service: args.service.clone(),
        replica: args.replica,
        command: args.command.clone(),
        timeout_s: args.timeout,
    };
    let Response::Exec(output) = super::ask(&args.data, &request).await? else {
        bail!(super::OTHER_VERSION);
    };
    if args.json {
        super::print(&format!("{}\n", serde_json::to_string_pretty(&output)?))?;
    } else {
        super::print(&output.stdout)?;
        super::talk(&output.stderr);
    }
    Ok(ExitCode::from(u8::try_from(output.code).unwrap_or(u8::MAX)))
}
