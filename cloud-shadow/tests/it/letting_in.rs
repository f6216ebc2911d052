//! Nodes that wait for an operator, that renew their certificates, and that are shut out.

use rcgen::KeyPair;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::access::token;
use crate::bench::{Api, Cloud, refused};
use crate::enrolment::{Joined, join, request};
use crate::site::Machines;

async fn waiting_room(dir: TempDir) -> Cloud {
    let open = |config: &mut gnomon_cloud::config::Config| {
        config.enrolment.approve_unknown = true;
        config.enrolment.pending = 2;
    };
    Cloud::in_dir(dir, open).await
}

async fn knock(api: &Api, node: &str, key: &KeyPair) -> Response {
    let body = json!({ "node": node, "csr_pem": request(key) });
    api.open(Method::POST, "/v1/enroll").json(&body).send().await.unwrap()
}

async fn decide(api: &Api, id: &str, how: &str, body: &Value) -> Response {
    let path = format!("/v1/pending/{id}/{how}");
    api.request(Method::POST, &path).json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_node_without_a_token_waits_until_an_operator_lets_it_in() {
    let cloud = waiting_room(TempDir::new().unwrap()).await;
    let key = KeyPair::generate().unwrap();
    let response = knock(&cloud.api, "pump-1", &key).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert!(response.headers().contains_key("retry-after"));
    let told: Value = response.json().await.unwrap();
    let id = told["pending"].as_str().unwrap().to_owned();
    let cloud = waiting_room(cloud.stop().await).await;
    let listed = cloud.api.get("/v1/pending").await;
    assert_eq!(listed["pending"][0]["id"], id);
    assert_eq!(listed["pending"][0]["key_sha256"], told["key_sha256"]);
    assert_eq!(listed["pending"][0]["state"], "undecided");
    let known = cloud.api.request(Method::GET, "/v1/nodes/pump-1").send().await.unwrap();
    refused(known, 404, "unknown_node").await;

    let home = json!({ "tenant": "acme", "labels": { "region": "north" } });
    let approved = decide(&cloud.api, &id, "approve", &home).await;
    assert_eq!(approved.status(), StatusCode::NO_CONTENT);
    let stranger = KeyPair::generate().unwrap();
    let other = knock(&cloud.api, "pump-1", &stranger).await;
    assert_eq!(other.status(), StatusCode::ACCEPTED, "the key was approved, not the name");
    let joined: Value = knock(&cloud.api, "pump-1", &key).await.json().await.unwrap();
    let again: Value = knock(&cloud.api, "pump-1", &key).await.json().await.unwrap();
    assert!(joined["certificate_pem"].is_string());
    assert_eq!(joined["certificate_pem"], again["certificate_pem"], "the answer may get lost");
    let node = cloud.api.get("/v1/nodes/pump-1").await;
    assert_eq!((&node["tenant"], &node["labels"]), (&home["tenant"], &home["labels"]));
    let late = decide(&cloud.api, &id, "deny", &json!({})).await;
    refused(late, 404, "nobody_waits").await;
    let other = knock(&cloud.api, "pump-1", &stranger).await;
    assert!(!other.status().is_success() || other.status() == StatusCode::ACCEPTED);

    cloud.api.request(Method::DELETE, "/v1/nodes/pump-1").send().await.unwrap();
    let anew = knock(&cloud.api, "pump-1", &key).await;
    assert_eq!(anew.status(), StatusCode::ACCEPTED, "a node that was deleted waits anew");
    cloud.stop().await;
}

#[tokio::test]
async fn the_queue_has_an_end_and_who_is_denied_stays_out() {
    let cloud = waiting_room(TempDir::new().unwrap()).await;
    let keys: Vec<KeyPair> = (0..3).map(|_| KeyPair::generate().unwrap()).collect();
    let first: Value = knock(&cloud.api, "a", &keys[0]).await.json().await.unwrap();
    assert_eq!(knock(&cloud.api, "b", &keys[1]).await.status(), StatusCode::ACCEPTED);
    refused(knock(&cloud.api, "c", &keys[2]).await, 409, "limit_reached").await;
    let id = first["pending"].as_str().unwrap();
    assert_eq!(decide(&cloud.api, id, "deny", &json!({})).await.status(), StatusCode::NO_CONTENT);
    refused(knock(&cloud.api, "a", &keys[0]).await, 403, "forbidden").await;
    refused(decide(&cloud.api, "nobody", "deny", &json!({})).await, 404, "nobody_waits").await;
    let log = cloud.api.get("/v1/audit").await;
    assert_eq!(log["entries"][0]["action"], "node.deny");
    cloud.stop().await;
    let closed = Cloud::start().await;
    refused(knock(&closed.api, "a", &keys[0]).await, 401, "unauthorized").await;
    closed.stop().await;
}

pub(crate) async fn renew(api: &Api, key: &KeyPair) -> Response {
    let body = json!({ "csr_pem": request(key) });
    api.open(Method::POST, "/v1/renew").json(&body).send().await.unwrap()
}

pub(crate) async fn renewed(cloud: &Cloud, present: &Joined) -> Joined {
    let key = KeyPair::generate().unwrap();
    let response = renew(&cloud.secure(Some(present)), &key).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let body: Value = response.json().await.unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let (certificate, ca) = (text("certificate_pem"), text("ca_pem"));
    Joined { key: key.serialize_pem(), certificate, ca }
}

/// Connects, and waits until the cloud sees the node.
pub(crate) async fn visit(cloud: &Cloud, joined: &Joined) {
    let site = Machines::new("site-1").connect(cloud.mqtt(), joined);
    cloud.api.eventually("/v1/nodes/site-1", |node| node["online"] == true).await;
    site.leave().await;
    cloud.api.eventually("/v1/nodes/site-1", |node| node["online"] == false).await;
}

#[tokio::test]
async fn a_certificate_renews_itself_and_the_old_one_lasts_until_the_new_one_is_used() {
    let cloud = Cloud::with_https(TempDir::new().unwrap()).await;
    cloud.api.create("site-1").await;
    let old = join(&cloud.api, "site-1").await;
    let lost = renewed(&cloud, &old).await;
    let new = renewed(&cloud, &old).await;
    visit(&cloud, &old).await;
    let cloud = Cloud::with_https(cloud.stop().await).await;
    let key = KeyPair::generate().unwrap();
    let refusal = renew(&cloud.secure(Some(&lost)), &key).await;
    refused(refusal, 401, "unauthorized").await;
    visit(&cloud, &new).await;
    // The core is told right behind the connection; a session in between changes nothing.
    let began = std::time::Instant::now();
    while renew(&cloud.secure(Some(&old)), &key).await.status() != StatusCode::UNAUTHORIZED {
        assert!(began.elapsed() < crate::bench::DEADLINE, "the old one stays good");
    }
    renewed(&cloud, &new).await;
    for nobody in [cloud.secure(None), cloud.api.clone()] {
        refused(renew(&nobody, &key).await, 401, "unauthorized").await;
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_node_that_is_revoked_is_out_at_once_and_stays_out() {
    let cloud = Cloud::with_https(TempDir::new().unwrap()).await;
    cloud.api.create("site-1").await;
    cloud.api.patch("/v1/nodes/site-1/shadows/node", &json!({ "kept": true })).await;
    let joined = join(&cloud.api, "site-1").await;
    let unused = crate::enrolment::token(&cloud.api, "site-1").await;
    let site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    cloud.api.eventually("/v1/nodes/site-1", |node| node["online"] == true).await;
    let (viewer, _) = token(&cloud.api, &json!({ "name": "v", "role": "publisher" })).await;
    let path = "/v1/nodes/site-1/revoke";
    refused(viewer.request(Method::POST, path).send().await.unwrap(), 403, "forbidden").await;
    let revoked = cloud.api.request(Method::POST, path).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    // The broker ends the connection by itself.
    site.ended().await;
    assert_eq!(cloud.api.get("/v1/nodes/site-1").await["online"], false);
    let cloud = Cloud::with_https(cloud.stop().await).await;
    let again = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    again.ended().await;
    let node = cloud.api.get("/v1/nodes/site-1").await;
    assert_eq!((&node["online"], &node["shadows"]), (&json!(false), &json!(1)));
    let key = KeyPair::generate().unwrap();
    refused(renew(&cloud.secure(Some(&joined)), &key).await, 401, "unauthorized").await;
    let body = json!({ "token": unused, "csr_pem": request(&key) });
    let late = cloud.api.open(Method::POST, "/v1/enroll").json(&body).send().await.unwrap();
    refused(late, 401, "unauthorized").await;
    visit(&cloud, &join(&cloud.api, "site-1").await).await;
    cloud.stop().await;
}

#[tokio::test]
async fn what_the_cloud_counts_is_open_to_this_machine_and_not_to_the_world() {
    let cloud = Cloud::with_https(TempDir::new().unwrap()).await;
    let here = cloud.api.open(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(here.status(), StatusCode::OK);
    let secure = cloud.secure(None);
    let nobody = secure.open(Method::GET, "/metrics").send().await.unwrap();
    refused(nobody, 401, "unauthorized").await;
    let about = json!({ "name": "acme", "role": "admin", "tenant": "acme" });
    let (tenant, _) = token(&secure, &about).await;
    let some = tenant.request(Method::GET, "/metrics").send().await.unwrap();
    refused(some, 403, "forbidden").await;
    let (viewer, _) = token(&secure, &json!({ "name": "prometheus", "role": "viewer" })).await;
    let all = viewer.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(all.status(), StatusCode::OK);
    cloud.stop().await;
}
