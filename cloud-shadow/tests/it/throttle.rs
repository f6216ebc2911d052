//! Callers that ask for too much.

use gnomon_cloud::access::Rate;
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::access::token;
use crate::bench::{Api, Cloud, refused};

const PATH: &str = "/v1/nodes";

async fn ask(api: &Api) -> Response {
    api.request(Method::GET, PATH).send().await.unwrap()
}

/// Asks until it is refused, and says after how many.
async fn until_refused(api: &Api) -> (usize, Response) {
    for count in 0..100 {
        let response = ask(api).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return (count, response);
        }
    }
    panic!("it is never refused");
}

fn seconds(response: &Response) -> u64 {
    response.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again_and_others_go_on() {
    let slow = |config: &mut gnomon_cloud::config::Config| {
        config.rates.requests = Rate::new(1, 5);
    };
    let cloud = Cloud::in_dir(TempDir::new().unwrap(), slow).await;
    let about = json!({ "name": "a", "role": "viewer" });
    let (greedy, _) = token(&cloud.api, &about).await;
    let (other, _) = token(&cloud.api, &about).await;
    let (count, response) = until_refused(&greedy).await;
    assert!(count >= 5, "{count}");
    let wait = seconds(&response);
    assert!((1..=2).contains(&wait), "{wait}");
    let detail = refused(response, 429, "too_many_requests").await;
    assert_eq!(detail["retry_after_s"], wait);
    assert_eq!(ask(&other).await.status(), StatusCode::OK);
    for _ in 0..50 {
        assert_eq!(ask(&cloud.api).await.status(), StatusCode::OK, "the owner is not held up");
    }
    let began = std::time::Instant::now();
    while ask(&greedy).await.status() != StatusCode::OK {
        assert!(began.elapsed() < crate::bench::DEADLINE, "it is refused for ever");
    }
    let metrics = cloud.api.open(Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let name = "gnomon_cloud_throttled_requests_total{caller=\"token\"}";
    assert!(metrics.contains(name), "{metrics}");
    cloud.stop().await;
}

#[tokio::test]
async fn who_sends_too_much_is_refused_afterwards() {
    let slow = |config: &mut gnomon_cloud::config::Config| {
        config.rates.bytes = Rate::new(1000, 10_000);
    };
    let cloud = Cloud::in_dir(TempDir::new().unwrap(), slow).await;
    cloud.api.create("site-1").await;
    let (api, _) = token(&cloud.api, &json!({ "name": "a", "role": "publisher" })).await;
    let path = "/v1/nodes/site-1/shadows/node";
    let large = json!({ "fill": "x".repeat(20_000) });
    assert_eq!(api.patch(path, &large).await.status(), StatusCode::CREATED);
    let response = api.patch(path, &json!({ "n": 1 })).await;
    assert!(seconds(&response) >= 5, "ten of twenty thousand bytes are owed");
    refused(response, 429, "too_many_requests").await;
    assert!(cloud.api.get(path).await["desired"]["document"].get("n").is_none());
    cloud.stop().await;
}

#[tokio::test]
async fn strangers_of_one_address_are_held_up_together_and_who_is_known_is_not() {
    let slow = |config: &mut gnomon_cloud::config::Config| {
        config.rates.strangers = Rate::new(1, 5);
    };
    let cloud = Cloud::in_dir(TempDir::new().unwrap(), slow).await;
    let (count, response) = until_refused(&cloud.api.with_token("guessed")).await;
    assert!(count >= 5, "{count}");
    refused(response, 429, "too_many_requests").await;
    let enroll = cloud.api.open(Method::POST, "/v1/enroll").json(&json!({})).send().await.unwrap();
    assert_eq!(enroll.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(seconds(&enroll) >= 1);
    let signed = cloud.api.open(Method::GET, "/things/pump-7/shadow");
    let signed = signed.header("authorization", "AWS4-HMAC-SHA256 x").send().await.unwrap();
    assert_eq!(signed.headers()["x-amzn-errortype"], "ThrottlingException");
    assert!(seconds(&signed) >= 1);
    assert_eq!(ask(&cloud.api).await.status(), StatusCode::OK);
    cloud.stop().await;
}
