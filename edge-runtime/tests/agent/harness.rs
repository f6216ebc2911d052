//! Runs the program, and a cloud that can do nothing but enrol.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gnomon_edge::identity::{Identity, NewKey};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-edge"));
    command.env_remove("RUST_LOG");
    command
}

/// Runs the program to its end.
pub(crate) fn edge(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A data directory with an identity whose broker nobody runs.
pub(crate) fn joined() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let key = NewKey::generate().unwrap();
    let identity = Identity {
        node: "site-1".parse().unwrap(),
        mqtt: vec!["127.0.0.1:1".parse().unwrap()],
        https: None,
        server_name: "gnomon-cloud".to_owned(),
        certificate_pem: authority.sign(&key.request_pem().unwrap()),
        key_pem: key.to_pem(),
        ca_pem: authority.pem,
    };
    identity.save(dir.path()).unwrap();
    dir
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, request: &str) -> String {
        let request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    /// Its ready line.
    pub(crate) ready: Value,
}

impl Agent {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// One whose apps run on a cluster.
    pub(crate) fn start_on_k3s(data: &Path, kubeconfig: &str) -> Self {
        let mut command = program();
        command.env("KUBECONFIG", kubeconfig).args(["run", "--orchestrator", "k3s", "--data"]);
        Self::spawned(command.arg(data))
    }

    pub(crate) fn start_with(data: &Path, more: &[&str]) -> Self {
        let options = ["run", "--orchestrator", "process", "--data"];
        Self::spawned(program().args(options).arg(data).args(more))
    }

    fn spawned(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, line) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            BufReader::new(stdout).read_line(&mut text).unwrap();
            sender.send(text)
        });
        let line = line.recv_timeout(DEADLINE).expect("the agent gets ready in time");
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    /// Whether a write to a closed pipe is an error to it, and not its end.
    pub(crate) fn ignores_sigpipe(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        (ignored >> (Signal::SIGPIPE as i32 - 1)) & 1 == 1
    }

    /// Tells it to stop and gives back its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A cloud that enrols with the token `good`, whatever authority that names.
pub(crate) struct FakeCloud {
    pub(crate) url: String,
    requests: mpsc::Receiver<String>,
}

impl FakeCloud {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            let authority = Authority::new();
            for stream in listener.incoming() {
                let body = answer(&authority, stream.unwrap());
                if sender.send(body).is_err() {
                    return;
                }
            }
        });
        Self { url, requests }
    }

    /// The body of the next request.
    pub(crate) fn heard(&self) -> String {
        self.requests.recv_timeout(DEADLINE).unwrap()
    }
}

fn answer(authority: &Authority, stream: TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let token = request["token"].as_str().unwrap_or_default();
    let (status, response) = if token.split('.').next() == Some("good") {
        let certificate = authority.sign(request["csr_pem"].as_str().unwrap());
        let response = json!({
            "node": "site-1", "certificate_pem": certificate, "ca_pem": authority.pem,
            "mqtt": ["127.0.0.1:1"], "server_name": "gnomon-cloud",
        });
        ("201 Created", response)
    } else {
        let error = json!({ "code": "unauthorized", "message": "no such token", "detail": {} });
        ("401 Unauthorized", json!({ "error": error }))
    };
    let response = response.to_string();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{response}",
        response.len()
    )
    .unwrap();
    text(&body)
}
