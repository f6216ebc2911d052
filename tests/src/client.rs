//! The HTTP API as a test speaks it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A cloud's API, called without async.
pub struct Api {
    url: String,
    token: String,
    runtime: Runtime,
    client: reqwest::Client,
}

/// An answer: status and body.
pub type Answer = (u16, Value);

impl Api {
    pub fn new(url: String, token: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The one TLS stack of the process; a second call finds it there.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self { url, token, runtime, client }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A call with a JSON body; `None` if no answer came.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let body = body.map(|body| (body.to_string().into_bytes(), "application/json"));
        self.raw(method, path, &[], body)
    }

    /// A call with any headers and bytes.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(Vec<u8>, &str)>,
    ) -> Option<Answer> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((bytes, kind)) = body {
            request = request.header("content-type", kind).body(bytes);
        }
        self.runtime.block_on(async {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            let bytes = response.bytes().await.ok()?;
            Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
        })
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    /// Makes a node, and a token for it to join with.
    pub fn join_token(&self, node: &str) -> String {
        self.call("PUT", &format!("/v1/nodes/{node}"), Some(&json!({"labels": {}}))).unwrap();
        let path = format!("/v1/nodes/{node}/join-tokens");
        let (status, body) = self.call("POST", &path, Some(&json!({"ttl_s": 600}))).unwrap();
        assert_eq!(status, 201, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }
}
