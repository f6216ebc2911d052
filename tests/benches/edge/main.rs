//! What the site agent costs: the program as it is packed, with ten apps as containers of a real
//! Docker daemon and a real cloud beside it; then, unless short, edgecore of `KubeEdge` with ten
//! pods. Writes target/bench/edge.json and, unless short, docs/performance.md. Run: make bench
//! BENCH=edge; with `GNOMON_BENCH=short` the programs of the tests are measured, in a minute.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks")]
#![expect(clippy::indexing_slicing, reason = "JSON of our own programs")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod idle;
mod kubeedge;
#[path = "../common/machine.rs"]
mod machine;
mod repair;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "the other benchmarks need the rest")]
mod report;
mod rest;
mod stage;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

use report::{Report, Row, Target};
use stage::Stage;

/// Names the folder of the program that is measured; see `gnomon_tests::process::binary`.
const PROGRAMS: &str = "GNOMON_PROGRAMS";
/// What deploy/edge/build.sh calls the program without k3s; it lies beside the other one.
const WITHOUT_K3S: &str = "gnomon-edge-without-k3s";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// What happened before comes to rest.
    calm: Duration,
    idle: Duration,
    rounds: u32,
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let Some(folder) = std::env::var_os(PROGRAMS) else { return again(&root) };
    let program = PathBuf::from(folder).join("gnomon-edge");
    let is_short = report::is_short();
    let size = if is_short {
        Size { calm: Duration::from_secs(5), idle: Duration::from_secs(10), rounds: 1 }
    } else {
        Size { calm: Duration::from_secs(35), idle: Duration::from_mins(5), rounds: 10 }
    };
    let load = machine::load();
    let [calm, busy] = plan(&root, is_short)?;
    let mut rows = sizes(&program, is_short)?;
    rows.push(row("a plan for 100 apps, nothing to do, p99", "us", calm, 100.0));
    let busy = row("a plan for 100 apps, all between two states, p99", "us", busy, 0.0);
    rows.push(Row { target: Target::None, ..busy });
    let mut stage = Stage::set(&root)?;
    let idle = idle::measure(&stage, size.calm, size.idle)?;
    let mut repairs = repair::drift(&mut stage, size.rounds)?;
    repairs.extend(repair::boot(&mut stage)?);
    let host = stage.host();
    drop(stage);
    let peer = if is_short {
        Err(anyhow!("not measured in short form"))
    } else {
        kubeedge::measure(&root, &host)
            .inspect_err(|error| eprintln!("KubeEdge was not measured: {error:#}"))
    };
    rows.extend(idle.rows(peer.as_ref().ok().copied()));
    rows.extend(repairs);
    let mut facts = machine::facts(&load);
    for (name, fact) in [
        ("program", linkage(&program)?),
        (
            "time at rest",
            format!("{} s; what is said of a day is so many times that", size.idle.as_secs()),
        ),
        (
            "published by others",
            "resident memory of KubeEdge's edgecore 60-80 MB; apps back after an \
            offline boot: OpenYurt 49.9 s, Kubernetes 38.6 s"
                .to_owned(),
        ),
        ("KubeEdge", peer.map_or_else(|error| format!("{error:#}"), |_| kubeedge::WHAT.to_owned())),
    ] {
        facts.insert(name.to_owned(), fact.into());
    }
    let report = Report { bench: "edge", peer: "KubeEdge", rows, facts, is_short };
    report.publish(&root, !is_short)
}

/// The size of the program, and of the one without k3s, which is built at full size only.
fn sizes(program: &Path, is_short: bool) -> anyhow::Result<Vec<Row>> {
    let what = "the program, stripped, with docker, process and k3s";
    let mut rows = vec![row(what, "MB", megabytes(program)?, 25.0)];
    if !is_short {
        let smaller = program.with_file_name(WITHOUT_K3S);
        rows.push(row("the same without k3s", "MB", megabytes(&smaller)?, 15.0));
    }
    Ok(rows)
}

/// Builds what is measured and what it needs, and begins again with it.
fn again(root: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--bin", "gnomon-cloud", "--bin", "gnomon"]).current_dir(root);
    if report::is_short() {
        build.args(["--bin", "gnomon-edge"]);
    }
    if !build.status()?.success() {
        bail!("the cloud was not built");
    }
    let program = if report::is_short() {
        gnomon_tests::process::binary("gnomon-edge")
    } else {
        let build = |more: &[&str]| {
            output(Command::new("sh").arg("deploy/edge/build.sh").args(more).current_dir(root))
        };
        build(&["without-k3s"])?;
        root.join(build(&[])?.trim())
    };
    let folder = program.parent().context("a program lies in a folder")?.to_path_buf();
    let this = std::env::current_exe()?;
    let error = Command::new(this).args(std::env::args_os().skip(1)).env(PROGRAMS, folder).exec();
    Err(error).context("beginning again")
}

fn row(what: &str, unit: &'static str, ours: f64, under: f64) -> Row {
    Row { what: what.to_owned(), unit, ours, peer: None, target: Target::Under(under) }
}

fn megabytes(program: &Path) -> anyhow::Result<f64> {
    Ok(std::fs::metadata(program)?.len() as f64 / 1e6)
}

fn linkage(program: &Path) -> anyhow::Result<String> {
    let said = Command::new("ldd").arg(program).output()?;
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    let is_static = said.contains("not a dynamic") || said.contains("statically linked");
    let is_musl = program.components().any(|it| it.as_os_str().to_string_lossy().contains("musl"));
    let library = if is_musl { "musl" } else { "glibc" };
    Ok(format!("{}, {library}", if is_static { "static" } else { "dynamic" }))
}

/// The planner, built as the program is: where nothing is to do, and where every app is looked at.
fn plan(root: &Path, is_short: bool) -> anyhow::Result<[f64; 2]> {
    eprintln!("measuring: plans");
    let mut command = if is_short {
        let mut cargo = Command::new("cargo");
        let bench = ["bench", "--locked", "--profile", "dev", "--package", "gnomon-edge"];
        cargo.args(bench).args(["--bench", "plan"]);
        cargo
    } else {
        let mut build = Command::new("sh");
        build.args(["deploy/edge/build.sh", "plan"]);
        build
    };
    let said = output(command.current_dir(root))?;
    let line = said.lines().last().unwrap_or_default();
    let said: Value = serde_json::from_str(line).context("the planner's figures")?;
    let p99 = |name: &str| said[name].as_f64().context("the planner's p99").map(|ns| ns / 1e3);
    Ok([p99("p99_ns")?, p99("busy_p99_ns")?])
}

/// What a command prints on stdout; the rest is shown.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
