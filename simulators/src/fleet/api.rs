//! The cloud's HTTP API, as far as a fleet needs it.

use std::time::{Duration, Instant};

use gnomon_edge::link::mqtt::Address;
use gnomon_schemas::id::NodeName;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::report::CloudSays;

const PATIENCE: Duration = Duration::from_mins(1);
/// How long, in all, a request waits for a cloud that says it is asked too much.
const HELD_UP: Duration = Duration::from_mins(2);
/// What the app of a site is called.
pub(super) const APP: &str = "station";

/// A way to one cloud.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// Why the API did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is none.
    #[error("{0:?} is no address of a cloud; give one like http://127.0.0.1:7780")]
    Server(String),
    /// The client cannot be made.
    #[error("the HTTP client cannot be made; is the authority's file PEM?")]
    Client(#[source] reqwest::Error),
    /// No answer came.
    #[error("{url} does not answer")]
    Send {
        /// Where it was asked.
        url: Url,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The cloud refuses.
    #[error("the cloud refuses {what}: {message} ({status}, {code})")]
    Refused {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// The answer is not what it should be.
    #[error("{url} answers something else; is it a Gnomon cloud of this version?")]
    Answer {
        /// Where it was asked.
        url: Url,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What a node gets for its signing request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Enrolled {
    pub(super) certificate_pem: String,
    pub(super) ca_pem: String,
    pub(super) mqtt: Vec<Address>,
    pub(super) server_name: String,
}

/// What became of one write.
pub(super) type Written = Result<u64, String>;

#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Default, Deserialize)]
struct RefusalBody {
    code: String,
    message: String,
}

impl Api {
    /// A client of the cloud at `server`; `ca` is the one authority to trust over https, in PEM.
    pub fn new(server: &str, token: Option<String>, ca: Option<&[u8]>) -> Result<Self, ApiError> {
        let wrong = || ApiError::Server(server.to_owned());
        let url = Url::parse(server).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(wrong());
        }
        // The one TLS stack of the process; where it is already, the second call is refused.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
        if let Some(ca) = ca {
            let roots = reqwest::Certificate::from_pem_bundle(ca).map_err(ApiError::Client)?;
            builder = builder.tls_certs_only(roots);
        }
        let http = builder.build().map_err(ApiError::Client)?;
        Ok(Self { http, server: url, token })
    }

    /// The host of the cloud.
    pub fn host(&self) -> Option<&str> {
        self.server.host_str()
    }

    /// A token with which so many nodes can join.
    pub(super) async fn join_token(&self, uses: usize) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            token: String,
        }
        let body = json!({ "uses": uses, "ttl_s": 3600 });
        let request = self.request(Method::POST, &["v1", "join-tokens"]).json(&body);
        Ok(self.call::<Answer>("a join token", request).await?.token)
    }

    /// Trades a token and a signing request for a certificate.
    pub(super) async fn enrol(
        &self,
        token: &str,
        node: &NodeName,
        csr_pem: &str,
    ) -> Result<Enrolled, ApiError> {
        let body = json!({ "token": token, "node": node, "csr_pem": csr_pem });
        let request = self.request(Method::POST, &["v1", "enroll"]).json(&body);
        self.call("an enrolment", request).await
    }

    /// Whether the cloud knows a node.
    pub(super) async fn knows(&self, node: &NodeName) -> Result<bool, ApiError> {
        let request = self.request(Method::GET, &["v1", "nodes", node.as_str()]);
        match self.call::<Value>("to say whether it knows a node", request).await {
            Ok(_) => Ok(true),
            Err(ApiError::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the app of these nodes what it is in a round; says which version each has then.
    /// Whole: the documents are written anew, whatever was there.
    pub(super) async fn write(
        &self,
        nodes: &[NodeName],
        round: &str,
        whole: bool,
    ) -> Result<Vec<Written>, ApiError> {
        self.write_app(APP, nodes, round, whole).await
    }

    /// As [`Self::write`], for an app of another name.
    pub(super) async fn write_app(
        &self,
        name: &str,
        nodes: &[NodeName],
        round: &str,
        whole: bool,
    ) -> Result<Vec<Written>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            results: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            desired_version: Option<u64>,
            error: Option<RefusalBody>,
        }
        let writes = nodes.iter().map(|node| {
            let key = format!("app/{name}");
            if whole {
                json!({ "node": node, "key": key, "put": app(round) })
            } else {
                json!({ "node": node, "key": key, "patch": change(round) })
            }
        });
        let body = json!({ "writes": writes.collect::<Vec<_>>() });
        let request = self.request(Method::POST, &["v1", "batch"]).json(&body);
        let answer: Answer = self.call("a batch of writes", request).await?;
        let one = |one: One| match (one.desired_version, one.error) {
            (Some(version), None) => Ok(version),
            (_, error) => Err(error.unwrap_or_default().message),
        };
        Ok(answer.results.into_iter().map(one).collect())
    }

    /// The version of what is desired of an app.
    pub(super) async fn desired_version(
        &self,
        node: &NodeName,
        app: &str,
    ) -> Result<u64, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            desired: Half,
        }
        #[derive(Deserialize)]
        struct Half {
            version: u64,
        }
        let path = ["v1", "nodes", node.as_str(), "shadows", "app", app];
        let request = self.request(Method::GET, &path);
        Ok(self.call::<Answer>("a shadow", request).await?.desired.version)
    }

    /// What the cloud's metrics say of its nodes.
    pub(super) async fn says(&self) -> Result<CloudSays, ApiError> {
        let (url, text) = self.send(self.request(Method::GET, &["metrics"])).await?;
        let text = String::from_utf8_lossy(&text.1);
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let (_, value) = lines.find(|(key, _)| *key == name)?;
            value.parse().ok()
        };
        let online = value("gnomon_cloud_nodes_online");
        let in_sync = value("gnomon_cloud_streams_in_sync");
        let Some((online, in_sync)) = online.zip(in_sync) else {
            let source = serde::de::Error::missing_field("gnomon_cloud_nodes_online");
            return Err(ApiError::Answer { url, source });
        };
        Ok(CloudSays { online, in_sync })
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<(Url, (u16, Vec<u8>)), ApiError> {
        let failed = |source: reqwest::Error| {
            let url = source.url().cloned().unwrap_or_else(|| self.server.clone());
            ApiError::Send { url, source: source.without_url() }
        };
        let until = Instant::now() + HELD_UP;
        let response = loop {
            let again = request.try_clone();
            let response = request.send().await.map_err(failed)?;
            match held_up(&response).zip(again) {
                Some((wait, again)) if Instant::now() + wait < until => {
                    tokio::time::sleep(wait).await;
                    request = again;
                }
                _ => break response,
            }
        };
        let (url, status) = (response.url().clone(), response.status().as_u16());
        let bytes = response.bytes().await.map_err(failed)?;
        Ok((url, (status, bytes.into())))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<T, ApiError> {
        let (url, (status, bytes)) = self.send(request).await?;
        if !(200..300).contains(&status) {
            let refusal: Option<Refusal> = serde_json::from_slice(&bytes).ok();
            let RefusalBody { code, message } = refusal.map(|it| it.error).unwrap_or_default();
            return Err(ApiError::Refused { what: what.to_owned(), status, code, message });
        }
        serde_json::from_slice(&bytes).map_err(|source| ApiError::Answer { url, source })
    }
}

/// How long the cloud asks to wait before the same is asked again: a fleet enrols from one address,
/// faster than strangers may.
fn held_up(response: &reqwest::Response) -> Option<Duration> {
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let wait = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(wait).max(Duration::from_millis(100)))
}

/// An app such as a petrol station runs.
fn app(round: &str) -> Value {
    json!({ "services": {
        "controller": {
            "image": "registry.example/station/controller:1.4.2",
            "environment": { "LOG": "info", "PUMPS": "8", "ROUND": round, "TZ": "Europe/Berlin" },
            "restart": "always",
        },
        "display": {
            "image": "registry.example/station/display:2.0.0",
            "environment": { "LANGUAGE": "de", "THEME": "night" },
            "restart": "always",
        },
    } })
}

fn change(round: &str) -> Value {
    json!({ "services": { "controller": { "environment": { "ROUND": round } } } })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers a connection with each of these, in turn, and closes it.
    async fn answering(answers: &'static [&'static str]) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut peer, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                assert!(peer.read(&mut request).await.unwrap() > 0);
                peer.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Api::new(&server, None, None).unwrap()
    }

    #[tokio::test]
    async fn who_is_asked_to_wait_asks_again_and_another_refusal_is_told() {
        let api = answering(&[
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{\"token\":\"t\"}",
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ])
        .await;
        assert_eq!(api.join_token(3).await.unwrap(), "t");
        let refused = api.join_token(3).await;
        assert!(matches!(refused, Err(ApiError::Refused { status: 403, .. })), "{refused:?}");
    }
}
