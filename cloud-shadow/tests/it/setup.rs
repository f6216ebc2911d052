//! `gnomon-cloud init`, and the cloud that runs as it has set it up.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::access::token;
use crate::bench::{Api, refused};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-cloud"));
    command.env_remove("RUST_LOG");
    command
}

fn init(dir: &Path) -> Output {
    let mut command = program();
    command.arg("init").arg(dir).args(["--name", "cloud.example"]);
    let any = "127.0.0.1:0";
    command.args(["--http", any, "--https", any, "--mqtt", any]).output().unwrap()
}

fn start(made: &Value) -> (Child, Value) {
    let mut command = program();
    command.arg("--config").arg(made["config"].as_str().unwrap());
    crate::process::wait_ready(command.stdout(Stdio::piped()))
}

fn stop(mut child: Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

fn api(made: &Value, ready: &Value) -> Api {
    let ca = std::fs::read(made["ca"].as_str().unwrap()).unwrap();
    let base = format!("https://{}", ready["https"].as_str().unwrap());
    Api::secure(&base, &ca, made["token"].as_str().unwrap(), None)
}

#[tokio::test]
async fn what_init_makes_runs_over_https_with_the_token_that_it_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("cloud");
    let output = init(&dir);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (child, ready) = start(&made);
    let owner = api(&made, &ready);
    owner.create("site-1").await;
    let (viewer, _) = token(&owner, &json!({ "name": "look", "role": "viewer" })).await;
    let node = viewer.get("/v1/nodes/site-1").await;
    let denied = viewer.request(Method::DELETE, "/v1/nodes/site-1").send().await.unwrap();
    refused(denied, 403, "forbidden").await;
    stop(child);

    let again = init(&dir);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stdout.is_empty());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("nothing was changed") && said.contains("--config"), "{said}");

    let (child, ready) = start(&made);
    let owner = api(&made, &ready);
    assert_eq!(owner.get("/v1/nodes/site-1").await["name"], node["name"]);
    let viewer = owner.with_token(&viewer.token);
    assert_eq!(viewer.get("/v1/nodes").await["nodes"].as_array().unwrap().len(), 1);
    let log = owner.get("/v1/audit").await.to_string();
    assert!(log.contains("node.put") && log.contains("token.create"), "{log}");
    assert!(!dir.join("admin-token").exists(), "the token of init is the only one");
    stop(child);
}

#[tokio::test]
async fn a_stranger_with_another_authority_is_not_taken_for_the_cloud() {
    let dir = tempfile::tempdir().unwrap();
    let output = init(&dir.path().join("one"));
    let one: Value = serde_json::from_slice(&output.stdout).unwrap();
    let output = init(&dir.path().join("two"));
    let two: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (child, ready) = start(&two);
    let wrong = api(&one, &ready);
    let error = wrong.request(Method::GET, "/v1/nodes").send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let right = api(&two, &ready);
    let alive = right.open(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    stop(child);
}
