//! How a node gets its certificate.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Method, StatusCode};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};

use crate::bench::{Api, Cloud, refused};

/// What a node has after it has joined, each in PEM.
pub(crate) struct Joined {
    pub(crate) key: String,
    pub(crate) certificate: String,
    pub(crate) ca: String,
}

pub(crate) fn request(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

pub(crate) async fn token(api: &Api, node: &str) -> String {
    let path = format!("/v1/nodes/{node}/join-tokens");
    let response = api.request(Method::POST, &path).json(&json!({})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["node"], node);
    body["token"].as_str().unwrap().to_owned()
}

async fn enroll(api: &Api, token: &str, csr_pem: &str) -> reqwest::Response {
    let body = json!({ "token": token, "csr_pem": csr_pem });
    api.open(Method::POST, "/v1/enroll").json(&body).send().await.unwrap()
}

pub(crate) async fn join(api: &Api, node: &str) -> Joined {
    let key = KeyPair::generate().unwrap();
    let response = enroll(api, &token(api, node).await, &request(&key)).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["node"], &body["server_name"]), (&json!(node), &json!("gnomon-cloud")));
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let (certificate, ca) = (text("certificate_pem"), text("ca_pem"));
    Joined { key: key.serialize_pem(), certificate, ca }
}

#[tokio::test]
async fn a_joined_node_has_a_certificate_that_the_authority_vouches_for() {
    let cloud = Cloud::with_node().await;
    let joined = join(&cloud.api, "site-1").await;
    let leaf = CertificateDer::from_pem_slice(joined.certificate.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(joined.ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.build().unwrap().verify_client_cert(&leaf, &[], UnixTime::now()).unwrap();
    cloud.stop().await;
}

#[tokio::test]
async fn a_join_token_buys_one_certificate_also_across_a_restart() {
    let cloud = Cloud::with_node().await;
    let (used, unused) = (token(&cloud.api, "site-1").await, token(&cloud.api, "site-1").await);
    let csr = request(&KeyPair::generate().unwrap());
    refused(enroll(&cloud.api, &used, "no request").await, 400, "bad_request").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (api, used, csr) = (cloud.api.clone(), used.clone(), csr.clone());
        tasks.spawn(async move { enroll(&api, &used, &csr).await.status() });
    }
    let statuses = tasks.join_all().await;
    let won = statuses.iter().filter(|status| **status == StatusCode::CREATED).count();
    assert_eq!(won, 1, "{statuses:?}");
    let cloud = cloud.restart().await;
    refused(enroll(&cloud.api, &used, &csr).await, 401, "unauthorized").await;
    refused(enroll(&cloud.api, "guessed", &csr).await, 401, "unauthorized").await;
    assert_eq!(enroll(&cloud.api, &unused, &csr).await.status(), StatusCode::CREATED);
    cloud.stop().await;
}

#[tokio::test]
async fn a_token_without_its_node_is_worth_nothing() {
    let cloud = Cloud::with_node().await;
    let token = token(&cloud.api, "site-1").await;
    cloud.api.request(Method::DELETE, "/v1/nodes/site-1").send().await.unwrap();
    let csr = request(&KeyPair::generate().unwrap());
    refused(enroll(&cloud.api, &token, &csr).await, 401, "unauthorized").await;
    let path = "/v1/nodes/nobody/join-tokens";
    let unknown = cloud.api.request(Method::POST, path).json(&json!({})).send().await.unwrap();
    refused(unknown, 404, "unknown_node").await;
    let path = "/v1/nodes/site-1/join-tokens";
    let long = json!({ "ttl_s": 100_000_000 });
    let long = cloud.api.request(Method::POST, path).json(&long).send().await.unwrap();
    refused(long, 400, "bad_request").await;
    cloud.stop().await;
}
