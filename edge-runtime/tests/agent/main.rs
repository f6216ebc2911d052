//! The real program, without a cloud: joining, starting, being asked, being stopped.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;
mod local;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Instant;

use gnomon_edge::identity::Identity;
use gnomon_schemas::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use harness::{Agent, DEADLINE, FakeCloud, edge, joined, text};

#[test]
fn joining_makes_an_identity_whose_key_never_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let cloud = FakeCloud::start();
    let join = ["join", &cloud.url, "--token", "good", "--data", data.to_str().unwrap()];
    let output = edge(&join);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), r#"{"mqtt":["127.0.0.1:1"],"node":"site-1"}"#);
    let identity = Identity::load(&data).unwrap();
    assert_eq!(identity.node.as_str(), "site-1");
    let heard = cloud.heard();
    assert!(heard.contains("CERTIFICATE REQUEST") && !heard.contains("PRIVATE KEY"));
    let mode = |name: &str| fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key.pem"), mode("")), (0o600, 0o700));

    let again = edge(&join);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    let forced: Vec<&str> = join.iter().copied().chain(["--force"]).collect();
    assert!(edge(&forced).status.success());
    assert_ne!(Identity::load(&data).unwrap().key_pem, identity.key_pem);
}

#[test]
fn a_refused_token_leaves_no_identity_and_says_what_the_cloud_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let cloud = FakeCloud::start();
    let output = edge(&["join", &cloud.url, "--token", "bad", "--data", data]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no such token (unauthorized)"));
    assert!(!Identity::exists(dir.path()));
    let run = edge(&["run", "--data", data]);
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("gnomon-edge join"), "{}", text(&run.stderr));
}

#[test]
fn an_authority_that_the_token_does_not_name_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = FakeCloud::start();
    let token = format!("good.{}", "0f".repeat(32));
    let data = dir.path().to_str().unwrap();
    let output = edge(&["join", &cloud.url, "--token", &token, "--data", data]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not the cloud that made the join token"));
    assert!(!Identity::exists(dir.path()));
}

#[test]
fn a_token_goes_in_the_clear_only_to_this_machine_unless_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    // Nobody is asked: the address is one of those that no machine has.
    let output = edge(&["join", "http://192.0.2.1:1", "--token", "t", "--data", data]);
    let said = text(&output.stderr);
    assert!(said.contains("--insecure-http") && said.contains("https://"), "{said}");
    let output = edge(&["join", "https://192.0.2.1:1", "--token", "t", "--data", data]);
    assert!(text(&output.stderr).contains("--ca-sha256"), "{}", text(&output.stderr));
    let output = edge(&["join", "http://127.0.0.1:1", "--data", data]);
    assert!(text(&output.stderr).contains("--node NAME"), "{}", text(&output.stderr));
}

#[test]
fn an_agent_whose_cluster_is_not_there_yet_says_so_and_lives_on() {
    let data = joined();
    let nowhere = data.path().join("k3s.yaml");
    let agent = Agent::start_on_k3s(data.path(), nowhere.to_str().unwrap());
    assert_eq!(agent.ready["orchestrator"], "k3s");
    let path = data.path().to_str().unwrap();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = edge(&["status", "--data", path, "-o", "json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let reason = status["orchestrator"]["reason"].as_str().unwrap_or_default();
        if reason.contains("k3s.yaml") {
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::yield_now();
    }
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_agent_whose_update_cannot_be_run_goes_on_and_survives_a_closed_pipe() {
    let data = joined();
    choose_update(data.path(), b"\x7fELF, and then nothing");
    let agent = Agent::start(data.path());
    assert_eq!(agent.ready["update"], Value::Null);
    let state = fs::read(data.path().join("update/state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let reason = state["given_up"]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be executed"), "{reason}");
    assert!(agent.ignores_sigpipe());
    assert_eq!(agent.stop(), Some(0));
}

/// As if this program had been fetched, checked and put on trial.
fn choose_update(data: &Path, program: &[u8]) {
    let installed = fs::metadata(env!("CARGO_BIN_EXE_gnomon-edge")).unwrap();
    let changed_ns = i128::from(installed.mtime()) * 1_000_000_000;
    let changed_ns = u64::try_from(changed_ns + i128::from(installed.mtime_nsec())).unwrap();
    let digest = hex::of(&Sha256::digest(program));
    let state = json!({
        "chosen": { "version": "2.0", "sha256": digest }, "trial": { "before": null, "starts": 0 },
        "given_up": null, "installed": { "size": installed.len(), "changed_ns": changed_ns },
    });
    let folder = data.join("update");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("state.json"), state.to_string()).unwrap();
    let file = folder.join(format!("agent-{digest}"));
    fs::write(&file, program).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_agent_without_a_link_starts_answers_and_stops_when_told() {
    let data = joined();
    let agent = Agent::start(data.path());
    assert_eq!(agent.ready["ready"], true);
    assert_eq!(agent.ready["node"], "site-1");
    assert_eq!(agent.ready["orchestrator"], "process");
    let path = data.path().to_str().unwrap();
    let status = edge(&["status", "--data", path, "-o", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["link"]["up"], false);
    assert_eq!(status["store"]["state"], "ok");
    let table = edge(&["status", "--data", path]);
    assert!(text(&table.stdout).contains("LINK          down"), "{}", text(&table.stdout));
    let logs = edge(&["logs", "--data", path, "nothing"]);
    assert!(text(&logs.stderr).contains("no app `nothing`"), "{}", text(&logs.stderr));

    let second = edge(&["run", "--data", path, "--orchestrator", "process"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another agent"), "{}", text(&second.stderr));

    assert_eq!(agent.stop(), Some(0));
    let gone = edge(&["status", "--data", path]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("no agent answers"), "{}", text(&gone.stderr));
}

#[test]
fn an_agent_that_was_killed_starts_again_over_what_it_left() {
    let data = joined();
    for _ in 0..3 {
        Agent::start(data.path()).kill();
    }
    assert_eq!(Agent::start(data.path()).stop(), Some(0));
}
