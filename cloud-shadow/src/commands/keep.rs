//! `gnomon-cloud backup`, `restore` and `check`: a line of JSON on stdout says what was done.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use gnomon_cloud::backup::RestoreReport;
use gnomon_cloud::store::Salvaged;
use gnomon_cloud::{backup, check, clock, salvage};
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
    /// What becomes of certificates that nodes of the backup got after it was made, by renewal or by
    /// joining again: admit lets these nodes in, refuse makes them join again by hand. Admitted are
    /// also those that were revoked since the backup was made: revoke them again.
    #[arg(long, value_enum, default_value = "admit", value_name = "WHAT")]
    later_certificates: Later,
}

/// What becomes of certificates that were given after a backup was made.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Later {
    Admit,
    Refuse,
}

/// The flags of `check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The folder that holds the cloud's data.
    #[arg(long, env = "GNOMON_CLOUD_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Make a new data folder of what is whole up to the damage, when the journal is damaged and there
    /// is no backup; the old one stays as it is.
    #[arg(long, value_name = "DIR")]
    salvage: Option<PathBuf>,
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
    let admit_later = args.later_certificates == Later::Admit;
    let wanted = backup::Wanted { replace: args.replace, admit_later };
    let report = backup::restore(&args.file, &args.data, wanted, clock::unix_ms())?;
    talk(&explain(&report, admit_later))?;
    say(&json!({
        "data": args.data,
        "rows": report.rows,
        "files": report.files,
        "moved_aside": report.aside,
        "taken_ms": report.taken_ms,
        "later_certificates": report.window,
    }))
}

/// Who is let in from now on.
fn explain(report: &RestoreReport, admit_later: bool) -> String {
    let date = |s: u64| {
        let date = i64::try_from(s).ok().and_then(|s| chrono::DateTime::from_timestamp(s, 0));
        date.map_or_else(|| format!("{s} s"), |date| date.to_string())
    };
    match (report.window, report.taken_ms) {
        (Some(window), _) => format!(
            "Nodes of the backup are let in with certificates that they got between {} and {}, \
             also with such as were revoked in that time. The cloud learns each when it is shown, \
             and says so at WARN.\n\
             gnomon audit --action node.learn   lists the nodes that it has learnt one of\n\
             gnomon node revoke NODE            shuts a node out again\n\
             Nodes that were made in that time wait in `gnomon node pending`, where \
             enrolment.approve_unknown is set; else make them again, and let them join.",
            date(window.from_s),
            date(window.until_s)
        ),
        (None, Some(taken_ms)) if !admit_later => format!(
            "Nodes that renewed their certificate or joined after {} are not let in; they join \
             again with `gnomon node token NODE` and `gnomon-edge join --force`.",
            date(taken_ms / 1000)
        ),
        (None, _) => "The backup does not say when it was made (an older version made it), so \
                      nodes that renewed their certificate or joined since then are not let in; \
                      they join again with `gnomon node token NODE` and `gnomon-edge join --force`."
            .to_owned(),
    }
}

fn talk(text: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "{text}").context("cannot write to stderr")
}

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<()> {
    if let Some(into) = &args.salvage {
        return salvage(&args.data, into);
    }
    let report = check::check(&args.data);
    if report.as_ref().is_err_and(check::CheckError::is_damage) {
        forecast(&args.data)?;
    }
    let report = report?;
    say(&json!({
        "schema": report.schema,
        "nodes": report.nodes,
        "shadows": report.shadows,
        "versions": report.versions,
        "sessions": report.sessions,
        "things": report.things,
        "thing_shadows": report.thing_shadows,
        "thing_versions": report.thing_versions,
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

/// What of a damaged store could be saved.
fn forecast(data: &Path) -> anyhow::Result<()> {
    let Some(Salvaged { commits, lost_commits, lost_bytes, .. }) = salvage::outlook(data) else {
        return talk("Nothing of the store could be saved by --salvage.");
    };
    talk(&format!(
        "--salvage NEW would save store.redb and {commits} commits of its journal, and lose \
         {lost_commits} ({lost_bytes} bytes)."
    ))
}

fn salvage(data: &Path, into: &Path) -> anyhow::Result<()> {
    let report = salvage::salvage(data, into, clock::unix_ms())?;
    let Salvaged { commits, lost_commits, lost_bytes, damage } = report.store;
    let damage = damage.map(|(file, what)| json!({ "file": file, "what": what }));
    talk(&format!(
        "{} has the keys and what of the store is whole. Look at it with `gnomon-cloud check --data \
         {}`, and start the cloud on it. What was desired in the lost commits is to be said again; \
         sites report again by themselves.",
        into.display(),
        into.display()
    ))?;
    say(&json!({
        "salvaged": into,
        "commits": commits,
        "lost_commits": lost_commits,
        "lost_bytes": lost_bytes,
        "damage": damage,
        "later_certificates": report.window,
    }))
}

fn say(report: &Value) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{report}").context("cannot write to stdout")
}
