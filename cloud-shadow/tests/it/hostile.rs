//! Clients of the API that send rubbish, too much, or nothing, and that do not listen.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{Cloud, DEADLINE, refused};

const APP: &str = "/v1/nodes/site-1/shadows/app/web";

async fn connect(cloud: &Cloud) -> TcpStream {
    let addr: SocketAddr = cloud.api.base().strip_prefix("http://").unwrap().parse().unwrap();
    TcpStream::connect(addr).await.unwrap()
}

/// What comes back until the cloud closes the connection.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset after the answer is as good as an end.
    drop(tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.unwrap());
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn who_has_said_all_and_only_listens_is_answered() {
    let cloud = Cloud::with_node().await;
    let mut stream = connect(&cloud).await;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    cloud.stop().await;
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_closed() {
    let cloud = Cloud::with_node().await;
    let flood = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(2000));
    for rubbish in ["GET /\r\n\r\n", "\u{1}\u{2}\u{3}\r\n\r\n", flood.as_str()] {
        let mut stream = connect(&cloud).await;
        stream.write_all(rubbish.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 4"), "{rubbish:.20}");
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_stranger_gets_to_send_only_a_little() {
    let cloud = Cloud::with_node().await;
    let large = json!({ "token": "x".repeat(20_000), "csr_pem": "" });
    let enroll = cloud.api.open(Method::POST, "/v1/enroll").json(&large).send().await.unwrap();
    assert_eq!(refused(enroll, 413, "too_large").await["limit"], 16 * 1024);
    cloud.stop().await;
}

#[tokio::test]
async fn a_long_path_is_not_sent_back_whole() {
    let cloud = Cloud::with_node().await;
    let path = format!("/{}", "a/".repeat(10_000));
    let response = cloud.api.request(Method::GET, &path).send().await.unwrap();
    assert!(response.content_length().unwrap() < 1000);
    refused(response, 404, "not_found").await;
    cloud.stop().await;
}

fn app(image: &str, secret: &str) -> Value {
    json!({
        "services": { "web": { "image": image, "secrets": { "/run/key": { "source": "key" } } } },
        "secrets": { "key": { "content": secret } },
    })
}

#[tokio::test]
async fn what_a_secret_holds_is_never_shown_and_survives_a_round_trip() {
    let cloud = Cloud::with_node().await;
    let refusal = cloud.api.patch(APP, &app("nginx:1", "[redacted]")).await;
    let detail = refused(refusal, 400, "invalid_app").await;
    assert_eq!(detail["problems"][0]["path"], "secrets.key.content");

    let made = cloud.api.patch(APP, &app("nginx:1", "hunter2")).await.text().await.unwrap();
    assert!(made.contains("[redacted]"), "{made}");
    let all = cloud.api.get("/v1/nodes/site-1/shadows").await.to_string();
    let apps = cloud.api.get("/v1/apps").await;
    for text in [&made, &all, &apps.to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
    }

    let shown = cloud.api.get(APP).await["desired"]["document"].take();
    let put = cloud.api.request(Method::PUT, APP).json(&shown).send().await.unwrap();
    let put: Value = put.json().await.unwrap();
    assert_eq!(put["desired"]["version"], 1, "what was read and written back changes nothing");
    let revision = |apps: &Value| apps["apps"][0]["revision"].clone();
    assert_eq!(revision(&cloud.api.get("/v1/apps").await), revision(&apps));
    cloud.api.patch(APP, &app("nginx:1", "swordfish")).await;
    assert_ne!(revision(&cloud.api.get("/v1/apps").await), revision(&apps));
    cloud.stop().await;
}

#[tokio::test]
async fn rubbish_in_a_body_is_a_typed_refusal_of_every_call_that_takes_one() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch("/v1/nodes/site-1/shadows/node", &json!({ "a": 1 })).await;
    let calls = [
        (Method::PUT, "/v1/nodes/site-1"),
        (Method::POST, "/v1/nodes/site-1/join-tokens"),
        (Method::PUT, "/v1/nodes/site-1/shadows/node"),
        (Method::PATCH, "/v1/nodes/site-1/shadows/node"),
        (Method::PUT, "/v1/nodes/site-1/tags/node"),
        (Method::POST, "/v1/nodes/site-1/rollback/node"),
        (Method::POST, "/v1/batch"),
        (Method::POST, "/v1/enroll"),
    ];
    let deep = [b"{\"a\":".repeat(2000), b"1".to_vec(), b"}".repeat(2000)].concat();
    let bodies: [(&[u8], u16); 9] = [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\"text\"", 400),
        (b"{\"a\":1,\"a\":2}", 400),
        (b"{\"a\":\"\xff\xfe\"}", 400),
        (b"{\"a\":1e999999}", 400),
        (&deep, 400),
        (&vec![b' '; 10 << 20], 413),
    ];
    for (method, path) in calls {
        for (body, status) in &bodies {
            let request = cloud.api.request(method.clone(), path);
            let request = request.header("Content-Type", "application/json").body(body.to_vec());
            // Of a body that never ends, only so much is read.
            let Ok(response) = request.send().await else { continue };
            let found = response.status().as_u16();
            let begin = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            assert_eq!(found, *status, "{method} {path} of {begin:?}");
            let answer: Value = response.json().await.unwrap();
            assert!(answer["error"]["code"].is_string(), "{method} {path}: {answer}");
        }
    }
    let shadow = cloud.api.get("/v1/nodes/site-1/shadows/node").await;
    assert_eq!(shadow["version"], 1);
    cloud.stop().await;
}
