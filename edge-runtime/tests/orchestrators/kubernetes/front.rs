//! Stands before the API server: writes down what is asked, and answers in its place when told to.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

type Body = UnsyncBoxBody<Bytes, kube::Error>;

/// What is wrong with the API server.
#[derive(Clone, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// It answers to none, and what it was telling ends.
    Down,
    /// It takes requests and says nothing.
    Silent,
    /// It answers so to what fits.
    Says { code: u16, message: &'static str, to: fn(&Asked) -> bool },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
}

impl Asked {
    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

pub(crate) struct Front {
    address: SocketAddr,
    dir: tempfile::TempDir,
    state: Arc<State>,
    task: AbortHandle,
}

struct State {
    server: kube::Client,
    asked: Mutex<Vec<Asked>>,
    fault: watch::Sender<Fault>,
}

impl Front {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            server: super::admin().await,
            asked: Mutex::default(),
            fault: watch::Sender::default(),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let serve = hyper::service::service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { state.answer(request).await }
                });
                let io = TokioIo::new(stream);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(io, serve),
                );
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: \"http://{address}\"}}}}]\n\
             users: [{{name: a, user: {{}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             current-context: a\n"
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        Self { address, dir, state, task: task.abort_handle() }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        assert!(self.address.ip().is_loopback());
        self.dir.path().join("config")
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.fault.send_replace(fault);
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }
}

impl Front {
    /// Waits until nothing has been asked for a while, and forgets what was.
    pub(crate) async fn calm(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let (mut count, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_secs(2) {
            let now = self.state.asked.lock().unwrap().len();
            if now != count {
                (count, since) = (now, Instant::now());
            }
            assert!(Instant::now() < deadline, "it is asked without end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.take();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let asked = Asked { method: parts.method.clone(), path };
        self.asked.lock().unwrap().push(asked.clone());
        let fault = self.fault.borrow().clone();
        match fault {
            Fault::Down => return Err(io::Error::other("down")),
            Fault::Silent => std::future::pending().await,
            Fault::Says { code, message, to } if to(&asked) => return Ok(says(code, message)),
            Fault::Says { .. } | Fault::None => {}
        }
        let body = body.collect().await.unwrap().to_bytes();
        let mut onward = Request::builder().method(parts.method).uri(asked.path);
        for (name, value) in &parts.headers {
            if matches!(name.as_str(), "content-type" | "accept" | "user-agent") {
                onward = onward.header(name, value);
            }
        }
        let onward = onward.body(kube::client::Body::from(body)).unwrap();
        let (parts, body) = self.server.send(onward).await.map_err(io::Error::other)?.into_parts();
        let mut fault = self.fault.subscribe();
        let ends = async move {
            fault.wait_for(|fault| matches!(fault, Fault::Down)).await.ok();
        };
        let data = body.into_data_stream().map(|piece| piece.map(Frame::data));
        let body = StreamBody::new(data.take_until(Box::pin(ends)));
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }
}

fn says(code: u16, message: &str) -> Response<Body> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": "Because", "code": code,
    });
    let body = Full::new(Bytes::from(status.to_string()));
    let response = Response::builder().status(StatusCode::from_u16(code).unwrap());
    response.body(body.map_err(|never| match never {}).boxed_unsync()).unwrap()
}
