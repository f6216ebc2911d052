//! The `gnomon-sim` program: ready line, control socket, signals, its client.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use gnomon_sim::link::control::{ErrorCode, MAX_LINE_BYTES, Request, Response, ask};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};

use crate::bench::*;

#[tokio::test]
async fn the_program_carries_traffic_and_obeys_its_control_socket() {
    let scene = Scene::new();
    let target = echo_server().await.to_string();
    let second = format!("site-2=127.0.0.1:0,{target}");
    let (mut child, ready) =
        scene.links(&["--target", &target, "--name", "site-1", "--link", &second]).await;
    assert_eq!(ready["links"][1]["link"], "site-2");
    let address = ready["links"][0]["addr"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    round_trip(&mut stream, b"through two processes").await;

    assert_eq!(scene.control(&["down", "site-1"]).await["result"], "done");
    stream.write_all(b"held").await.unwrap();
    silence(&mut stream).await;
    assert_eq!(scene.control(&["up", "site-1"]).await["link"], "site-1");
    expect(&mut stream, b"held").await;
    assert_eq!(scene.control(&["profile", "site-2", "satellite"]).await["result"], "done");
    let counters = scene.control(&["counters", "site-1"]).await;
    assert_eq!(counters["counters"]["bytes_up"], 25);
    let list = scene.control(&["list"]).await;
    assert_eq!(list["links"][1]["profile"]["delay_ms"], 280);

    stop(&mut child).await;
    assert!(!scene.socket.exists(), "it cleans up after itself");
}

#[tokio::test]
async fn malformed_control_input_gets_a_typed_error_and_the_process_lives_on() {
    let scene = Scene::new();
    let (mut child, _) = scene.links(&["--target", "127.0.0.1:9"]).await;
    let mut socket = BufReader::new(UnixStream::connect(&scene.socket).await.unwrap());
    for line in ["\n", "down\n", "{\"do\":\"down\",\"link\":3}\n", "\u{1F4A5}\n"] {
        assert_eq!(code(&mut socket, line.as_bytes()).await, ErrorCode::Malformed, "{line}");
    }
    let unknown = b"{\"do\":\"up\",\"link\":\"site-9\"}\n";
    assert_eq!(code(&mut socket, unknown).await, ErrorCode::UnknownLink);
    let endless = vec![b'['; MAX_LINE_BYTES + 1];
    assert_eq!(code(&mut socket, &endless).await, ErrorCode::TooLong);
    assert_eq!(soon(socket.read_to_end(&mut Vec::new())).await.unwrap(), 0);

    let request = Request::Down { link: "link".to_owned() };
    let done = Response::Done { link: "link".to_owned() };
    assert_eq!(ask(&scene.socket, &request).await.unwrap(), done);
    stop(&mut child).await;
}

#[tokio::test]
async fn a_live_socket_is_an_error_and_a_dead_one_is_replaced() {
    let scene = Scene::new();
    let (mut child, _) = scene.links(&["--target", "127.0.0.1:9"]).await;
    let second = scene.run(&["link", "--target", "127.0.0.1:9"]).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use by a running process"));

    child.kill().await.unwrap();
    assert!(scene.socket.exists(), "a killed process leaves its socket behind");
    let nobody = scene.run(&["link-control", "list"]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no links answer"));
    let (mut child, _) = scene.links(&["--target", "127.0.0.1:9"]).await;
    stop(&mut child).await;

    std::fs::write(&scene.socket, "precious").unwrap();
    let third = scene.run(&["link", "--target", "127.0.0.1:9"]).await;
    assert!(text(&third.stderr).contains("is no socket"));
    assert_eq!(std::fs::read(&scene.socket).unwrap(), b"precious");
}

#[tokio::test]
async fn a_refused_order_and_a_wrong_argument_have_their_exit_codes() {
    let scene = Scene::new();
    let (mut child, _) = scene.links(&["--target", "127.0.0.1:9"]).await;
    let refused = scene.run(&["link-control", "down", "site-9"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("site-9") && refused.stdout.is_empty());
    let usage = scene.run(&["link", "--link", "nonsense"]).await;
    assert_eq!(usage.status.code(), Some(2));
    let profile = scene.run(&["link", "--target", "127.0.0.1:9", "--profile", "5g"]).await;
    assert!(text(&profile.stderr).contains("4g-bad"));
    stop(&mut child).await;
}

struct Scene {
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { socket: folder.path().join("control.sock"), _folder: folder }
    }

    /// Starts `gnomon-sim link` and waits for its ready line.
    async fn links(&self, args: &[&str]) -> (Child, Value) {
        let mut child = program(&self.socket, &[&["link"], args].concat())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        soon(BufReader::new(stdout).read_line(&mut line)).await.unwrap();
        (child, serde_json::from_str(&line).unwrap())
    }

    async fn run(&self, args: &[&str]) -> std::process::Output {
        soon(program(&self.socket, args).kill_on_drop(true).output()).await.unwrap()
    }

    async fn control(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["link-control"], args].concat()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn program(socket: &Path, args: &[&str]) -> Command {
    let (command, rest) = args.split_first().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_gnomon-sim"));
    program.arg(command).arg("--control").arg(socket).args(rest);
    program
}

async fn stop(child: &mut Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(0));
}

async fn code(socket: &mut BufReader<UnixStream>, line: &[u8]) -> ErrorCode {
    socket.write_all(line).await.unwrap();
    let mut answer = String::new();
    soon(socket.read_line(&mut answer)).await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    serde_json::from_value(answer.get("code").unwrap().clone()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
