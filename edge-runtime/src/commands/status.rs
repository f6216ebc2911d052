//! `gnomon-edge status`: how the running agent is, without a link too.

use anyhow::{Result, bail};
use clap::ValueEnum;
use gnomon_edge::local::{AppReport, Request, Response, Status, StreamReport};
use gnomon_schemas::app::AppStatus;
use serde::Serialize;

use super::DataArg;

/// Shows how the agent on this machine is.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    data: DataArg,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
}

pub(crate) async fn execute(args: &StatusArgs) -> Result<()> {
    let Response::Status(status) = super::ask(&args.data, &Request::Status).await? else {
        bail!("the agent answered something else; is it of another version?");
    };
    match args.output {
        Form::Json => super::print(&format!("{}\n", serde_json::to_string_pretty(&status)?)),
        Form::Table => super::print(&table(&status)),
    }
}

fn table(status: &Status) -> String {
    let link = &status.link;
    let state = if link.up { "up" } else { "down" };
    let reason = link.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    let orchestrator = |name: &str| {
        let text = status.orchestrator.get(name).and_then(|value| value.as_str());
        text.unwrap_or_default().to_owned()
    };
    let store = status.store.reason.as_ref().map(|reason| format!(", {reason}"));
    let mut text = format!(
        "NODE          {} (agent {})\n\
         LINK          {state} for {} s, {} bytes in, {} bytes out{reason}\n\
         ORCHESTRATOR  {} {} {} {}\n\
         STORE         {}{}\n\
         DESIRED       {}\n\
         REPORTED      {}\n\n",
        status.node,
        status.agent,
        link.for_s,
        link.bytes_in,
        link.bytes_out,
        orchestrator("kind"),
        orchestrator("version"),
        orchestrator("state"),
        orchestrator("reason"),
        status.store.state,
        store.unwrap_or_default(),
        stream(status.down.as_ref()),
        stream(status.up.as_ref()),
    );
    let mut rows = vec![["APP", "DESIRED", "STATE", "SERVICES", "REASON"].map(str::to_owned)];
    rows.extend(status.apps.iter().map(row));
    text.push_str(&aligned(&rows));
    text
}

fn stream(stream: Option<&StreamReport>) -> String {
    let Some(stream) = stream else { return "not readable".to_owned() };
    let state = if stream.in_sync { "in sync" } else { "not in sync" };
    let acked = stream.acked.map(|seq| format!(" (the cloud holds {seq})")).unwrap_or_default();
    format!("seq {}{acked}, {state}", stream.seq)
}

fn row(app: &AppReport) -> [String; 5] {
    let status = app.status.as_ref();
    let version = app.desired_version.map_or("-".to_owned(), |version| version.to_string());
    let state = status.map_or_else(|| "unknown".to_owned(), |status| word(&status.state));
    let reason = status.and_then(|status| status.reason.clone()).unwrap_or_default();
    [app.app.to_string(), version, state, status.map(services).unwrap_or_default(), reason]
}

fn services(status: &AppStatus) -> String {
    let one = |(name, service): (&_, &gnomon_schemas::app::ServiceStatus)| {
        format!("{name}={}", word(&service.state))
    };
    status.services.iter().map(one).collect::<Vec<_>>().join(",")
}

fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("unknown").to_owned()
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blank_ends() {
        let rows = [["A", "LONG", ""], ["bbbb", "c", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "A     LONG\nbbbb  c     d\n");
    }
}
