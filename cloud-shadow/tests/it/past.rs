//! History, metadata, acknowledgements and conditions, as a backend sees them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bench::{Cloud, refused};

const SHADOW: &str = "/v1/nodes/site-1/shadows/device/pump";

fn of(what: &str, query: &str) -> String {
    format!("/v1/nodes/site-1/{what}/device/pump{query}")
}

#[tokio::test]
async fn every_version_can_be_seen_compared_and_brought_back() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "price": 1, "unit": "l" })).await;
    cloud.api.patch(SHADOW, &json!({ "price": 2 })).await;
    cloud.api.patch(SHADOW, &json!({ "unit": null, "limits": { "max": 9 } })).await;

    let history = cloud.api.get(&of("history", "?limit=2")).await;
    let versions = history["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0]["patch"], json!({ "unit": null, "limits": { "max": 9 } }));
    assert_eq!((&versions[0]["version"], &versions[0]["by"]), (&json!(3), &json!("admin")));
    assert!(versions[0]["bytes"].as_u64().unwrap() > 5);
    let rest = cloud.api.get(&of("history", &format!("?before={}", history["next"]))).await;
    assert_eq!(rest["versions"][0]["patch"], json!({ "price": 1, "unit": "l" }));
    assert_eq!(rest["next"], Value::Null);

    let first = cloud.api.get(&of("versions", "?version=1")).await;
    assert_eq!(first["document"], json!({ "price": 1, "unit": "l" }));
    let now = versions[0]["at_ms"].as_u64().unwrap();
    let last = cloud.api.get(&of("versions", &format!("?at_ms={now}"))).await;
    assert_eq!(last["version"], 3);
    let diff = cloud.api.get(&of("diff", "?from=3&to=1")).await;
    assert_eq!(diff["patch"], json!({ "price": 1, "unit": "l", "limits": null }));

    let back = cloud.api.request(Method::POST, &of("rollback", "")).json(&json!({ "version": 1 }));
    let back = back.header("If-Match", "\"3\"").send().await.unwrap();
    assert_eq!(back.status(), StatusCode::OK);
    let shadow: Value = back.json().await.unwrap();
    assert_eq!(shadow["desired"]["version"], 4);
    assert_eq!(shadow["desired"]["document"], json!({ "price": 1, "unit": "l" }));
    cloud.stop().await;
}

#[tokio::test]
async fn what_the_history_does_not_have_is_said() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "price": 1 })).await;
    let get = async |path: String| cloud.api.request(Method::GET, &path).send().await.unwrap();
    refused(get(of("versions", "?version=7")).await, 404, "unknown_version").await;
    refused(get(of("versions", "?at_ms=5")).await, 404, "unknown_version").await;
    refused(get(of("versions", "")).await, 400, "bad_request").await;
    refused(get(of("diff", "?from=1&to=9")).await, 404, "unknown_version").await;
    refused(get(of("history", "?half=both")).await, 400, "bad_request").await;
    refused(get(of("history", "?half=reported")).await, 404, "unknown_shadow").await;
    refused(get(of("history", "?limit=0")).await, 400, "bad_request").await;
    let nowhere = "/v1/nodes/nobody/history/node".to_owned();
    refused(get(nowhere).await, 404, "unknown_node").await;
    let back = cloud.api.request(Method::POST, &of("rollback", "")).json(&json!({ "version": 9 }));
    refused(back.send().await.unwrap(), 404, "unknown_version").await;
    cloud.stop().await;
}

#[tokio::test]
async fn the_history_of_an_app_shows_no_secret_and_brings_it_back() {
    let cloud = Cloud::with_node().await;
    let app = "/v1/nodes/site-1/shadows/app/web";
    let spec = |secret: &str| {
        json!({
            "services": { "web": { "image": "i", "secrets": { "/k": { "source": "key" } } } },
            "secrets": { "key": { "content": secret } },
        })
    };
    cloud.api.patch(app, &spec("hunter2")).await;
    let revision = cloud.api.get("/v1/apps").await["apps"][0]["revision"].take();
    cloud.api.patch(app, &spec("swordfish")).await;
    for path in ["history/app/web", "versions/app/web?version=1", "diff/app/web?from=1&to=2"] {
        let text = cloud.api.get(&format!("/v1/nodes/site-1/{path}")).await.to_string();
        assert!(text.contains("[redacted]"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");
    }
    let back = cloud.api.request(Method::POST, "/v1/nodes/site-1/rollback/app/web");
    let back = back.json(&json!({ "version": 1 })).send().await.unwrap();
    assert!(!back.text().await.unwrap().contains("hunter2"));
    assert_eq!(cloud.api.get("/v1/apps").await["apps"][0]["revision"], revision);
    cloud.stop().await;
}

#[tokio::test]
async fn each_field_knows_when_it_was_written() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "price": 1, "limits": { "max": 9, "min": [1] } })).await;
    cloud.api.patch(SHADOW, &json!({ "limits": { "max": 10 } })).await;
    let shadow = cloud.api.get(&format!("{SHADOW}?metadata=true&acks=true")).await;
    let metadata = &shadow["desired"]["metadata"];
    assert_eq!(metadata["price"]["version"], 1);
    assert_eq!(metadata["limits"]["max"]["version"], 2);
    assert_eq!(metadata["limits"]["min"]["version"], 1);
    let updated = &shadow["desired"]["updated_ms"];
    assert_eq!(&metadata["limits"]["max"]["updated_ms"], updated);
    assert!(shadow["desired"]["age_ms"].as_u64().unwrap() < 30_000);
    assert_eq!(shadow["acks"]["/limits/max"], json!({ "state": "pending" }));
    let cloud = cloud.restart().await;
    let again = cloud.api.get(&format!("{SHADOW}?metadata=true")).await;
    assert_eq!(&again["desired"]["metadata"], metadata);
    let part = cloud.api.get(&format!("{SHADOW}?pointer=/limits/max&metadata=true")).await;
    assert_eq!(part["desired"]["document"], json!({ "limits": { "max": 10 } }));
    assert_eq!(part["desired"]["metadata"]["limits"]["max"]["version"], 2);
    assert!(part["desired"]["metadata"]["price"].is_null());
    let bad = cloud.api.request(Method::GET, &format!("{SHADOW}?pointer=limits")).send().await;
    refused(bad.unwrap(), 400, "bad_request").await;
    cloud.stop().await;
}

#[tokio::test]
async fn a_condition_on_a_field_decides_like_one_on_the_version() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "price": 1 })).await;
    let write = async |condition: Value| {
        let request = cloud.api.request(Method::PATCH, SHADOW).json(&json!({ "price": 2 }));
        request.header("If-Field", condition.to_string()).send().await.unwrap()
    };
    let failed = write(json!({ "pointer": "/price", "equals": 7 })).await;
    let detail = refused(failed, 412, "field_conflict").await;
    let expected = json!({ "current": 1, "pointer": "/price", "condition": "equals" });
    assert_eq!(detail, expected);
    let failed = write(json!({ "pointer": "/price", "absent": true })).await;
    refused(failed, 412, "field_conflict").await;
    let unreadable = write(json!({ "pointer": "/price" })).await;
    refused(unreadable, 400, "bad_precondition").await;
    let good = write(json!({ "pointer": "/price", "equals": 1 })).await;
    assert_eq!(good.status(), StatusCode::OK);
    assert_eq!(cloud.api.get(SHADOW).await["desired"]["version"], 2);
    cloud.stop().await;
}

#[tokio::test]
async fn a_write_compares_what_is_there_with_what_it_expects() {
    let cloud = Cloud::with_node().await;
    let start =
        json!({ "n": 9_007_199_254_740_993_u64, "site": "north-7", "modes": ["eco", "max"] });
    cloud.api.patch(SHADOW, &start).await;
    let (n, site, modes) = ("/n", "/site", "/modes");
    let holding = [
        json!({ "pointer": n, "greater": 9_007_199_254_740_992.0 }),
        json!({ "pointer": n, "at_least": 9_007_199_254_740_993_u64 }),
        json!({ "pointer": n, "not": 9_007_199_254_740_992_u64 }),
        json!({ "pointer": site, "prefix": "north-" }),
        json!({ "pointer": site, "less": "north-8" }),
        json!({ "pointer": site, "one_of": ["south-1", "north-7"] }),
        json!({ "pointer": modes, "contains": "eco" }),
        json!({ "pointer": "/nothing", "not": 1 }),
        json!({ "pointer": modes, "exists": true }),
    ];
    let failing = [
        ("at_most", json!({ "pointer": n, "at_most": 9_007_199_254_740_992.0 })),
        ("less", json!({ "pointer": n, "less": "9" })),
        ("greater", json!({ "pointer": site, "greater": 1 })),
        ("prefix", json!({ "pointer": n, "prefix": "" })),
        ("one_of", json!({ "pointer": site, "one_of": ["south-1"] })),
        ("contains", json!({ "pointer": modes, "contains": "ec" })),
        ("exists", json!({ "pointer": "/nothing", "exists": true })),
    ];
    let all = |more: Option<&Value>| {
        let request = cloud.api.request(Method::PATCH, SHADOW).json(&json!({ "hit": true }));
        let conditions = holding.iter().chain(more);
        conditions
            .fold(request, |request, condition| request.header("If-Field", condition.to_string()))
    };
    for (name, condition) in &failing {
        let detail =
            refused(all(Some(condition)).send().await.unwrap(), 412, "field_conflict").await;
        assert_eq!(detail["condition"], *name, "{condition}");
        assert_eq!(detail["pointer"], condition["pointer"], "{condition}");
    }
    assert_eq!(cloud.api.get(SHADOW).await["desired"]["version"], 1, "nothing was changed");
    assert_eq!(all(None).send().await.unwrap().status(), StatusCode::OK);
    let (node, key) = SHADOW.strip_prefix("/v1/nodes/").unwrap().split_once("/shadows/").unwrap();
    let write = |conditions: Value| json!({ "node": node, "key": key, "patch": { "hit": 2 }, "conditions": conditions });
    let batch = json!({ "writes": [write(json!(holding)), write(json!([failing[0].1]))] });
    let done = cloud.api.request(Method::POST, "/v1/batch").json(&batch).send().await.unwrap();
    let done: Value = done.json().await.unwrap();
    assert_eq!(done["results"][0]["status"], 200, "{done}");
    assert_eq!(done["results"][1]["error"]["detail"]["condition"], "at_most", "{done}");
    for (bad, why) in [
        (json!({ "pointer": n, "at_least": 1, "less": 5 }), "`less` and `at_least`"),
        (json!({ "pointer": n, "less": [1] }), "`less` compares"),
        (json!({ "pointer": n, "one_of": vec![0; 33] }), "1 to 32"),
    ] {
        let request = cloud.api.request(Method::PATCH, SHADOW).json(&json!({}));
        let response = request.header("If-Field", bad.to_string()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let text = response.text().await.unwrap();
        assert!(text.contains("bad_precondition") && text.contains(why), "{text}");
    }
    cloud.stop().await;
}
