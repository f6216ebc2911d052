//! Clients of the API that send slowly, much, or many at once: each is refused or cut off, the others
//! are served, and memory stays bounded.

use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bench::{Api, Cloud, DEADLINE};
use crate::process::{api, signal, start};

const SHADOW: &str = "/v1/nodes/site-1/shadows/node";

/// What a body may take at most, and some time to answer.
const BODY: Duration = Duration::from_secs(45);

fn addr(api: &Api) -> SocketAddr {
    api.base().strip_prefix("http://").unwrap().parse().unwrap()
}

/// The head of a write that says how long its body will be.
fn head(api: &Api, method: &str, path: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
        api.token
    )
}

async fn say(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // Who is refused before it has said everything may see a broken connection.
    drop(stream.write_all(bytes).await);
    stream
}

/// What comes back until the cloud closes the connection, at most after `patience`.
async fn answer(stream: &mut TcpStream, patience: Duration) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(patience, stream.read_to_end(&mut text)).await;
    assert!(read.is_ok(), "the cloud keeps the connection; it said {text:?}");
    String::from_utf8(text).unwrap()
}

/// The status of the first answer.
async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut begin = [0; 12];
    let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut begin)).await.unwrap();
    read.ok()?;
    std::str::from_utf8(&begin).unwrap().strip_prefix("HTTP/1.1 ")?.parse().ok()
}

/// What a process has resident, in MiB.
fn resident(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_in_time_while_others_are_served() {
    let cloud = Cloud::with_node().await;
    let mut slow = Vec::new();
    for (method, path) in [("PATCH", SHADOW), ("POST", "/v1/batch"), ("POST", "/things/t/shadow")] {
        let begin = head(&cloud.api, method, path, 1000) + "{\"a\":";
        slow.push(say(addr(&cloud.api), begin.as_bytes()).await);
    }
    let began = Instant::now();
    cloud.api.patch(SHADOW, &serde_json::json!({ "a": 1 })).await;
    assert!(began.elapsed() < Duration::from_secs(10), "others wait");
    for mut stream in slow {
        let text = answer_of_slow(&mut stream).await;
        let is_typed = text.contains("request_timeout") || text.contains("InvalidRequest");
        assert!(is_typed, "{text}");
    }
    assert_eq!(cloud.api.get(SHADOW).await["version"], 1);
    cloud.stop().await;
}

/// The refusal of a body that did not come. That the connection ends is up to the head's timeout.
async fn answer_of_slow(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    let read = tokio::time::timeout(BODY, async {
        while !text.contains("\r\n\r\n") || !text.ends_with('}') {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(n) => text.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
            }
        }
    });
    read.await.expect("the body may take as long as it likes");
    assert!(text.starts_with("HTTP/1.1 4"), "{text}");
    text
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let cloud = Cloud::in_dir(tempfile::tempdir().unwrap(), |config| {
        config.http_limits.head_timeout = Duration::from_millis(300);
    })
    .await;
    for begin in ["", "G", "GET /readyz HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = say(addr(&cloud.api), begin.as_bytes()).await;
        let text = answer(&mut stream, DEADLINE).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_head_that_has_no_end_is_cut_off() {
    let cloud = Cloud::start().await;
    let one = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "a".repeat(1 << 20));
    let line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    for flood in [one, line, many] {
        let mut stream = say(addr(&cloud.api), flood.as_bytes()).await;
        let found = status(&mut stream).await;
        assert!(matches!(found, Some(414 | 431) | None), "{found:?} to {flood:.30}");
    }
    // As much as one may say is heard.
    let nodes = "&node=site-1".repeat(1000);
    let request = format!(
        "GET /v1/apps?node=site-1{nodes} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        cloud.api.token
    );
    let mut stream = say(addr(&cloud.api), request.as_bytes()).await;
    assert_eq!(status(&mut stream).await, Some(404), "there is no such node");
    cloud.stop().await;
}

#[tokio::test]
async fn two_lengths_or_a_length_and_chunks_are_no_way_to_hide_a_request() {
    let cloud = Cloud::with_node().await;
    let token = &cloud.api.token;
    let hidden = format!(
        "DELETE /v1/nodes/site-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let outer = |lengths: &str, body: &str| {
        format!("POST /v1/enroll HTTP/1.1\r\nHost: x\r\n{lengths}\r\n{body}{hidden}")
    };
    for (lengths, body) in [
        ("Content-Length: 2\r\nContent-Length: 100\r\n", "{}"),
        ("Content-Length: 2, 100\r\n", "{}"),
        ("Content-Length: -2\r\n", "{}"),
        ("Content-Length: 2\r\nTransfer-Encoding: xchunked\r\n", "{}"),
        ("Transfer-Encoding: chunked\r\n", "2;a=b\r\n{}\r\nZ\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n"),
    ] {
        let mut stream = say(addr(&cloud.api), outer(lengths, body).as_bytes()).await;
        let found = status(&mut stream).await;
        assert!(found.is_none_or(|status| status >= 400), "{lengths:?}: {found:?}");
    }
    cloud.api.get("/v1/nodes/site-1").await;
    cloud.stop().await;
}

#[tokio::test]
async fn hundreds_of_large_bodies_and_heads_at_once_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, ready) = start(dir.path());
    let api = api(&ready, dir.path());
    api.create("site-1").await;
    let before = resident(&child);
    // Bodies that are nearly there, and stay so.
    let begin = head(&api, "PATCH", SHADOW, 1_000_000) + "{\"a\":\"" + &"x".repeat(900_000);
    let begin: std::sync::Arc<str> = begin.into();
    let mut clients = JoinSet::new();
    for n in 0..400 {
        let (begin, addr) = (std::sync::Arc::clone(&begin), addr(&api));
        clients.spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let bytes = if n % 4 == 0 {
                format!("GET /{}", "a".repeat(120_000))
            } else {
                begin.to_string()
            };
            // Most have to wait for their turn; what fits into the sockets is sent.
            let sending =
                tokio::time::timeout(Duration::from_secs(5), stream.write_all(bytes.as_bytes()));
            drop(sending.await);
            stream
        });
    }
    let mut peak = 0;
    let mut held = Vec::new();
    while let Some(stream) = clients.join_next().await {
        held.push(stream.unwrap());
        peak = peak.max(resident(&child));
    }
    let written =
        api.patch("/v1/nodes/site-1/shadows/device/d", &serde_json::json!({ "a": 1 })).await;
    assert!(written.status().is_success(), "a small write has to wait for none of them");
    peak = peak.max(resident(&child));
    // 64 bodies of 1 MiB, and heads and beginnings of the others: without a bound it were 300 MiB.
    assert!(peak.saturating_sub(before) < 160, "{before} MiB became {peak}");
    drop(held);
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn bodies_of_ten_megabytes_are_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, ready) = start(dir.path());
    let api = api(&ready, dir.path());
    api.create("site-1").await;
    let before = resident(&child);
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let api = api.clone();
        clients.spawn(async move {
            let body = vec![b'x'; 10 << 20];
            let sent = api.request(reqwest::Method::PATCH, SHADOW).body(body).send().await;
            // Of a body without end only so much is read.
            sent.ok().map(|response| response.status().as_u16())
        });
    }
    let mut peak = 0;
    while let Some(found) = clients.join_next().await {
        assert!(matches!(found.unwrap(), Some(413) | None));
        peak = peak.max(resident(&child));
    }
    assert!(peak.saturating_sub(before) < 100, "{before} MiB became {peak}");
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}
