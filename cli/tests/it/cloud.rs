//! A cloud with one store in memory, as much of the API as the tests ask for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

/// Desired halves by key; the one node is `site-1`.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) desired: BTreeMap<String, (u64, Value)>,
    pub(crate) reported: BTreeMap<String, Value>,
    /// How many requests are refused as too many.
    pub(crate) busy: u32,
    /// Text of the watch; the shadows and `synced` when empty.
    pub(crate) watch: Vec<String>,
}

type Shared = Arc<Mutex<Content>>;

/// A running cloud; ends with its runtime.
pub(crate) struct Cloud {
    pub(crate) url: String,
    pub(crate) content: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl Cloud {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let content = Shared::default();
        let app = router(Arc::clone(&content));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, content, _runtime: runtime }
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.content.lock().unwrap())
    }
}

fn router(content: Shared) -> Router {
    let shadow = get(read_shadow).patch(write).put(write).delete(write);
    Router::new()
        .route("/v1/nodes", get(|| async { Json(json!({ "nodes": [node("site-1")] })) }))
        .route("/v1/nodes/{node}", put(put_node).get(get_node).delete(get_node))
        .route("/v1/nodes/{node}/join-tokens", post(token))
        .route("/v1/tokens", get(tokens).post(make_token))
        .route("/v1/join-tokens", get(joins).post(make_join))
        .route("/v1/tokens/{id}", delete(gone))
        .route("/v1/join-tokens/{id}", delete(gone))
        .route("/v1/nodes/{node}/revoke", post(gone))
        .route("/v1/pending", get(pending))
        .route("/v1/pending/{id}/approve", post(decide))
        .route("/v1/pending/{id}/deny", post(decide))
        .route("/v1/audit", get(audit))
        .route("/v1/nodes/{node}/shadows", get(shadows))
        .route("/v1/nodes/{node}/shadows/{*key}", shadow)
        .route("/v1/apps", get(apps))
        .route("/v1/watch", get(watch))
        .layer(middleware::from_fn(authorise))
        .with_state(content)
}

async fn authorise(request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    if given == Some(b"Bearer secret") {
        return next.run(request).await;
    }
    refuse(401, "unauthorized", "the token is missing or wrong", &Value::Null)
}

fn refuse(status: u16, code: &str, message: &str, detail: &Value) -> Response {
    let body = json!({"error": {"code": code, "message": message, "detail": detail}});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn unknown(node: &str) -> Option<Response> {
    let message = format!("there is no node {node}");
    (node != "site-1").then(|| refuse(404, "unknown_node", &message, &Value::Null))
}

fn node(name: &str) -> Value {
    json!({
        "name": name, "labels": {"region": "south"}, "online": true, "since_ms": 0,
        "last_seen_ms": 0, "in_sync": false, "shadows": 2,
        "down": {"epoch": "aa", "head": 7, "acked": 5, "batches": 3, "changes": 4, "retries": 0,
                 "probes": 0, "manifests": 0, "bytes": 12_345},
        "up": {"epoch": "bb", "seq": 2, "batches": 2, "bytes": 99},
    })
}

async fn get_node(Path(name): Path<String>) -> Response {
    unknown(&name).unwrap_or_else(|| Json(node(&name)).into_response())
}

async fn put_node(Path(name): Path<String>, Json(body): Json<Value>) -> Response {
    let mut node = node(&name);
    node["labels"] = body["labels"].clone();
    let status = if name == "site-1" { StatusCode::OK } else { StatusCode::CREATED };
    (status, Json(node)).into_response()
}

async fn token(Path(name): Path<String>, Json(body): Json<Value>) -> Response {
    if let Some(refusal) = unknown(&name) {
        return refusal;
    }
    let ttl = body["ttl_s"].as_u64().unwrap();
    let token = json!({"token": "ticket", "node": name, "expires_ms": ttl * 1000});
    (StatusCode::CREATED, Json(token)).into_response()
}

fn about(id: &str, more: &Value) -> Value {
    let mut token = json!({
        "id": id, "tenant": "acme", "pool": null, "labels": {"region": "north"}, "by": "admin",
        "expires_ms": null,
    });
    token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    token
}

async fn tokens() -> Json<Value> {
    let ci =
        about("ci-5f0c1e2a", &json!({"role": "publisher", "created_ms": 1, "last_used_ms": null}));
    let mut all = about("boss-00000001", &json!({"role": "admin", "expires_ms": 1}));
    all["tenant"] = Value::Null;
    all["labels"] = json!({});
    Json(json!({ "tokens": [all, ci] }))
}

/// Says back what it was asked for, as the cloud does.
async fn make_token(Json(body): Json<Value>) -> Response {
    let id = format!("{}-5f0c1e2a", body["name"].as_str().unwrap());
    if body["role"] == "admin" {
        let message = "nobody can make a token that may more than the own one, or elsewhere";
        return refuse(403, "forbidden", message, &Value::Null);
    }
    let mut token = about(&id, &body);
    token["token"] = json!("gnt_secret");
    (StatusCode::CREATED, Json(token)).into_response()
}

async fn joins() -> Json<Value> {
    let join = about("join-00000007", &json!({"uses_left": 3, "expires_ms": 1}));
    Json(json!({ "tokens": [join] }))
}

async fn make_join(Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut token = about("join-00000008", &body);
    token["token"] = json!("gnj_secret.00");
    (StatusCode::CREATED, Json(token))
}

async fn gone(Path(name): Path<String>) -> Response {
    if name == "nobody" {
        let message = "there is no token nobody";
        return refuse(404, "unknown_token", message, &Value::Null);
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn pending() -> Json<Value> {
    let key = "0f".repeat(32);
    Json(json!({ "pending": [{
        "id": "a1b2c3d4e5f6", "node": "pump-9", "key_sha256": key, "peer": "10.0.0.9",
        "since_ms": 0, "state": "undecided",
    }] }))
}

async fn decide(Path(id): Path<String>) -> Response {
    if id == "a1b2c3d4e5f6" {
        return StatusCode::NO_CONTENT.into_response();
    }
    refuse(404, "nobody_waits", &format!("nobody waits as {id}"), &Value::Null)
}

/// Two pages of one entry each.
async fn audit(uri: axum::http::Uri, State(content): State<Shared>) -> Response {
    let query = uri.query().unwrap_or_default().to_owned();
    let busy = &mut content.lock().unwrap().busy;
    if *busy > 0 {
        *busy -= 1;
        let refusal =
            refuse(429, "too_many_requests", "this is more than one may ask for", &Value::Null);
        return ([(header::RETRY_AFTER, "1")], refusal).into_response();
    }
    let (number, next) = if query.contains("before=2") { (1, Value::Null) } else { (2, json!(2)) };
    let entry = json!({
        "number": number, "at_ms": 1_795_238_110_002_u64, "by": "token/ci-5f0c1e2a",
        "action": "shadow.patch", "target": "site-1/device/pump-7", "tenant": "acme",
        "outcome": "done",
    });
    Json(json!({ "entries": [entry], "next": next })).into_response()
}

fn shadow(content: &Content, key: &str) -> Option<Value> {
    let desired = content.desired.get(key);
    let reported = content.reported.get(key);
    (desired.is_some() || reported.is_some()).then(|| {
        json!({
            "node": "site-1", "key": key,
            "version": desired.map_or(0, |half| half.0) + u64::from(reported.is_some()),
            "desired": desired.map(|(version, doc)| json!({"version": version, "document": doc})),
            "reported": reported.map(|doc| json!({"version": 1, "document": doc, "updated_ms": 0})),
            "delta": null,
        })
    })
}

async fn shadows(Path(name): Path<String>, State(content): State<Shared>) -> Response {
    if let Some(refusal) = unknown(&name) {
        return refusal;
    }
    Json(json!({ "shadows": all(&content.lock().unwrap()) })).into_response()
}

fn all(content: &Content) -> Vec<Value> {
    let keys: std::collections::BTreeSet<_> =
        content.desired.keys().chain(content.reported.keys()).collect();
    keys.into_iter().filter_map(|key| shadow(content, key)).collect()
}

async fn read_shadow(
    Path((name, key)): Path<(String, String)>,
    State(content): State<Shared>,
) -> Response {
    if let Some(refusal) = unknown(&name) {
        return refusal;
    }
    match shadow(&content.lock().unwrap(), &key) {
        Some(shadow) => Json(shadow).into_response(),
        None => refuse(404, "unknown_shadow", &format!("{name} has no shadow {key}"), &Value::Null),
    }
}

async fn write(
    method: axum::http::Method,
    Path((name, key)): Path<(String, String)>,
    State(content): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refusal) = unknown(&name) {
        return refusal;
    }
    let mut content = content.lock().unwrap();
    let (version, before) = content.desired.get(&key).cloned().unwrap_or((0, json!({})));
    let matched = headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap().to_owned());
    let missing = headers.contains_key(header::IF_NONE_MATCH);
    if matched.is_some_and(|tag| tag != format!("\"{version}\"")) || (missing && version > 0) {
        let detail = json!({ "current": version });
        let message = format!("the desired half of {key} is at version {version}");
        return refuse(412, "version_conflict", &message, &detail);
    }
    if method == axum::http::Method::DELETE {
        content.desired.remove(&key);
        return StatusCode::NO_CONTENT.into_response();
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    if body.get("bad").is_some() {
        let detail = json!({"problems": [{"path": "services.web", "message": "needs an image"}]});
        return refuse(400, "invalid_app", "the app is refused", &detail);
    }
    let document = if method == axum::http::Method::PUT { body } else { merge(before, &body) };
    content.desired.insert(key.clone(), (version + 1, document));
    let status = if version == 0 { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(shadow(&content, &key).unwrap())).into_response()
}

/// A flat merge is enough here; the real one has its own tests.
fn merge(mut before: Value, patch: &Value) -> Value {
    for (name, value) in patch.as_object().unwrap() {
        before[name] = value.clone();
    }
    before
}

async fn apps(State(content): State<Shared>) -> Json<Value> {
    let content = content.lock().unwrap();
    let apps: Vec<Value> = content
        .desired
        .iter()
        .filter_map(|(key, (version, _))| {
            let app = key.strip_prefix("app/")?;
            Some(json!({
                "node": "site-1", "app": app, "desired_version": version,
                "revision": "0123456789abcdef0123456789abcdef",
                "status": content.reported.get(key),
            }))
        })
        .collect();
    Json(json!({ "apps": apps }))
}

async fn watch(State(content): State<Shared>) -> Response {
    let content = content.lock().unwrap();
    let mut text = content.watch.concat();
    if text.is_empty() {
        for shadow in all(&content) {
            write!(text, "event: shadow\ndata: {shadow}\n\n").unwrap();
        }
        text.push_str("event: synced\ndata: {}\n\n");
    }
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(text)]);
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response()
}
