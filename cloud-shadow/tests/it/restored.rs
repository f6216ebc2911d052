//! Who is let in after a backup was put back, and after a certificate has run out.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::backup::{backup, gnomon, said};
use crate::bench::{Cloud, refused};
use crate::enrolment::{Joined, join};
use crate::letting_in::{renew, renewed, visit};
use crate::site::Machines;

/// What a cloud and its nodes had when it was stopped.
struct Before {
    dir: TempDir,
    backup: PathBuf,
    /// What site-1 got for its certificate after the backup was made.
    renewed: Joined,
    /// Of a node that was made after the backup.
    late: Joined,
}

async fn before(files: &TempDir) -> Before {
    let file = files.path().join("backup");
    let cloud = Cloud::with_https(TempDir::new().unwrap()).await;
    cloud.api.create("site-1").await;
    let joined = join(&cloud.api, "site-1").await;
    said(&backup(cloud.dir.path(), &file).await);
    let renewed = renewed(&cloud, &joined).await;
    visit(&cloud, &renewed).await;
    cloud.api.create("late-1").await;
    let late = join(&cloud.api, "late-1").await;
    Before { dir: cloud.stop().await, backup: file, renewed, late }
}

async fn asks(cloud: &Cloud, shown: &Joined) -> Response {
    renew(&cloud.secure(Some(shown)), &KeyPair::generate().unwrap()).await
}

async fn learnt(cloud: &Cloud) -> Vec<Value> {
    let mut log = cloud.api.get("/v1/audit?action=node.learn").await;
    log["entries"].as_array_mut().unwrap().drain(..).map(|mut it| it["target"].take()).collect()
}

/// Ends by itself, since the broker does not let it in.
async fn is_out(cloud: &Cloud, node: &str, shown: &Joined) {
    Machines::new(node).connect(cloud.mqtt(), shown).ended().await;
    refused(asks(cloud, shown).await, 401, "unauthorized").await;
}

#[tokio::test]
async fn after_a_restore_nodes_come_in_with_what_they_got_since_until_they_are_revoked() {
    let files = TempDir::new().unwrap();
    let Before { dir, backup, renewed: shown, late } = before(&files).await;
    let output = gnomon(&["restore", backup.to_str().unwrap(), "--replace"], dir.path());
    let window = said(&output)["later_certificates"].take();
    let age = window["until_s"].as_u64().unwrap() - window["from_s"].as_u64().unwrap();
    assert!(age < 60, "{window}");
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(talk.contains("gnomon audit --action node.learn"), "{talk}");
    let cloud = Cloud::with_https(dir).await;
    visit(&cloud, &shown).await;
    // The core is told right behind the connection.
    let began = std::time::Instant::now();
    while learnt(&cloud).await != ["site-1"] {
        assert!(began.elapsed() < crate::bench::DEADLINE, "it is not learnt");
    }
    is_out(&cloud, "late-1", &late).await;
    let cloud = Cloud::with_https(cloud.stop().await).await;
    let again = renewed(&cloud, &shown).await;
    visit(&cloud, &again).await;
    let revoke = cloud.api.request(Method::POST, "/v1/nodes/site-1/revoke").send().await.unwrap();
    assert_eq!(revoke.status(), StatusCode::NO_CONTENT);
    let cloud = Cloud::with_https(cloud.stop().await).await;
    for void in [&shown, &again] {
        is_out(&cloud, "site-1", void).await;
    }
    assert_eq!(learnt(&cloud).await, ["site-1"], "once");
    cloud.stop().await;
}

#[tokio::test]
async fn a_node_that_first_renews_after_a_restore_is_known_by_what_it_shows() {
    let files = TempDir::new().unwrap();
    let Before { dir, backup, renewed: shown, .. } = before(&files).await;
    said(&gnomon(&["restore", backup.to_str().unwrap(), "--replace"], dir.path()));
    let cloud = Cloud::with_https(dir).await;
    let again = renewed(&cloud, &shown).await;
    assert_eq!(learnt(&cloud).await, ["site-1"]);
    visit(&cloud, &again).await;
    cloud.stop().await;
}

#[tokio::test]
async fn a_restore_that_refuses_later_certificates_lets_nobody_in_with_them() {
    let files = TempDir::new().unwrap();
    let Before { dir, backup, renewed: shown, .. } = before(&files).await;
    let restore = ["restore", backup.to_str().unwrap(), "--replace"];
    let refuse = [&restore[..], &["--later-certificates", "refuse"]].concat();
    assert_eq!(said(&gnomon(&refuse, dir.path()))["later_certificates"], Value::Null);
    let cloud = Cloud::with_https(dir).await;
    is_out(&cloud, "site-1", &shown).await;
    assert_eq!(learnt(&cloud).await, [Value::Null; 0]);
    cloud.stop().await;
}

#[tokio::test]
async fn a_node_that_was_made_after_the_backup_waits_for_an_operator_where_that_is_allowed() {
    let files = TempDir::new().unwrap();
    let Before { dir, backup, late, .. } = before(&files).await;
    said(&gnomon(&["restore", backup.to_str().unwrap(), "--replace"], dir.path()));
    let open = |config: &mut gnomon_cloud::config::Config| config.enrolment.approve_unknown = true;
    let cloud = Cloud::in_dir(dir, open).await;
    Machines::new("late-1").connect(cloud.mqtt(), &late).ended().await;
    let pending = cloud.api.eventually("/v1/pending", |it| !it["pending"][0].is_null()).await;
    assert_eq!(pending["pending"][0]["node"], "late-1");
    let path = format!("/v1/pending/{}/approve", pending["pending"][0]["id"].as_str().unwrap());
    let home = serde_json::json!({ "tenant": "acme" });
    let approved = cloud.api.request(Method::POST, &path).json(&home).send().await.unwrap();
    assert_eq!(approved.status(), StatusCode::NO_CONTENT);
    let site = Machines::new("late-1").connect(cloud.mqtt(), &late);
    let node = cloud.api.eventually("/v1/nodes/late-1", |node| node["online"] == true).await;
    assert_eq!(node["tenant"], "acme");
    site.leave().await;
    cloud.stop().await;
}

async fn short_lived(dir: TempDir, grace: Duration) -> Cloud {
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let tune = |config: &mut gnomon_cloud::config::Config| {
        config.https = Some(any);
        config.enrolment.certificate_life = Duration::from_secs(3);
        config.core.domain.expired_grace = grace;
    };
    Cloud::in_dir(dir, tune).await
}

/// Returns when a certificate has run out that was made before and lives for three seconds.
async fn until_late() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let left = Duration::from_secs(now.as_secs() + 5).saturating_sub(now);
    drop(tokio::time::timeout(left, std::future::pending::<()>()).await);
}

#[tokio::test]
async fn a_certificate_that_has_run_out_buys_a_new_one_and_nothing_else() {
    let cloud = short_lived(TempDir::new().unwrap(), Duration::from_hours(1)).await;
    cloud.api.create("site-1").await;
    let joined = join(&cloud.api, "site-1").await;
    until_late().await;
    Machines::new("site-1").connect(cloud.mqtt(), &joined).ended().await;
    let fresh = renewed(&cloud, &joined).await;
    visit(&cloud, &fresh).await;
    let cloud = short_lived(cloud.stop().await, Duration::ZERO).await;
    let secure = cloud.secure(Some(&joined));
    let body = serde_json::json!({ "csr_pem": "" });
    let refusal = secure.open(Method::POST, "/v1/renew").json(&body).send().await;
    assert!(refusal.is_err(), "{refusal:?}");
    cloud.stop().await;
}
