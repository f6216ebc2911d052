//! The HTTP client of the cloud's API: one method per call, refusals as typed errors.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{App, JoinToken, Node, Shadow};
use crate::sse::Watch;

mod access;
mod error;
#[cfg(test)]
mod tests;

pub(crate) use access::ScopeArgs;
pub(crate) use error::{ApiError, Refusal, ServerUrlError};

/// Long enough for a bad link, short enough for a person who waits.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A watch says something every 15 seconds, if only a comment.
const WATCH_SILENCE: Duration = Duration::from_secs(45);
/// A cloud that is asked for too much is asked again when it says so.
const RETRIES: u32 = 3;
const LONGEST_RETRY: Duration = Duration::from_secs(10);
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A way to one cloud.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// When a write may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Always.
    None,
    /// Only while the desired half has this version; 0: only while there is none.
    Version(u64),
}

/// How a write changes the desired half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// As a merge patch (RFC 7396).
    Merge,
    /// The document becomes exactly what is written.
    Replace,
}

impl Client {
    /// A client of the cloud at `server`, such as `http://127.0.0.1:7780`.
    /// `ca` is the one authority to trust over https, in PEM; without it, those of the system.
    pub(crate) fn new(
        server: &str,
        token: Option<String>,
        ca: Option<&[u8]>,
    ) -> Result<Self, ServerUrlError> {
        let url = Url::parse(server).map_err(|source| ServerUrlError::Malformed {
            server: server.to_owned(),
            source: source.into(),
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(ServerUrlError::Scheme { server: server.to_owned() });
        }
        // The one TLS stack of the program; a second client finds it there, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder();
        if let Some(ca) = ca {
            let roots = reqwest::Certificate::from_pem_bundle(ca).map_err(ServerUrlError::Ca)?;
            if roots.is_empty() {
                return Err(ServerUrlError::NoCa);
            }
            builder = builder.tls_certs_only(roots);
        }
        let http = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .user_agent(concat!("gnomon/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ServerUrlError::Client)?;
        Ok(Self { http, server: url, token })
    }

    /// Where the cloud is, without a final slash.
    pub(crate) fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// Every node.
    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            nodes: Vec<Node>,
        }
        Ok(self.call::<Answer>(self.request(Method::GET, &["nodes"])).await?.nodes)
    }

    /// One node.
    pub(crate) async fn node(&self, node: &str) -> Result<Node, ApiError> {
        self.call(self.request(Method::GET, &["nodes", node])).await
    }

    /// Creates a node or replaces its labels; `true`: it was created.
    pub(crate) async fn put_node(
        &self,
        node: &str,
        labels: &BTreeMap<String, String>,
        tenant: Option<&str>,
        pool: Option<&str>,
    ) -> Result<(Node, bool), ApiError> {
        let request = self.request(Method::PUT, &["nodes", node]);
        let mut body = json!({ "labels": labels });
        let parts = [("tenant", tenant), ("pool", pool)];
        if let Some(body) = body.as_object_mut() {
            let given =
                parts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
            body.extend(given.map(|(name, value)| (name.to_owned(), json!(value))));
        }
        self.write(request.json(&body)).await
    }

    /// Forgets a node with all its shadows.
    pub(crate) async fn delete_node(&self, node: &str) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, &["nodes", node])).await.map(drop)
    }

    /// Makes a ticket with which the node can join once.
    pub(crate) async fn join_token(
        &self,
        node: &str,
        ttl: Duration,
    ) -> Result<JoinToken, ApiError> {
        let request = self.request(Method::POST, &["nodes", node, "join-tokens"]);
        self.call(request.json(&json!({ "ttl_s": ttl.as_secs() }))).await
    }

    /// Every shadow of a node.
    pub(crate) async fn shadows(&self, node: &str) -> Result<Vec<Shadow>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            shadows: Vec<Shadow>,
        }
        let request = self.request(Method::GET, &["nodes", node, "shadows"]);
        Ok(self.call::<Answer>(request).await?.shadows)
    }

    /// One shadow.
    pub(crate) async fn shadow(&self, node: &str, key: &str) -> Result<Shadow, ApiError> {
        self.call(self.shadow_request(Method::GET, node, key)).await
    }

    /// One shadow, or `None` when the node exists and the shadow does not.
    pub(crate) async fn find_shadow(
        &self,
        node: &str,
        key: &str,
    ) -> Result<Option<Shadow>, ApiError> {
        match self.shadow(node, key).await {
            Ok(shadow) => Ok(Some(shadow)),
            Err(ApiError::Refused(refusal)) if refusal.code == "unknown_shadow" => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Writes the desired half; `true`: the shadow was created.
    pub(crate) async fn write_shadow(
        &self,
        node: &str,
        key: &str,
        body: &Value,
        mode: WriteMode,
        precondition: Precondition,
    ) -> Result<(Shadow, bool), ApiError> {
        let (method, content_type) = match mode {
            WriteMode::Merge => (Method::PATCH, MERGE_PATCH),
            WriteMode::Replace => (Method::PUT, "application/json"),
        };
        let request = self
            .shadow_request(method, node, key)
            .header(header::CONTENT_TYPE, content_type)
            .body(body.to_string());
        self.write(guarded(request, precondition)).await
    }

    /// Deletes the desired half.
    pub(crate) async fn delete_shadow(
        &self,
        node: &str,
        key: &str,
        precondition: Precondition,
    ) -> Result<(), ApiError> {
        let request = self.shadow_request(Method::DELETE, node, key);
        self.send(guarded(request, precondition)).await.map(drop)
    }

    /// Every app, or those of one node.
    pub(crate) async fn apps(&self, node: Option<&str>) -> Result<Vec<App>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            apps: Vec<App>,
        }
        let mut url = self.url(&["apps"]);
        if let Some(node) = node {
            url.query_pairs_mut().append_pair("node", node);
        }
        Ok(self.call::<Answer>(self.http.get(url)).await?.apps)
    }

    /// Opens a stream of changes to the shadows of some nodes (none: of all), of one key or all.
    pub(crate) async fn watch(
        &self,
        nodes: &[String],
        key: Option<&str>,
    ) -> Result<Watch, ApiError> {
        let mut url = self.url(&["watch"]);
        for node in nodes {
            url.query_pairs_mut().append_pair("node", node);
        }
        if let Some(key) = key {
            url.query_pairs_mut().append_pair("key", key);
        }
        let request = self.http.get(url).header(header::ACCEPT, "text/event-stream");
        let opening = tokio::time::timeout(CALL_TIMEOUT, self.dispatch(request));
        let response = opening.await.map_err(|_| self.timed_out())??;
        Ok(Watch::new(response, self.server().to_owned(), WATCH_SILENCE))
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        url
    }

    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.http.request(method, self.url(segments)).timeout(CALL_TIMEOUT)
    }

    fn shadow_request(&self, method: Method, node: &str, key: &str) -> RequestBuilder {
        let segments: Vec<&str> =
            ["nodes", node, "shadows"].into_iter().chain(key.split('/')).collect();
        self.request(method, &segments)
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        self.read(self.send(request).await?).await
    }

    async fn write<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(T, bool), ApiError> {
        let response = self.send(request).await?;
        let created = response.status() == StatusCode::CREATED;
        Ok((self.read(response).await?, created))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ApiError> {
        let url = response.url().to_string();
        let body = response.bytes().await.map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&body).map_err(|source| ApiError::BadAnswer { url, source })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        self.dispatch(request.timeout(CALL_TIMEOUT)).await
    }

    async fn dispatch(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let mut request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let mut tries = 0;
        loop {
            let again = request.try_clone();
            let response = request.send().await.map_err(|source| self.unreachable(source))?;
            if response.status().is_success() {
                return Ok(response);
            }
            let refusal = Refusal::read(response).await;
            // Nothing was done, so it may be asked for again.
            let wait = refusal.retry_after.filter(|wait| *wait <= LONGEST_RETRY);
            match (wait.filter(|_| refusal.status == 429 && tries < RETRIES), again) {
                (Some(wait), Some(again)) => {
                    tokio::time::sleep(wait).await;
                    request = again;
                    tries += 1;
                }
                _ => return Err(ApiError::Refused(Box::new(refusal))),
            }
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ApiError {
        ApiError::Unreachable {
            server: self.server().to_owned(),
            source: Box::new(source.without_url()),
        }
    }

    fn timed_out(&self) -> ApiError {
        ApiError::Silent { server: self.server().to_owned(), seconds: CALL_TIMEOUT.as_secs() }
    }
}

fn guarded(request: RequestBuilder, precondition: Precondition) -> RequestBuilder {
    match precondition {
        Precondition::None => request,
        Precondition::Version(0) => request.header(header::IF_NONE_MATCH, "*"),
        Precondition::Version(version) => {
            request.header(header::IF_MATCH, format!("\"{version}\""))
        }
    }
}
