//! `gnomon demo`, as `make demo` runs it, on Docker and on host processes; twice.

use std::path::Path;

use gnomon_tests::process::{binary, run};
use serde_json::Value;

fn demo(folder: &Path, orchestrator: &str) {
    let bins = binary("gnomon").parent().unwrap().to_string_lossy().into_owned();
    let dir = folder.to_string_lossy().into_owned();
    let args = ["demo", "--orchestrator", orchestrator, "--dir", &dir, "--bin-dir", &bins];
    let output = run("gnomon", &args, &[]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report = std::fs::read(folder.join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["converged"], true, "{report}");
    assert_eq!(report["orchestrator"], orchestrator, "{report}");
    assert_eq!(report["desired_writes_offline"], 11, "{report}");
    assert_eq!(report["batches_for_offline_writes"], 1, "{report}");
    assert!(report["offline_repair_ms"].as_u64().is_some_and(|ms| ms > 0), "{report}");
    leaves_nothing_running(&dir);
}

fn leaves_nothing_running(dir: &str) {
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(dir) {
            left.push(line);
        }
    }
    assert!(left.is_empty(), "the demo left these running: {left:#?}");
}

#[test]
fn the_demo_on_host_processes_converges_twice() {
    let folder = tempfile::tempdir().unwrap();
    demo(folder.path(), "process");
    demo(folder.path(), "process");
}

#[test]
fn the_demo_on_docker_converges() {
    assert!(
        std::env::var("DOCKER_HOST").is_ok() || Path::new("/var/run/docker.sock").exists(),
        "no Docker daemon: `make test` starts one; or run `sh tests/docker/daemon.sh start target/docker`"
    );
    let folder = tempfile::tempdir().unwrap();
    demo(folder.path(), "docker");
}
