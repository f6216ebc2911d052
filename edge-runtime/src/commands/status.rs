//! `gnomon-edge status`: how the running agent is, without a link too.

use anyhow::{Result, bail};
use clap::ValueEnum;
use gnomon_edge::link::Quality;
use gnomon_edge::local::{BudgetReport, LinkReport, Request, Response, Status, StreamReport};

use super::DataArg;

/// Shows how the agent on this machine is.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    data: DataArg,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    /// The same as `-o json`.
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
}

pub(crate) async fn execute(args: &StatusArgs) -> Result<()> {
    let Response::Status(status) = super::ask(&args.data, &Request::Status).await? else {
        bail!(super::OTHER_VERSION);
    };
    match if args.json { Form::Json } else { args.output } {
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
         {}\
         ORCHESTRATOR  {} {} {} {}\n\
         STORE         {}{}\n\
         DESIRED       {}\n\
         REPORTED      {}\n\
         WRITTEN       {}\n\
         CARRIED       {}\n\n",
        status.node,
        status.agent,
        link.for_s,
        link.bytes_in,
        link.bytes_out,
        quality(link),
        orchestrator("kind"),
        orchestrator("version"),
        orchestrator("state"),
        orchestrator("reason"),
        status.store.state,
        store.unwrap_or_default(),
        stream(status.down.as_ref()),
        stream(status.up.as_ref()),
        written(&status.budget),
        carried(&status.budget),
    );
    text.push_str(&super::apps::table(&status.apps));
    text
}

fn quality(link: &LinkReport) -> String {
    let Quality { rtt_ms, connections, resumed, keep_alive_s, mqtt } = link.quality;
    let Some(rtt) = rtt_ms else { return String::new() };
    let version = if mqtt == 3 { "3.1.1" } else { "5" };
    format!(
        "              MQTT {version}, answers in {rtt} ms, keep-alive {keep_alive_s} s, came up \
         {connections} times ({resumed} resumed)\n"
    )
}

fn written(budget: &BudgetReport) -> String {
    let wait = if budget.reports_wait { "; reports wait" } else { "" };
    let (hour, limit) = (budget.written_last_hour, budget.write_limit_per_hour);
    format!("{hour} bytes in the last hour, of {limit}{wait}")
}

fn carried(budget: &BudgetReport) -> String {
    let of = |limit: Option<u64>| limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    format!(
        "{} bytes today{}, {} this month{}",
        budget.link_today,
        of(budget.link_limit_per_day),
        budget.link_this_month,
        of(budget.link_limit_per_month),
    )
}

fn stream(stream: Option<&StreamReport>) -> String {
    let Some(stream) = stream else { return "not readable".to_owned() };
    let state = if stream.in_sync { "in sync" } else { "not in sync" };
    let acked = stream.acked.map(|seq| format!(" (the cloud holds {seq})")).unwrap_or_default();
    format!("seq {}{acked}, {state}", stream.seq)
}
