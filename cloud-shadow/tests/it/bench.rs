//! A cloud to test against, and a client that speaks to it.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use gnomon_cloud::config::Config;
use gnomon_cloud::http::description;
use gnomon_cloud::server::Server;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::enrolment::Joined;

/// How long anything may take that the tests wait for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running cloud in a folder of its own.
pub(crate) struct Cloud {
    server: Server,
    pub(crate) dir: TempDir,
    pub(crate) api: Api,
}

/// A client of the API.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    base: String,
    pub(crate) token: String,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self::in_dir(TempDir::new().unwrap(), |_| ()).await
    }

    /// A cloud with a node `site-1`.
    pub(crate) async fn with_node() -> Self {
        let cloud = Self::start().await;
        cloud.api.create("site-1").await;
        cloud
    }

    pub(crate) async fn in_dir(dir: TempDir, tune: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::for_tests(dir.path());
        tune(&mut config);
        let server = Server::start(config).await.unwrap();
        let api = Api::new(&format!("http://{}", server.http_addr()), dir.path());
        Self { server, dir, api }
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.server.stop().await;
        self.dir
    }

    pub(crate) async fn restart(self) -> Self {
        Self::in_dir(self.stop().await, |_| ()).await
    }

    /// A cloud that speaks HTTPS, too.
    pub(crate) async fn with_https(dir: TempDir) -> Self {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Self::in_dir(dir, |config| config.https = Some(any)).await
    }

    /// The same API over HTTPS, with the certificate of a node or without.
    pub(crate) fn secure(&self, shown: Option<&Joined>) -> Api {
        let ca = std::fs::read(self.dir.path().join("ca.pem")).unwrap();
        let at = self.server.https_addr().unwrap();
        Api::secure(&format!("https://{at}"), &ca, &self.api.token, shown)
    }

    pub(crate) fn mqtt(&self) -> std::net::SocketAddr {
        self.server.mqtt_addr()
    }
}

impl Api {
    pub(crate) fn new(base: &str, data: &Path) -> Self {
        // The one TLS stack of the process; a second test finds it there.
        drop(rustls::crypto::ring::default_provider().install_default());
        let token = std::fs::read_to_string(data.join("admin-token")).unwrap().trim().to_owned();
        Self { client: Client::new(), base: base.to_owned(), token }
    }

    /// A client that knows the cloud by its authority.
    pub(crate) fn secure(base: &str, ca: &[u8], token: &str, shown: Option<&Joined>) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let roots = reqwest::Certificate::from_pem_bundle(ca).unwrap();
        let mut client = Client::builder().tls_certs_only(roots);
        if let Some(joined) = shown {
            let pem = format!("{}{}", joined.key, joined.certificate);
            client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        Self { client: client.build().unwrap(), base: base.to_owned(), token: token.to_owned() }
    }

    /// The same, with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A request without a token.
    pub(crate) fn open(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.open(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn create(&self, node: &str) {
        let path = format!("/v1/nodes/{node}");
        let response = self.request(Method::PUT, &path).json(&json!({})).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }

    pub(crate) async fn patch(&self, path: &str, changes: &Value) -> Response {
        let response = self.request(Method::PATCH, path).json(changes).send().await.unwrap();
        documented(&response);
        response
    }

    /// The body of a GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Waits until the answer to a GET is as wanted.
    pub(crate) async fn eventually(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let value = self.get(path).await;
            if wanted(&value) {
                return value;
            }
            assert!(began.elapsed() < DEADLINE, "{path} stayed {value}");
            tokio::task::yield_now().await;
        }
    }
}

/// Asserts that the description of the API knows this answer of a path that it knows.
fn documented(response: &Response) {
    static PATHS: LazyLock<Value> = LazyLock::new(|| {
        let mut description: Value = serde_json::from_str(description()).unwrap();
        description["paths"].take()
    });
    let status = response.status().as_u16().to_string();
    let path = response.url().path();
    let fits = |template: &str| {
        let (mut names, mut parts) = (template.split('/'), path.split('/'));
        loop {
            match (names.next(), parts.next()) {
                (None, None) | (Some("{key}"), Some(_)) => return true,
                (Some(name), Some(part)) if name == part || name.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let mut known = PATHS.as_object().unwrap().iter().filter(|(template, _)| fits(template));
    let Some((template, item)) = known.next() else { return };
    let says = |operation: &Value| operation["responses"].get(&status).is_some();
    let is_said = item.as_object().unwrap().values().any(says);
    assert!(is_said || status == "405", "{template} does not say that it answers {status}");
}

/// Asserts that a request was refused in the API's form, and gives back the detail.
pub(crate) async fn refused(response: Response, status: u16, code: &str) -> Value {
    documented(&response);
    let found = response.status().as_u16();
    let mut body: Value = response.json().await.unwrap();
    assert_eq!((found, body["error"]["code"].as_str()), (status, Some(code)), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{body}");
    body["error"]["detail"].take()
}

/// A shadow without what depends on the time.
pub(crate) fn ageless(mut shadow: Value) -> Value {
    for half in ["desired", "reported"] {
        if let Some(half) = shadow[half].as_object_mut() {
            assert!(half.remove("updated_ms").is_some_and(|at| at.is_u64()));
            assert!(half.remove("age_ms").is_some_and(|age| age.as_u64() < Some(60_000)));
        }
    }
    shadow
}
