//! What an agent costs a Kubernetes: how soon a new revision reaches the API server, how often that is
//! asked while nothing happens, and the agent's memory. The real programs, a real cluster with one
//! node. Writes target/bench/k3s.json and, unless short, docs/performance.md.
//! Run: make bench BENCH=k3s; with `GNOMON_BENCH=short` in a few minutes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::indexing_slicing, reason = "JSON of our own programs")]

#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "the other benchmarks need the rest")]
mod report;

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use chrono::DateTime;
use gnomon_tests::eventually::let_pass;
use gnomon_tests::kubernetes::Asked;
use gnomon_tests::process::run;
use gnomon_tests::{Cloud, Kubernetes, Site, eventually};

use report::{Report, Row, Target};

/// How much is done.
struct Size {
    apps: usize,
    /// Those of them with a pod that runs; the others are jobs that ended.
    running: usize,
    updates: u32,
    calm: Duration,
}

const FULL: Size = Size { apps: 100, running: 30, updates: 20, calm: Duration::from_mins(10) };
const SHORT: Size = Size { apps: 20, running: 5, updates: 5, calm: Duration::from_mins(1) };
const PATIENCE: Duration = Duration::from_mins(15);

fn main() -> anyhow::Result<()> {
    let is_short = report::is_short();
    let amount = if is_short { SHORT } else { FULL };
    let load = machine::load();
    let folder = tempfile::tempdir()?;
    let cluster = Kubernetes::start(folder.path());
    let cloud = Cloud::start(folder.path());
    let node = "bench-k3s";
    let site = Site::join_k3s(&cloud, folder.path(), node, &cluster.kubeconfig);
    eprintln!("{} apps", amount.apps);
    for number in 0..amount.apps {
        apply(&cloud, folder.path(), node, number, number < amount.running, 0)?;
    }
    eventually(&format!("{} apps that run: {}", amount.apps, site.tail()), PATIENCE, || {
        let now = running(&site);
        if now == amount.apps { Ok(()) } else { Err(now) }
    });
    let rows = measure(&amount, &cluster, &cloud, &site, folder.path())?;
    let mut facts = machine::facts(&load);
    facts.insert("apps with a running pod".to_owned(), amount.running.into());
    facts.insert(
        "build".to_owned(),
        if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
    );
    let report = Report { bench: "k3s", peer: "peer", rows, facts, is_short };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    report.publish(&root, !is_short)
}

fn measure(
    amount: &Size,
    cluster: &Kubernetes,
    cloud: &Cloud,
    site: &Site,
    folder: &Path,
) -> anyhow::Result<Vec<Row>> {
    eprintln!("{} s of calm", amount.calm.as_secs());
    let_pass(Duration::from_secs(20));
    let before = cluster.asked().len();
    let_pass(amount.calm);
    let asked = cluster.asked().split_off(before);
    let (watches, others): (Vec<_>, Vec<_>) = asked.iter().partition(|it| it.verb == "watch");
    let minutes = amount.calm.as_secs_f64() / 60.0;
    let memory = resident(site.pid())?;
    eprintln!("{} updates", amount.updates);
    let mut waits = Vec::new();
    for value in 1..=amount.updates {
        waits.push(first_call(cluster, cloud, site, folder, value)?);
    }
    waits.sort_by(f64::total_cmp);
    let median = waits.get(waits.len() / 2).copied().context("no update was made")?;
    let worst = waits.last().copied().context("no update was made")?;
    let apps = amount.apps;
    let row = |what: String, unit, ours, target| Row { what, unit, ours, peer: None, target };
    Ok(vec![
        row(
            "applied at the cloud to first API call, median".to_owned(),
            "ms",
            median,
            Target::Under(100.0),
        ),
        row("the same, worst".to_owned(), "ms", worst, Target::None),
        row(
            format!("{apps} apps at rest: requests beyond watches"),
            "1/min",
            others.len() as f64 / minutes,
            Target::Under(1.0),
        ),
        row(
            format!("{apps} apps at rest: watches begun again"),
            "1/min",
            watches.len() as f64 / minutes,
            Target::None,
        ),
        row(format!("{apps} apps: memory of the agent"), "MB", memory, Target::Under(30.0)),
    ])
}

/// Applies a new revision of one app; milliseconds until the agent's first request for it.
fn first_call(
    cluster: &Kubernetes,
    cloud: &Cloud,
    site: &Site,
    folder: &Path,
    value: u32,
) -> anyhow::Result<f64> {
    let before = cluster.asked().len();
    // The moment at which the command line has its answer: the cloud has it on disk.
    apply(cloud, folder, &site.name, 0, true, value)?;
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    let is_call = |it: &&Asked| it.verb != "watch";
    let call = eventually("a call", PATIENCE, || {
        cluster.asked().iter().skip(before).find(is_call).cloned().ok_or("none")
    });
    eventually("the update", PATIENCE, || {
        let calls = cluster.asked().len();
        let_pass(Duration::from_secs(4));
        if running(site) > 0 && calls == cluster.asked().len() { Ok(()) } else { Err(calls) }
    });
    let called = DateTime::parse_from_rfc3339(&call.at).ok().context("no time")?.timestamp_micros();
    // It may come before the command line has ended.
    Ok((called as f64 / 1000.0 - at * 1000.0).max(0.0))
}

fn apply(
    cloud: &Cloud,
    folder: &Path,
    node: &str,
    number: usize,
    runs: bool,
    value: u32,
) -> anyhow::Result<()> {
    let name = format!("app-{number:03}");
    let command = if runs { "trap 'exit 0' TERM; sleep 100000 & wait" } else { "exit 0" };
    let restart = if runs { "always" } else { "no" };
    let text = serde_json::json!({ "name": name, "services": { "main": {
        "image": "gnomon-demo:1", "restart": restart, "command": ["sh", "-c", command],
        "environment": { "VALUE": value.to_string() }, "stop_grace_period": "1s",
    } } });
    let file = folder.join("app.yaml");
    std::fs::write(&file, text.to_string())?;
    let token = cloud.data().join("admin-token").to_string_lossy().into_owned();
    let env = [("GNOMON_SERVER", cloud.api.url()), ("GNOMON_TOKEN_FILE", &token)];
    let file = file.to_string_lossy();
    let output = run("gnomon", &["apply", "-f", &file, "--node", node], &env);
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// How many apps are as desired.
fn running(site: &Site) -> usize {
    let status = site.status().unwrap_or_default();
    let apps = status["apps"].as_array().cloned().unwrap_or_default();
    apps.iter().filter(|app| app["status"]["state"] == "running").count()
}

fn resident(pid: i32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kib / 1000.0 * 1.024)
}
