//! The binary: what it says, how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use gnomon_cloud::store::{Op, RedbStore, Store as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bench::{Api, refused};

pub(crate) fn serve(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-cloud"));
    command.arg("serve").arg("--data").arg(data);
    command.args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("RUST_LOG");
    command
}

/// Starts the binary and reads its one line.
pub(crate) fn start(data: &Path) -> (Child, Value) {
    wait_ready(&mut serve(data, &[]))
}

pub(crate) fn wait_ready(command: &mut Command) -> (Child, Value) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

pub(crate) fn api(ready: &Value, data: &Path) -> Api {
    Api::new(&format!("http://{}", ready["http"].as_str().unwrap()), data)
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn failed(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[tokio::test]
async fn it_says_when_it_is_ready_and_stops_when_told() {
    for end in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, ready) = start(dir.path());
        assert_eq!(ready["ready"], true);
        assert_eq!(ready["data"], dir.path().to_str().unwrap());
        api(&ready, dir.path()).create("site-1").await;
        signal(&child, end);
        assert!(child.wait().unwrap().success());
        let mut rest = String::new();
        child.stdout.unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "stdout has one line");
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = "/v1/nodes/site-1/shadows/node";
    let mut answered = 0;
    for round in 1..=3 {
        let (mut child, ready) = start(dir.path());
        let api = api(&ready, dir.path());
        if round == 1 {
            api.create("site-1").await;
        }
        for _ in 0..20 {
            let response = api.patch(path, &json!({ "n": answered + 1 })).await;
            assert!(response.status().is_success());
            answered += 1;
        }
        let late = api.request(Method::PATCH, path).json(&json!({ "late": round })).send();
        let (late, ()) = tokio::join!(late, async { child.kill().unwrap() });
        child.wait().unwrap();
        let (mut child, ready) = start(dir.path());
        let shadow = self::api(&ready, dir.path()).get(path).await;
        assert_eq!(shadow["desired"]["document"]["n"], answered);
        if late.is_ok_and(|response| response.status() == StatusCode::OK) {
            assert_eq!(shadow["desired"]["document"]["late"], round);
        }
        signal(&child, Signal::SIGTERM);
        assert!(child.wait().unwrap().success());
        let mut check = Command::new(env!("CARGO_BIN_EXE_gnomon-cloud"));
        let check = check.arg("check").arg("--data").arg(dir.path()).output().unwrap();
        let report: Value = serde_json::from_slice(&check.stdout).unwrap();
        assert_eq!((&report["shadows"], &report["problems"]), (&json!(1), &json!([])));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_loses_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    let script = "ulimit -f 8192; exec \"$0\" \"$@\"";
    limited.args(["-c", script, env!("CARGO_BIN_EXE_gnomon-cloud"), "serve", "--data"]);
    limited.arg(dir.path()).args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    let (mut child, ready) = wait_ready(limited.stdout(Stdio::piped()));
    let full = api(&ready, dir.path());
    full.create("site-1").await;
    let path = |n: usize| format!("/v1/nodes/site-1/shadows/device/d{n}");
    let mut written = 0;
    let refusal = loop {
        let response = full.patch(&path(written), &json!({ "fill": "x".repeat(100_000) })).await;
        if !response.status().is_success() {
            break response;
        }
        written += 1;
        assert!(written < 1000, "the limit does not work");
    };
    refused(refusal, 507, "store_full").await;
    let shadows = full.get("/v1/nodes/site-1").await["shadows"].take();
    assert_eq!(shadows, written, "what was refused is not seen either");
    let ready = full.get("/readyz").await;
    assert_eq!((&ready["ready"], &ready["checks"]["store"]), (&json!(true), &json!("store_full")));
    let metrics = full.open(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("commands_total{code=\"store_full\"} 1"), "{metrics}");
    let delete = full.request(Method::DELETE, &path(0)).send().await.unwrap();
    let deleted = usize::from(delete.status().is_success());
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());

    let (mut child, ready) = start(dir.path());
    let healed = api(&ready, dir.path());
    let shadows = healed.get("/v1/nodes/site-1").await["shadows"].take();
    assert_eq!(shadows, written - deleted);
    assert!(healed.patch(&path(written), &json!({ "n": 1 })).await.status().is_success());
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for flag in ["--http", "--mqtt"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-cloud"));
        command.arg("serve").arg("--data").arg(dir.path()).args([flag, &addr]);
        let other = if flag == "--http" { "--mqtt" } else { "--http" };
        let output = command.args([other, "127.0.0.1:0"]).output().unwrap();
        failed(&output, &[&addr, "listen"]);
    }
}

#[test]
fn two_processes_cannot_share_a_data_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _) = start(dir.path());
    let output = serve(dir.path(), &[]).output().unwrap();
    failed(&output, &["in use", dir.path().to_str().unwrap()]);
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_damaged_store_is_an_error_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _) = start(dir.path());
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
    let store = dir.path().join("store.redb");
    std::fs::write(&store, vec![7; 100_000]).unwrap();
    let output = serve(dir.path(), &[]).output().unwrap();
    failed(&output, &["damaged", "store.redb", "gnomon-cloud restore"]);
    assert_eq!(std::fs::read(&store).unwrap(), vec![7; 100_000]);
}

#[test]
fn a_store_of_a_newer_cloud_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _) = start(dir.path());
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
    let path = dir.path().join("store.redb");
    let newer = Op::Put { key: b"schema".to_vec(), value: b"99".to_vec() };
    RedbStore::open(&path).unwrap().commit(&[newer]).unwrap();
    let words = ["schema version 99", "start the newer gnomon-cloud", "gnomon-cloud restore"];
    failed(&serve(dir.path(), &[]).output().unwrap(), &words);
    let schema = RedbStore::open(&path).unwrap().get(b"schema").unwrap();
    assert_eq!(schema, Some(b"99".to_vec()), "it stays as it is");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = serve(&file.join("data"), &[]).output().unwrap();
    failed(&output, &["data folder", file.to_str().unwrap()]);
}

#[test]
fn a_wrong_configuration_is_an_error_that_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cloud.toml");
    std::fs::write(&file, "[limits]\nnodez = 1\n").unwrap();
    let output = serve(dir.path(), &["--config", file.to_str().unwrap()]).output().unwrap();
    failed(&output, &["cloud.toml", "nodez"]);
}

fn health(data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-cloud"));
    command.arg("health").arg("--data").arg(data).output().unwrap()
}

#[test]
fn a_command_of_the_same_machine_asks_how_the_cloud_is() {
    let dir = tempfile::tempdir().unwrap();
    failed(&health(dir.path()), &["no cloud runs on", dir.path().to_str().unwrap()]);
    let (mut child, _) = start(dir.path());
    let output = health(dir.path());
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ready"], &report["checks"]["core"]), (&json!(true), &json!("ok")));
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
    failed(&health(dir.path()), &["is not there"]);
}

#[test]
fn systemd_is_told_of_readiness_of_life_and_of_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let notify = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    notify.set_read_timeout(Some(crate::bench::DEADLINE)).unwrap();
    // As systemd does it: the pid of the program itself is in the environment.
    let script = "export WATCHDOG_PID=$$; exec \"$0\" serve \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_gnomon-cloud"), "--data"]);
    command.arg(dir.path().join("data")).args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "300000");
    let (mut child, _) = wait_ready(command.stdout(Stdio::piped()));
    let next = || {
        let mut buffer = [0; 1024];
        let len = notify.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).trim().to_owned()
    };
    assert_eq!(next(), "READY=1");
    assert_eq!((next(), next()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    signal(&child, Signal::SIGTERM);
    while next() != "STOPPING=1" {}
    assert!(child.wait().unwrap().success());
}
