//! Batches, search and tags.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bench::{Cloud, refused};

async fn batch(cloud: &Cloud, writes: Value) -> Vec<Value> {
    let request = cloud.api.request(Method::POST, "/v1/batch").json(&json!({ "writes": writes }));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body: Value = response.json().await.unwrap();
    body["results"].as_array_mut().unwrap().drain(..).collect()
}

#[tokio::test]
async fn each_write_of_a_batch_is_answered_for_itself_and_in_order() {
    let cloud = Cloud::with_node().await;
    let write = |key: &str, more: Value| {
        let mut write = json!({ "node": "site-1", "key": key });
        write.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        write
    };
    let results = batch(
        &cloud,
        json!([
            write("device/a", json!({ "patch": { "n": 1 } })),
            write("device/a", json!({ "patch": { "n": 2 }, "if_version": 1 })),
            write("device/a", json!({ "put": { "n": 3 }, "if_version": 1 })),
            write("device/a", json!({ "put": { "n": null } })),
            write("device/a", json!({ "patch": {}, "put": {} })),
            write("pod/x", json!({ "patch": {} })),
            json!({ "node": "nobody", "key": "node", "patch": { "a": 1 } }),
            write("device/b", json!({ "put": { "n": 1 }, "if_version": 0 })),
            write(
                "device/b",
                json!({ "delete": true, "conditions":
                [{ "pointer": "/n", "equals": 2 }] })
            ),
            write(
                "device/b",
                json!({ "delete": true, "conditions":
                [{ "pointer": "/n", "equals": 1 }] })
            ),
        ]),
    )
    .await;
    let statuses: Vec<_> =
        results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 412, 400, 400, 400, 404, 201, 412, 204]);
    assert_eq!(results[1]["desired_version"], 2);
    assert_eq!(results[2]["error"]["code"], "version_conflict");
    assert_eq!(results[3]["error"]["detail"]["at"], "/n");
    assert_eq!(results[8]["error"]["code"], "field_conflict");
    assert_eq!(results[9]["desired_version"], 0);
    let shadow = cloud.api.get("/v1/nodes/site-1/shadows/device/a").await;
    assert_eq!(shadow["desired"]["document"], json!({ "n": 2 }));

    let request = |body: Value| cloud.api.request(Method::POST, "/v1/batch").json(&body).send();
    let many = vec![write("node", json!({ "delete": true })); 1001];
    refused(request(json!({ "writes": many })).await.unwrap(), 400, "bad_request").await;
    let array = json!({ "writes": [["site-1", "node", {}, null, false, null, []]] });
    refused(request(array).await.unwrap(), 400, "bad_request").await;
    let misspelt = json!({ "writes": [{ "node": "n", "key": "node", "pach": {} }] });
    refused(request(misspelt).await.unwrap(), 400, "bad_request").await;
    assert_eq!(batch(&cloud, json!([])).await, [] as [Value; 0]);
    cloud.stop().await;
}

#[tokio::test]
async fn shadows_are_found_by_label_tag_and_field_page_by_page() {
    let cloud = Cloud::start().await;
    for n in 0..6 {
        let labels = json!({ "labels": { "region": if n % 2 == 0 { "north" } else { "south" } } });
        let put = cloud.api.request(Method::PUT, &format!("/v1/nodes/site-{n}")).json(&labels);
        put.send().await.unwrap();
        let path = format!("/v1/nodes/site-{n}/shadows/device/pump");
        cloud.api.patch(&path, &json!({ "price": n / 2, "a": { "b": true } })).await;
    }
    let search = async |query: &str| {
        let page = cloud.api.get(&format!("/v1/search?{query}")).await;
        let names = page["shadows"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|s| s["node"].as_str().unwrap().to_owned()).collect();
        (names, page["next"].clone())
    };
    let (north, next) = search("label=region=north&limit=2").await;
    assert_eq!(
        (north, &next),
        (vec!["site-0".to_owned(), "site-2".to_owned()], &json!("site-2/device/pump"))
    );
    let (rest, _) = search("label=region=north&after=site-2/device/pump").await;
    assert_eq!(rest, ["site-4"]);
    let price = "where=%7B%22pointer%22:%22/price%22,%22equals%22:1%7D";
    assert_eq!(search(price).await.0, ["site-2", "site-3"]);
    let absent = "where=%7B%22pointer%22:%22/a/b%22,%22absent%22:true%7D";
    assert_eq!(search(absent).await.0, [""; 0]);
    let dearer = "where=%7B%22pointer%22:%22/price%22,%22at_least%22:0.5%7D";
    assert_eq!(search(dearer).await.0, ["site-2", "site-3", "site-4", "site-5"]);
    let between = format!("{dearer}&where=%7B%22pointer%22:%22/price%22,%22less%22:1.5%7D");
    assert_eq!(search(&between).await.0, ["site-2", "site-3"]);

    let tags = json!({ "tags": { "owner": "fuel" } });
    let put = cloud.api.request(Method::PUT, "/v1/nodes/site-3/tags/device/pump").json(&tags);
    let tagged: Value = put.send().await.unwrap().json().await.unwrap();
    assert_eq!((&tagged["tags"]["owner"], &tagged["version"]), (&json!("fuel"), &json!(1)));
    let cloud = cloud.restart().await;
    let page = cloud.api.get("/v1/search?tag=owner=fuel").await;
    assert_eq!(page["shadows"][0]["node"], "site-3");
    assert_eq!((&page["shadows"].as_array().unwrap().len(), &page["next"]), (&1, &Value::Null));
    for bad in ["label=region", "where=x", "limit=201", "after=..", "what=x", "half=x"] {
        let request = cloud.api.request(Method::GET, &format!("/v1/search?{bad}"));
        assert_eq!(request.send().await.unwrap().status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    cloud.stop().await;
}

#[tokio::test]
async fn tags_need_a_shadow_and_go_with_it() {
    let cloud = Cloud::with_node().await;
    let (shadow, tags) = ("/v1/nodes/site-1/shadows/node", "/v1/nodes/site-1/tags/node");
    let put = || cloud.api.request(Method::PUT, tags).json(&json!({ "tags": { "a": "b" } }));
    refused(put().send().await.unwrap(), 404, "unknown_shadow").await;
    cloud.api.patch(shadow, &json!({ "x": 1 })).await;
    assert_eq!(put().send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(cloud.api.get(shadow).await["tags"], json!({ "a": "b" }));
    cloud.api.request(Method::DELETE, shadow).send().await.unwrap();
    cloud.api.patch(shadow, &json!({ "x": 1 })).await;
    assert!(cloud.api.get(shadow).await["tags"].is_null());
    cloud.stop().await;
}

#[tokio::test]
async fn writers_that_compare_and_set_lose_no_update() {
    let cloud = Cloud::with_node().await;
    let path = "/v1/nodes/site-1/shadows/node";
    cloud.api.patch(path, &json!({ "n": 0 })).await;
    let (clients, rounds) = (16_u64, 12_u64);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let api = cloud.api.clone();
        tasks.spawn(async move {
            let mut left = rounds;
            while left > 0 {
                let shadow = api.get(path).await;
                let version = shadow["desired"]["version"].as_u64().unwrap();
                let n = shadow["desired"]["document"]["n"].as_u64().unwrap();
                let request = api.request(Method::PATCH, path).json(&json!({ "n": n + 1 }));
                let request = request.header("If-Match", format!("\"{version}\""));
                match request.send().await.unwrap().status() {
                    StatusCode::OK => left -= 1,
                    status => assert_eq!(status, StatusCode::PRECONDITION_FAILED),
                }
            }
        });
    }
    tasks.join_all().await;
    let shadow = cloud.api.get(path).await;
    assert_eq!(shadow["desired"]["document"]["n"], clients * rounds);
    assert_eq!(shadow["desired"]["version"], clients * rounds + 1);
    cloud.stop().await;
}
