//! `gnomon-cloud backup`, `restore` and `check`: a line of JSON on stdout says what was done.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use gnomon_cloud::{backup, check, clock};
use serde_json::{Value, json};

/// The flags of `backup`.
#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The file to make. It holds keys: keep it where nobody else reads it.
    file: PathBuf,
    /// The folder that holds the cloud's data.
    #[arg(long, env = "GNOMON_CLOUD_DATA", value_name = "DIR")]
    data: PathBuf,
}

/// The flags of `restore`.
#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// A file that `backup` made.
    file: PathBuf,
    /// The folder that holds the cloud's data; made if it is missing.
    #[arg(long, env = "GNOMON_CLOUD_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Move the store that is there aside.
    #[arg(long)]
    replace: bool,
}

/// The flags of `check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The folder that holds the cloud's data.
    #[arg(long, env = "GNOMON_CLOUD_DATA", value_name = "DIR")]
    data: PathBuf,
}

pub(crate) async fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let report = backup::save(&args.data, &args.file).await?;
    say(&json!({
        "file": args.file,
        "rows": report.rows,
        "files": report.files,
        "bytes": report.bytes,
        "online": report.online,
    }))
}

pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let report = backup::restore(&args.file, &args.data, args.replace, clock::unix_ms())?;
    say(&json!({
        "data": args.data,
        "rows": report.rows,
        "files": report.files,
        "moved_aside": report.aside,
    }))
}

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let report = check::check(&args.data)?;
    say(&json!({
        "schema": report.schema,
        "nodes": report.nodes,
        "shadows": report.shadows,
        "versions": report.versions,
        "sessions": report.sessions,
        "things": report.things,
        "thing_shadows": report.thing_shadows,
        "thing_certificates": report.thing_certificates,
        "problems": report.problems,
    }))?;
    let found = report.problems.len();
    anyhow::ensure!(
        found == 0,
        "the check has found {found} problems; the cloud runs with them, and `gnomon-cloud \
         restore FILE --data DIR --replace` puts back a backup without them"
    );
    Ok(())
}

fn say(report: &Value) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{report}").context("cannot write to stdout")
}
