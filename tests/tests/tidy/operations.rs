//! What docs/operations.md says of metrics and log lines, and what deploy/ asks of them.

use std::collections::BTreeSet;

use crate::{files, is_test, report, root, without_tests};

const PAGE: &str = "docs/operations.md";

/// Where metrics are named, and what each name begins with.
const REGISTERED: [(&str, &str); 2] =
    [("cloud-shadow/src/metrics", "gnomon_cloud"), ("broker/src/metrics", "gnomon_broker")];

fn page() -> String {
    std::fs::read_to_string(root().join(PAGE)).unwrap()
}

/// A name without what its kind adds to it.
fn base(name: &str) -> &str {
    let ends = ["_total", "_bucket", "_sum", "_count", "_info"];
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The names in the first column of the page's table.
fn documented() -> BTreeSet<String> {
    let page = page();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `gnomon_"));
    let names = rows.filter_map(|row| row.split('`').next());
    names.map(|name| base(&format!("gnomon_{name}")).to_owned()).collect()
}

/// The names of everything that is registered, by the calls in the source.
fn registered() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (folder, prefix) in REGISTERED {
        let mut sources = files(folder.rsplit_once('/').unwrap().0, &[".rs"]);
        sources.retain(|(path, _)| path.starts_with(folder) && !is_test(path));
        for (_, text) in sources {
            names.extend(calls(without_tests(&text)).map(|name| format!("{prefix}_{name}")));
        }
    }
    names
}

/// The first argument of each `register`, with its unit, and the names of collectors.
fn calls(text: &str) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    for (call, has_unit) in [("register(", false), ("register_with_unit(", true)] {
        for rest in text.split(&format!(".{call}")).skip(1) {
            let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
            let (name, rest) = rest.split_once('"').unwrap();
            let statement = rest.split(';').next().unwrap();
            let is_bytes = statement.contains("Unit::Bytes") || statement.contains(" bytes");
            let unit = match (has_unit, is_bytes) {
                (false, _) => "",
                (true, true) => "_bytes",
                (true, false) => "_seconds",
            };
            found.push(format!("{name}{unit}"));
        }
    }
    // The collector of the broker's queues: (name, help, value).
    let rows = text.split("(\"queued_").skip(1).filter_map(|rest| rest.split('"').next());
    found.extend(rows.map(|name| format!("queued_{name}")));
    found.into_iter()
}

#[test]
fn the_page_explains_every_metric_and_no_other() {
    let (documented, registered) = (documented(), registered());
    assert!(registered.len() > 40, "only {} metrics were found", registered.len());
    let silent: Vec<_> = registered.difference(&documented).cloned().collect();
    report("docs/operations.md explains no such metric:", &silent);
    let stale: Vec<_> = documented.difference(&registered).cloned().collect();
    report("docs/operations.md explains what is not registered:", &stale);
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_there_are() {
    let registered = registered();
    let (mut findings, mut seen) = (Vec::new(), 0);
    let asking = files("deploy", &[".json", ".yaml"]);
    for (path, text) in asking.iter().filter(|(path, _)| !path.ends_with("compose.yaml")) {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c| !is_word(c));
        let names =
            words.filter(|w| w.starts_with("gnomon_cloud_") || w.starts_with("gnomon_broker_"));
        for name in names {
            seen += 1;
            if !registered.contains(base(name)) {
                findings.push(format!("{path} asks for {name}"));
            }
        }
    }
    assert!(seen > 30, "only {seen} names were found");
    report("there is no such metric:", &findings);
}

#[test]
fn the_dashboard_shows_most_of_what_the_cloud_counts() {
    let text = std::fs::read_to_string(root().join("deploy/grafana/gnomon.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut places = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} asks for nothing");
        assert!(targets.iter().all(|target| target["expr"].as_str().is_some()), "{title}");
        let grid = &panel["gridPos"];
        assert!(places.insert((grid["x"].as_u64(), grid["y"].as_u64())), "{title} covers another");
    }
    let cloud: Vec<_> =
        registered().into_iter().filter(|name| name.starts_with("gnomon_cloud_")).collect();
    let hidden: Vec<_> = cloud.iter().filter(|name| !text.contains(*name)).cloned().collect();
    assert!(hidden.len() * 4 < cloud.len(), "the dashboard does not show {hidden:#?}");
}

/// The messages of all log lines of a level in a source.
fn messages(text: &str, level: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split(&format!("tracing::{level}!(")).skip(1) {
        let statement = rest.split(");").next().unwrap();
        let literals = statement.split('"').skip(1).step_by(2);
        found.extend(literals.filter(|it| it.contains(' ')).last().map(str::to_owned));
    }
    found
}

#[test]
fn the_page_says_what_to_do_about_every_error_and_warning() {
    let page = page();
    let (mut findings, mut seen) = (Vec::new(), 0);
    for folder in ["cloud-shadow/src", "broker/src"] {
        let mut sources = files(folder, &[".rs"]);
        sources.retain(|(path, _)| !is_test(path));
        for (path, text) in sources {
            let text = without_tests(&text);
            for level in ["error", "warn"] {
                for message in messages(text, level) {
                    seen += 1;
                    let message = message.replace("{what} ", "");
                    let row = format!("| {} | `{message}` |", level.to_uppercase());
                    if !page.contains(&row) {
                        findings.push(format!("{path}: {row}"));
                    }
                }
            }
        }
    }
    assert!(seen > 35, "only {seen} log lines were found");
    report("docs/operations.md has no such row:", &findings);
}
