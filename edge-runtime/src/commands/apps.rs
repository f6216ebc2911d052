//! `gnomon-edge apps`: the apps of this node, one per line.

use anyhow::{Result, bail};
use gnomon_edge::local::{AppReport, Request, Response};
use gnomon_schemas::app::{AppStatus, Revision};

use super::DataArg;
use super::table::{aligned, word};

/// Shows the apps on this machine: which revision runs, how, and why not another one.
#[derive(Debug, clap::Args)]
pub(crate) struct AppsArgs {
    #[command(flatten)]
    data: DataArg,
    /// Print everything that is known of them as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn execute(args: &AppsArgs) -> Result<()> {
    let Response::Status(status) = super::ask(&args.data, &Request::Status).await? else {
        bail!(super::OTHER_VERSION);
    };
    if args.json {
        return super::print(&format!("{}\n", serde_json::to_string_pretty(&status.apps)?));
    }
    super::print(&table(&status.apps))
}

/// The apps as a table.
pub(super) fn table(apps: &[AppReport]) -> String {
    let names = ["APP", "DESIRED", "REVISION", "STATE", "SERVICES", "REASON"];
    let mut rows = vec![names.map(str::to_owned)];
    rows.extend(apps.iter().map(row));
    aligned(&rows)
}

fn row(app: &AppReport) -> [String; 6] {
    let status = app.status.as_ref();
    let version = app.desired_version.map_or("-".to_owned(), |version| version.to_string());
    let revision = status.and_then(|status| status.revision);
    let revision = revision.map_or("-".to_owned(), Revision::short);
    let reason = status.and_then(|status| status.reason.clone()).unwrap_or_default();
    let services = status.map(services).unwrap_or_default();
    [
        app.app.to_string(),
        version,
        revision,
        status.map_or("unknown".to_owned(), state),
        services,
        reason,
    ]
}

/// The state, with what is special about the revision.
fn state(status: &AppStatus) -> String {
    let marks = [
        (status.good, "good"),
        (status.held, "held"),
        (status.local, "local"),
        (status.rolled_back_from.is_some(), "rolled back"),
    ];
    let marks: Vec<_> = marks.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
    let state = word(&status.state);
    if marks.is_empty() { state } else { format!("{state} ({})", marks.join(", ")) }
}

fn services(status: &AppStatus) -> String {
    let one = |(name, service): (&_, &gnomon_schemas::app::ServiceStatus)| {
        format!("{name}={}", word(&service.state))
    };
    status.services.iter().map(one).collect::<Vec<_>>().join(",")
}
