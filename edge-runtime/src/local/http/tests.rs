//! The HTTP face over real sockets, with an agent that answers what a test wants.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::local::Shadow;

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (u16, Value) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

/// An agent that knows one shadow.
async fn started(at: At) -> HttpServer {
    let (sender, mut receiver) = mpsc::channel::<Asked>(1);
    tokio::spawn(async move {
        while let Some(asked) = receiver.recv().await {
            let key = "app/web".parse().unwrap();
            let response = if asked.request == (Request::Shadow { key }) {
                let key = "app/web".parse().unwrap();
                let shadow = Shadow { key, desired: None, reported: None, reported_in_sync: true };
                Response::Shadow(Box::new(shadow))
            } else {
                Response::Refused(Refusal::new(RefusalCode::UnknownShadow, "no answer to that"))
            };
            drop(asked.answer.send(response));
        }
    });
    HttpServer::start(at, sender).await.unwrap()
}

#[tokio::test]
async fn a_shadow_is_read_over_loopback_and_what_is_not_there_is_told() {
    let server = started("127.0.0.1:0".parse().unwrap()).await;
    let At::Loopback(address) = *server.at() else { panic!("an address") };
    let ask =
        async |request: String| talk(TcpStream::connect(address).await.unwrap(), &request).await;
    let (status, body) = ask(get("/v1/shadows/app/web")).await;
    assert_eq!((status, &body["key"]), (200, &json!("app/web")));
    for path in ["/v1/shadows/app/none", "/v1/shadows/app/../x", "/v1/shadows/", "/", "/v1/status"]
    {
        let (status, body) = ask(get(path)).await;
        assert_eq!(status, 404, "{path}");
        assert!(body["error"]["message"].is_string(), "{path}: {body}");
    }
    let (status, body) = ask(get("/metrics")).await;
    assert_eq!(status, 404, "this agent tells no status: {body}");
    let post =
        "POST /v1/status HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(post.to_owned()).await.0, 405);
    let browser = get("/v1/status").replace("host: x", "host: x\r\norigin: https://evil.example");
    assert_eq!(ask(browser).await.0, 403);
}

#[tokio::test]
async fn a_unix_socket_does_as_well_and_goes_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("http.sock");
    fs::write(&path, "a leftover").unwrap();
    let server = started(At::Unix(path.clone())).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(talk(stream, &get("/v1/shadows/app/web")).await.0, 200);
    drop(server);
    assert!(!path.exists());
}

#[tokio::test]
async fn an_agent_that_is_stopping_is_told_as_such() {
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let server = HttpServer::start("[::1]:0".parse().unwrap(), sender).await;
    let Ok(server) = server else { return };
    let At::Loopback(address) = *server.at() else { panic!("an address") };
    let stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(talk(stream, &get("/v1/status")).await.0, 503);
}

#[test]
fn only_the_machine_itself_is_a_place() {
    for good in ["127.0.0.1:7790", "[::1]:1", "unix:/run/x.sock"] {
        assert_eq!(good.parse::<At>().unwrap().to_string(), good);
    }
    for bad in ["0.0.0.0:80", "192.168.1.1:80", "localhost:80", "7790", "unix:x", "", "[::]:1"] {
        let error = bad.parse::<At>().unwrap_err().to_string();
        assert!(error.contains("only loopback"), "{error}");
    }
}
