//! What Prometheus and supervisors are told.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::access::token;
use crate::bench::{Api, Cloud, DEADLINE, refused};
use crate::enrolment::join;
use crate::site::Machines;

const SHADOW: &str = "/v1/nodes/site-1/shadows/node";

async fn metrics(api: &Api) -> String {
    let response = api.open(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap()
}

/// The value of the line that begins so; zero if there is none.
fn value(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.map_or(0.0, |value| value.parse().unwrap())
}

async fn reaches(api: &Api, series: &str, wanted: f64) {
    let began = std::time::Instant::now();
    loop {
        let text = metrics(api).await;
        if (value(&text, series) - wanted).abs() < 0.5 {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{series} is not {wanted} in\n{text}");
    }
}

#[tokio::test]
async fn a_write_is_counted_at_every_stage_that_it_goes_through() {
    let cloud = Cloud::with_node().await;
    let before = metrics(&cloud.api).await;
    cloud.api.patch(SHADOW, &json!({ "a": 1 })).await;
    let stale = cloud.api.request(Method::PATCH, SHADOW).header("If-Match", "\"9\"");
    refused(stale.json(&json!({})).send().await.unwrap(), 412, "version_conflict").await;
    let strange = cloud.api.request("BREW".parse().unwrap(), "/coffee/with/milk");
    refused(strange.send().await.unwrap(), 404, "not_found").await;
    let after = metrics(&cloud.api).await;
    let grew = |series: &str| value(&after, series) - value(&before, series);
    let route = "route=\"/v1/nodes/{node}/shadows/{*key}\"";
    for (series, by) in [
        ("gnomon_cloud_commands_total{code=\"accepted\"}".to_owned(), 1.0),
        ("gnomon_cloud_commands_total{code=\"version_conflict\"}".to_owned(), 1.0),
        ("gnomon_cloud_stage_seconds_count{stage=\"commit\"}".to_owned(), 1.0),
        ("gnomon_cloud_commit_commands_sum".to_owned(), 1.0),
        (
            format!("gnomon_cloud_http_requests_total{{method=\"PATCH\",{route},status=\"201\"}}"),
            1.0,
        ),
        (
            format!("gnomon_cloud_http_requests_total{{method=\"PATCH\",{route},status=\"412\"}}"),
            1.0,
        ),
        (format!("gnomon_cloud_http_request_seconds_count{{{route}}}"), 2.0),
        (
            "gnomon_cloud_http_requests_total{method=\"other\",route=\"none\",status=\"404\"}"
                .to_owned(),
            1.0,
        ),
    ] {
        assert!((grew(&series) - by).abs() < 0.5, "{series} grew by {}\n{after}", grew(&series));
    }
    for series in [
        "gnomon_cloud_stage_seconds_count{stage=\"wait\"}",
        "gnomon_cloud_stage_seconds_count{stage=\"decide\"}",
        "gnomon_cloud_stage_seconds_count{stage=\"act\"}",
        "gnomon_cloud_commit_bytes_sum",
        "gnomon_cloud_http_bytes_total{direction=\"received\"}",
        "gnomon_cloud_http_bytes_total{direction=\"sent\"}",
    ] {
        assert!(grew(series) > 0.0, "{series} did not grow\n{after}");
    }
    assert!(!after.contains("milk"), "what clients make up is no label");
    cloud.stop().await;
}

#[tokio::test]
async fn who_waits_for_something_desired_is_named_until_it_has_it() {
    let cloud = Cloud::with_node().await;
    cloud.api.create("site-2").await;
    assert_eq!(cloud.api.get("/v1/lag").await, json!({ "behind": 0, "nodes": [] }));
    cloud.api.patch(SHADOW, &json!({ "a": 1 })).await;
    cloud.api.patch("/v1/nodes/site-2/shadows/node", &json!({ "a": 1 })).await;
    let lag = cloud.api.get("/v1/lag?limit=1").await;
    assert_eq!((&lag["behind"], &lag["nodes"][0]["node"]), (&json!(2), &json!("site-1")));
    assert_eq!(lag["nodes"][0]["online"], false);
    assert_eq!(lag["nodes"].as_array().unwrap().len(), 1);
    assert!(lag["nodes"][0]["lag_ms"].as_u64() < Some(60_000));
    reaches(&cloud.api, "gnomon_cloud_nodes_behind{longer_than=\"0s\"}", 2.0).await;

    let other = json!({ "name": "other", "role": "viewer", "labels": { "region": "north" } });
    let (other, _) = token(&cloud.api, &other).await;
    assert_eq!(other.get("/v1/lag").await["behind"], 0, "others are not told");

    let joined = join(&cloud.api, "site-1").await;
    let _site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    cloud.api.eventually("/v1/lag", |lag| lag["behind"] == 1).await;
    reaches(&cloud.api, "gnomon_cloud_nodes_behind{longer_than=\"0s\"}", 1.0).await;
    reaches(&cloud.api, "gnomon_cloud_sync_lag_seconds_count", 1.0).await;
    let text = metrics(&cloud.api).await;
    let sent =
        "gnomon_cloud_message_bytes_total{direction=\"sent\",kind=\"batch\",stream=\"desired\"}";
    assert!(value(&text, sent) > 0.0, "{text}");
    let cloud = cloud.restart().await;
    assert_eq!(cloud.api.get("/v1/lag").await["nodes"][0]["node"], "site-2", "it still waits");
    cloud.stop().await;
}

#[tokio::test]
async fn a_cloud_that_is_well_says_what_it_has_looked_at() {
    let cloud = Cloud::start().await;
    let ready = cloud.api.get("/readyz").await;
    let checks = json!({
        "broker": "ok", "certificates": "ok", "clock": "ok", "core": "ok", "disk": "ok",
        "store": "ok",
    });
    let expected = json!({ "ready": true, "status": "ok", "reasons": [], "checks": checks });
    assert_eq!(ready, expected);
    let text = metrics(&cloud.api).await;
    assert!(value(&text, "gnomon_cloud_store_bytes") > 0.0);
    assert!(value(&text, "gnomon_cloud_disk_free_bytes") > 0.0);
    let in_ten_years = "gnomon_cloud_certificate_expiry_seconds{certificate=\"server\"}";
    assert!(value(&text, in_ten_years) > 2_000_000_000.0, "{text}");
    cloud.stop().await;
}

#[tokio::test]
async fn a_disk_that_fills_and_a_certificate_that_runs_out_are_reasons_and_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["cloud.example".to_owned()]).unwrap();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_hours(5 * 24 + 1);
    params.not_after = soon.into();
    let pem = params.self_signed(&key).unwrap().pem();
    let files = gnomon_cloud::config::TlsFiles {
        certificate: dir.path().join("given.pem"),
        key: dir.path().join("given-key.pem"),
    };
    std::fs::write(&files.certificate, pem).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::in_dir(data, |config| {
        config.health.min_free = u64::MAX;
        config.https = Some("127.0.0.1:0".parse().unwrap());
        config.https_files = Some(files);
    })
    .await;
    let ready = cloud.api.get("/readyz").await;
    assert_eq!((&ready["ready"], &ready["status"]), (&json!(true), &json!("degraded")));
    let codes: BTreeSet<_> = ready["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, BTreeSet::from(["certificate_expires", "disk_low"]));
    let message = ready["reasons"].to_string();
    assert!(message.contains("in 5 days") && message.contains("tls_certificate"), "{message}");
    let text = metrics(&cloud.api).await;
    assert!(value(&text, "gnomon_cloud_check_ok{check=\"disk\"}") < 0.5);
    assert!(value(&text, "gnomon_cloud_check_ok{check=\"core\"}") > 0.5);
    cloud.stop().await;
}

/// What the page explains, and what a cloud with some traffic shows.
#[tokio::test]
async fn every_metric_of_a_running_cloud_is_on_the_page() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "a": 1 })).await;
    let joined = join(&cloud.api, "site-1").await;
    let _site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    cloud.api.eventually("/v1/nodes/site-1", |node: &Value| node["in_sync"] == true).await;
    cloud.api.get("/readyz").await;
    let text = metrics(&cloud.api).await;
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let shown = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: Vec<_> = shown.filter_map(|line| line.split_once(' ')).collect();
    assert!(shown.len() > 30, "only {} metrics", shown.len());
    let form = |(name, kind): &(&str, &str)| match *kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => (*name).to_owned(),
    };
    let missing: Vec<_> =
        shown.iter().map(form).filter(|name| !page.contains(&format!("| `{name}`"))).collect();
    assert!(missing.is_empty(), "docs/operations.md has no line of {missing:#?}");
    cloud.stop().await;
}
