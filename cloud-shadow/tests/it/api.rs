//! Nodes and shadows through the API, and everything that it refuses.

use reqwest::header::{ALLOW, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bench::{Cloud, ageless, refused};

const NODE: &str = "/v1/nodes/site-1/shadows/node";

#[tokio::test]
async fn a_node_is_created_relabelled_listed_and_deleted() {
    let cloud = Cloud::with_node().await;
    let labels = json!({ "labels": { "region": "north" } });
    let put = cloud.api.request(Method::PUT, "/v1/nodes/site-1").json(&labels);
    let response = put.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let node = cloud.api.get("/v1/nodes/site-1").await;
    assert_eq!(node["labels"]["region"], "north");
    assert_eq!((&node["online"], &node["since_ms"]), (&json!(false), &Value::Null));
    assert_eq!(node["down"]["acked"], Value::Null);
    assert_eq!(cloud.api.get("/v1/nodes").await["nodes"], json!([node]));
    let delete = cloud.api.request(Method::DELETE, "/v1/nodes/site-1").send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::NO_CONTENT);
    assert_eq!(cloud.api.get("/v1/nodes").await["nodes"], json!([]));
    cloud.stop().await;
}

/// The names that a listing has, page by page, and how many pages that were.
async fn listed(cloud: &Cloud, query: &str) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let page = cloud.api.get(&format!("/v1/nodes?{query}{after}")).await;
        let nodes = page["nodes"].as_array().unwrap().iter();
        names.extend(nodes.map(|node| node["name"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { return (names, pages) };
        after = format!("&after={next}");
    }
}

#[tokio::test]
async fn nodes_are_listed_by_label_pool_and_presence_page_by_page() {
    let cloud = Cloud::with_node().await;
    for n in 2..=25 {
        let region = if n % 2 == 0 { "north" } else { "south" };
        let mut node = json!({ "labels": { "region": region, "size": "s" } });
        if n % 5 == 0 {
            node["pool"] = json!("pumps");
        }
        let path = format!("/v1/nodes/site-{n}");
        let made = cloud.api.request(Method::PUT, &path).json(&node).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED);
    }
    let (all, pages) = listed(&cloud, "").await;
    assert!(all.len() == 25 && all.is_sorted() && pages == 1, "{all:?} in {pages}");
    let (some, pages) = listed(&cloud, "limit=7").await;
    assert_eq!((some, pages), (all, 4));
    let (north, pages) = listed(&cloud, "label=region=north&label=size=s&limit=5").await;
    assert!(north.len() == 12 && pages >= 3, "{north:?} in {pages}");
    assert_eq!(listed(&cloud, "label=region=north&pool=pumps").await.0, ["site-10", "site-20"]);
    assert_eq!(listed(&cloud, "online=true").await.0, [""; 0]);
    assert_eq!(listed(&cloud, "online=false&limit=10000").await.0.len(), 25);
    assert_eq!(listed(&cloud, "tenant=nobodys").await.0, [""; 0]);
    for bad in
        ["limit=0", "limit=10001", "label=region", "label=a=1&label=a=2", "online=yes", "x=1"]
    {
        let path = format!("/v1/nodes?{bad}");
        let response = cloud.api.request(Method::GET, &path).send().await.unwrap();
        refused(response, 400, "bad_request").await;
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_patch_makes_and_changes_a_shadow() {
    let cloud = Cloud::with_node().await;
    let created = cloud.api.patch(NODE, &json!({ "rate": 1, "unit": "s" })).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.headers()[ETAG], "\"1\"");
    let changed = cloud.api.patch(NODE, &json!({ "rate": 2, "unit": null })).await;
    assert_eq!(changed.status(), StatusCode::OK);
    let shadow: Value = ageless(changed.json().await.unwrap());
    let expected = json!({
        "node": "site-1", "key": "node", "version": 2,
        "desired": { "version": 2, "document": { "rate": 2 } },
        "reported": null, "delta": null,
    });
    assert_eq!(shadow, expected);
    assert_eq!(ageless(cloud.api.get(NODE).await), expected);
    let mut all = cloud.api.get("/v1/nodes/site-1/shadows").await;
    assert_eq!(all["shadows"].as_array().unwrap().len(), 1);
    assert_eq!(ageless(all["shadows"][0].take()), expected);
    cloud.stop().await;
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(NODE, &json!({ "a": 1 })).await;
    let before = ageless(cloud.api.get(NODE).await);
    let write = |method: Method| cloud.api.request(method, NODE).json(&json!({ "a": 2 }));
    for request in [
        write(Method::PATCH).header(IF_MATCH, "\"7\""),
        write(Method::PUT).header(IF_NONE_MATCH, "*"),
        write(Method::DELETE).header(IF_MATCH, "\"0\""),
    ] {
        let detail = refused(request.send().await.unwrap(), 412, "version_conflict").await;
        assert_eq!(detail["current"], 1);
    }
    let bad = write(Method::PATCH).header(IF_MATCH, "7").send().await.unwrap();
    refused(bad, 400, "bad_precondition").await;
    assert_eq!(ageless(cloud.api.get(NODE).await), before);
    let good = write(Method::PUT).header(IF_MATCH, "\"1\"").send().await.unwrap();
    assert_eq!(good.status(), StatusCode::OK);
    let delete = cloud.api.request(Method::DELETE, NODE).header(IF_MATCH, "\"2\"");
    assert_eq!(delete.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let gone = cloud.api.request(Method::GET, NODE).send().await.unwrap();
    refused(gone, 404, "unknown_shadow").await;
    cloud.stop().await;
}

#[tokio::test]
async fn who_prefers_no_more_gets_the_version_alone() {
    let cloud = Cloud::with_node().await;
    let before = cloud.api.get("/v1/nodes/site-1/shadows").await;
    assert_eq!(before["shadows"], json!([]));
    for (method, version) in [(Method::PATCH, "\"1\""), (Method::PUT, "\"2\"")] {
        let write = cloud.api.request(method, NODE).header("Prefer", "return=minimal");
        let done = write.json(&json!({ "n": version })).send().await.unwrap();
        assert_eq!(done.status(), StatusCode::NO_CONTENT);
        assert_eq!(done.headers()["etag"], version);
        assert_eq!(done.headers()["preference-applied"], "return=minimal");
        assert_eq!(done.bytes().await.unwrap(), "");
        assert_eq!(cloud.api.get(NODE).await["desired"]["document"]["n"], version);
    }
    let refused_all_the_same = cloud.api.request(Method::PATCH, NODE).header(IF_MATCH, "\"1\"");
    let write = refused_all_the_same.header("Prefer", "return=minimal").json(&json!({ "n": 3 }));
    refused(write.send().await.unwrap(), 412, "version_conflict").await;
    cloud.stop().await;
}

const WRITERS: usize = 250;

#[tokio::test]
async fn of_many_writers_exactly_one_wins_each_version() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(NODE, &json!({ "n": 0 })).await;
    for version in 1..4 {
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let api = cloud.api.clone();
            tasks.spawn(async move {
                let patch = json!({ "n": version, "writer": writer });
                let request = api.request(Method::PATCH, NODE).json(&patch);
                let request = request.header(IF_MATCH, format!("\"{version}\""));
                request.send().await.unwrap().status()
            });
        }
        let statuses = tasks.join_all().await;
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!(count(StatusCode::OK), 1);
        assert_eq!(count(StatusCode::PRECONDITION_FAILED), WRITERS - 1);
    }
    assert_eq!(cloud.api.get(NODE).await["desired"]["version"], 4);
    cloud.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(NODE, &json!({ "a": 1 })).await;
    cloud.api.patch("/v1/nodes/site-1/shadows/device/pump:1/limits", &json!({ "b": [1] })).await;
    let gone = "/v1/nodes/site-1/shadows/device/gone";
    cloud.api.patch(gone, &json!({})).await;
    cloud.api.request(Method::DELETE, gone).send().await.unwrap();
    let list = async |cloud: &Cloud| {
        let mut all = cloud.api.get("/v1/nodes/site-1/shadows").await;
        let shadows = all["shadows"].as_array_mut().unwrap();
        shadows.iter_mut().map(|shadow| ageless(shadow.take())).collect::<Vec<_>>()
    };
    let shadows = list(&cloud).await;
    let epoch = cloud.api.get("/v1/nodes/site-1").await["down"]["epoch"].take();
    let cloud = cloud.restart().await;
    assert_eq!(list(&cloud).await, shadows);
    assert_eq!(cloud.api.get("/v1/nodes/site-1").await["down"]["epoch"], epoch);
    let back: Value = cloud.api.patch(gone, &json!({})).await.json().await.unwrap();
    assert_eq!(back["version"], 3, "a deleted shadow goes on counting");
    cloud.stop().await;
}

#[tokio::test]
async fn apps_are_checked_and_listed() {
    let cloud = Cloud::with_node().await;
    let app = "/v1/nodes/site-1/shadows/app/web";
    let bad =
        json!({ "services": { "web": { "image": "nginx:1", "depends_on": { "db": "started" } } } });
    let detail = refused(cloud.api.patch(app, &bad).await, 400, "invalid_app").await;
    let problem = &detail["problems"][0];
    assert!(problem["path"].as_str().unwrap().contains("depends_on"), "{detail}");
    let shape = json!({ "services": { "web": { "imagee": "nginx" } } });
    let detail = refused(cloud.api.patch(app, &shape).await, 400, "invalid_app").await;
    assert!(detail["problems"][0]["message"].as_str().unwrap().contains("imagee"), "{detail}");
    assert_eq!(cloud.api.get("/v1/apps").await["apps"], json!([]));

    let good = json!({ "services": { "web": { "image": "nginx:1" } } });
    assert_eq!(cloud.api.patch(app, &good).await.status(), StatusCode::CREATED);
    let apps = cloud.api.get("/v1/apps?node=site-1").await;
    let row = &apps["apps"][0];
    assert_eq!((&row["app"], &row["desired_version"]), (&json!("web"), &json!(1)));
    assert!(row["revision"].is_string() && row["status"].is_null(), "{row}");
    let unknown = cloud.api.request(Method::GET, "/v1/apps?node=nobody").send().await.unwrap();
    refused(unknown, 404, "unknown_node").await;
    cloud.stop().await;
}

#[tokio::test]
async fn bad_bodies_are_refused_with_the_place() {
    let cloud = Cloud::with_node().await;
    let patch = |body: String| {
        let request = cloud.api.request(Method::PATCH, NODE);
        request.header(CONTENT_TYPE, "application/merge-patch+json").body(body).send()
    };
    refused(patch("{".to_owned()).await.unwrap(), 400, "invalid_json").await;
    refused(patch("{\"a\":1,\"a\":2}".to_owned()).await.unwrap(), 400, "invalid_json").await;
    refused(patch("[]".to_owned()).await.unwrap(), 400, "invalid_document").await;
    let null = patch("{\"a\":{\"b\":[null]}}".to_owned()).await.unwrap();
    assert_eq!(refused(null, 400, "invalid_document").await["at"], "/a/b/0");
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(300_000));
    refused(patch(large).await.unwrap(), 413, "too_large").await;
    let larger = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000_000));
    refused(patch(larger).await.unwrap(), 413, "too_large").await;
    let form = cloud.api.request(Method::PATCH, NODE).body("a=1");
    let form = form.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    refused(form.send().await.unwrap(), 415, "unsupported_media_type").await;
    let text = cloud.api.request(Method::PUT, NODE).header(CONTENT_TYPE, "text/plain").body("{}");
    refused(text.send().await.unwrap(), 415, "unsupported_media_type").await;
    assert_eq!(cloud.api.get("/v1/nodes/site-1").await["shadows"], 0);
    cloud.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let cloud = Cloud::with_node().await;
    let get = |path: &'static str| cloud.api.request(Method::GET, path).send();
    refused(get("/v1/nodes/nobody").await.unwrap(), 404, "unknown_node").await;
    refused(get("/v1/nodes/nobody/shadows").await.unwrap(), 404, "unknown_node").await;
    refused(get("/v1/nodes/site-1/shadows/node").await.unwrap(), 404, "unknown_shadow").await;
    refused(get("/v1/nodes/Bad_Name").await.unwrap(), 400, "bad_request").await;
    refused(get("/v1/nodes/site-1/shadows/pod/x").await.unwrap(), 400, "bad_request").await;
    refused(get("/v1/nodes/site-1/shadows/app/%ff").await.unwrap(), 400, "bad_request").await;
    refused(get("/v1/apps?nod=site-1").await.unwrap(), 400, "bad_request").await;
    refused(get("/v1/nothing").await.unwrap(), 404, "not_found").await;
    refused(get("/").await.unwrap(), 404, "not_found").await;
    let wrong = cloud.api.request(Method::POST, "/v1/nodes").json(&json!({})).send().await.unwrap();
    assert_eq!(wrong.headers()[ALLOW], "GET,HEAD");
    refused(wrong, 405, "method_not_allowed").await;
    cloud.stop().await;
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let cloud = Cloud::with_node().await;
    for path in ["/v1/nodes", "/v1/nodes/site-1", "/v1/watch", "/v1/nothing", "/v1/enroll/x"] {
        let open = cloud.api.open(Method::GET, path).send().await.unwrap();
        refused(open, 401, "unauthorized").await;
        let wrong = cloud.api.open(Method::GET, path).bearer_auth("wrong").send().await.unwrap();
        refused(wrong, 401, "unauthorized").await;
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        let open = cloud.api.open(Method::GET, path).send().await.unwrap();
        assert_eq!(open.status(), StatusCode::OK, "{path}");
    }
    cloud.stop().await;
}

#[tokio::test]
async fn the_metrics_count_what_happened() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(NODE, &json!({ "a": 1 })).await;
    cloud
        .api
        .request(Method::PATCH, NODE)
        .json(&json!({}))
        .header(IF_MATCH, "\"9\"")
        .send()
        .await
        .unwrap();
    let text = cloud.api.open(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "gnomon_cloud_commands_total{code=\"accepted\"} 2",
        "gnomon_cloud_commands_total{code=\"version_conflict\"} 1",
        "gnomon_cloud_nodes 1",
        "gnomon_cloud_nodes_online 0",
        "gnomon_cloud_commit_seconds_count 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    cloud.stop().await;
}
