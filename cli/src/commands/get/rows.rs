//! The columns of the lists; the first `narrow` ones are always shown.

use serde_json::Value;

use crate::api::{App, Node, Shadow};
use crate::output::age::{now_ms, since};
use crate::output::brief;

/// The columns of one list.
#[derive(Clone, Copy)]
pub(super) struct Headings {
    pub(super) all: &'static [&'static str],
    pub(super) narrow: usize,
}

pub(super) const NODES: Headings = Headings {
    all: &[
        "NAME",
        "STATUS",
        "SINCE",
        "IN-SYNC",
        "SHADOWS",
        "LAST-SEEN",
        "BEHIND",
        "DOWN",
        "UP",
        "BATCHES",
        "LABELS",
    ],
    narrow: 6,
};
pub(super) const APPS: Headings = Headings {
    all: &["NODE", "APP", "STATE", "SERVICES", "DESIRED", "REPORTED", "REASON", "REVISION"],
    narrow: 7,
};
pub(super) const SHADOWS: Headings =
    Headings { all: &["NODE", "KEY", "VERSION", "DESIRED", "REPORTED", "AGO", "DELTA"], narrow: 6 };

pub(super) fn node(node: &Node) -> Vec<String> {
    let now = now_ms();
    let labels: Vec<String> = node.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let behind = |acked| node.down.head.saturating_sub(acked).to_string();
    vec![
        node.name.clone(),
        if node.online { "online" } else { "offline" }.to_owned(),
        since(node.since_ms, now),
        if node.in_sync { "yes" } else { "no" }.to_owned(),
        node.shadows.to_string(),
        since(node.last_seen_ms, now),
        node.down.acked.map_or_else(dash, behind),
        bytes(node.down.bytes),
        bytes(node.up.bytes),
        format!("{}/{}", node.down.batches, node.up.batches),
        labels.join(","),
    ]
}

pub(super) fn app(app: &App) -> Vec<String> {
    let status = app.status.as_ref();
    let field = |name: &str| status.and_then(|status| status.get(name));
    let text = |name: &str| field(name).and_then(Value::as_str);
    let desired = match &app.revision {
        Some(_) => format!("v{}", app.desired_version),
        None => "deleted".to_owned(),
    };
    let reported = field("desired_version").map_or_else(dash, ToString::to_string);
    vec![
        app.node.clone(),
        app.name.clone(),
        text("state").unwrap_or("unknown").to_owned(),
        services(field("services")),
        desired,
        if reported == "-" { reported } else { format!("v{reported}") },
        text("reason").unwrap_or_default().to_owned(),
        app.revision.as_deref().unwrap_or("-").chars().take(12).collect(),
    ]
}

/// How many of the desired copies run, over all services.
fn services(services: Option<&Value>) -> String {
    let Some(services) = services.and_then(Value::as_object) else { return dash() };
    let sum = |name: &str| -> u64 {
        services.values().filter_map(|service| service.get(name)?.as_u64()).sum()
    };
    format!("{}/{}", sum("running"), sum("replicas"))
}

pub(super) fn shadow(shadow: &Shadow) -> Vec<String> {
    let reported = shadow.reported.as_ref();
    vec![
        shadow.node.clone(),
        shadow.key.clone(),
        shadow.version.to_string(),
        shadow.desired.as_ref().map_or_else(dash, |half| format!("v{}", half.version)),
        reported.map_or_else(dash, |half| format!("v{}", half.version)),
        since(reported.and_then(|half| half.updated_ms), now_ms()),
        shadow.delta.as_ref().map_or_else(dash, |delta| brief(delta, 60)),
    ]
}

/// A size as people say it.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

fn dash() -> String {
    "-".to_owned()
}
