//! Things of two tenants, over HTTP and the REST of AWS.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::access::{described, named, token, two_tenants};
use crate::bench::{Api, Cloud, refused};
use crate::enrolment::request;

/// The status, and what is said, without the time and with another name in the place of one.
async fn said(response: Response, name: &str) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap().replace(name, "THING");
    let mut body: Value = serde_json::from_str(&text).unwrap();
    if let Some(body) = body.as_object_mut() {
        body.remove("timestamp");
    }
    (status, body)
}

async fn certify(api: &Api, thing: &str, tenant: Option<&str>) -> Response {
    let csr_pem = request(&rcgen::KeyPair::generate().unwrap());
    let body = json!({ "csr_pem": csr_pem, "tenant": tenant });
    let path = format!("/v1/things/{thing}/certificates");
    api.request(Method::POST, &path).json(&body).send().await.unwrap()
}

/// The things that there are for somebody, with whose they are.
async fn things(api: &Api, query: &str) -> Vec<(String, String)> {
    let page = api.get(&format!("/v1/things{query}")).await;
    let text = |thing: &Value, name: &str| thing[name].as_str().unwrap().to_owned();
    let things = page["things"].as_array().unwrap().iter();
    things.map(|thing| (text(thing, "thing"), text(thing, "tenant"))).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(thing, tenant)| ((*thing).to_owned(), (*tenant).to_owned())).collect()
}

#[tokio::test]
async fn a_foreign_thing_is_the_same_as_none_for_every_call() {
    let (cloud, acme, umbra) = two_tenants().await;
    let before = umbra.get("/things/umbra-1/shadow").await;
    let mut calls = vec![
        (Method::GET, "/things/{thing}/shadow".to_owned()),
        (Method::GET, "/things/{thing}/shadow?name=set".to_owned()),
        (Method::DELETE, "/things/{thing}/shadow".to_owned()),
        (Method::GET, "/api/things/shadow/ListNamedShadowsForThing/{thing}".to_owned()),
    ];
    let of_things = described().into_iter().filter(|(_, path, _)| path.contains("{thing}"));
    calls.extend(of_things.map(|(method, path, _)| (method, path)));
    assert!(calls.len() >= 6, "{calls:?}");
    for (method, path) in calls {
        if method == Method::POST {
            continue;
        }
        let call = |thing: &str| acme.request(method.clone(), &named(&path, thing)).send();
        let foreign = said(call("umbra-1").await.unwrap(), "umbra-1").await;
        let unknown = said(call("nobody").await.unwrap(), "nobody").await;
        assert_eq!(foreign, unknown, "{method} {path}");
        assert!(!foreign.1.to_string().contains("umbra"), "{method} {path}: {}", foreign.1);
    }
    let body = json!({ "state": { "desired": { "stolen": true } } });
    for path in ["/things/umbra-1/shadow", "/things/umbra-1/shadow?name=new"] {
        let stolen = acme.request(Method::POST, path).json(&body).send().await.unwrap();
        assert_eq!(stolen.status(), StatusCode::NOT_FOUND);
        assert_eq!(stolen.headers()["x-amzn-errortype"], "ResourceNotFoundException");
    }
    refused(certify(&acme, "umbra-1", None).await, 404, "unknown_thing").await;
    assert_eq!(umbra.get("/things/umbra-1/shadow").await["version"], before["version"]);
    assert_eq!(umbra.get("/things/umbra-1/shadow").await["state"], before["state"]);
    let names = umbra.get("/api/things/shadow/ListNamedShadowsForThing/umbra-1").await;
    assert_eq!(names["results"], json!(["set"]));
    let written = "/v1/audit?action=thing";
    let text = acme.get(written).await.to_string();
    assert!(text.contains("acme-1/set") && !text.contains("umbra"), "{text}");
    assert!(umbra.get(written).await.to_string().contains("umbra-1/set"));
    cloud.stop().await;
}

async fn update(api: &Api, query: &str, state: Value) {
    let path = format!("/things/pump/shadow{query}");
    let body = json!({ "state": state });
    let done = api.request(Method::POST, &path).json(&body).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::OK);
}

/// A cloud with a thing of a tenant whose classic shadow was written three times and then deleted;
/// a token of the tenant, and a time after the second version and before the third.
async fn with_past() -> (Cloud, Api, String, u64) {
    let cloud = Cloud::start().await;
    let about = json!({ "name": "a", "role": "publisher", "tenant": "acme" });
    let (acme, id) = token(&cloud.api, &about).await;
    update(&acme, "", json!({ "desired": { "price": 1, "old": true } })).await;
    update(&cloud.api, "", json!({ "reported": { "price": 1 } })).await;
    let between_ms = gnomon_cloud::clock::unix_ms();
    while gnomon_cloud::clock::unix_ms() <= between_ms {
        tokio::task::yield_now().await;
    }
    update(&acme, "", json!({ "desired": { "price": 2, "old": null } })).await;
    update(&acme, "?name=set", json!({ "desired": { "a": { "b": [1] } } })).await;
    let gone = acme.request(Method::DELETE, "/things/pump/shadow").send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::OK);
    (cloud, acme, id, between_ms)
}

#[tokio::test]
async fn the_shadows_of_a_thing_are_listed_and_the_classic_one_has_a_name_that_no_other_can_have() {
    let (cloud, acme, _, between_ms) = with_past().await;
    let listed = acme.get("/v1/things/pump/shadows").await;
    assert_eq!((&listed["tenant"], &listed["next"]), (&json!("acme"), &Value::Null));
    let shadow = &listed["shadows"][0];
    assert_eq!(listed["shadows"].as_array().unwrap().len(), 1, "the classic one is deleted");
    assert_eq!((&shadow["name"], &shadow["version"]), (&json!("set"), &json!(1)));
    assert_eq!(shadow["bytes"], 15);
    assert!(shadow["updated_ms"].as_u64().unwrap() >= between_ms - 1000);
    update(&cloud.api, "", json!({ "desired": { "again": 1 } })).await;
    let listed = acme.get("/v1/things/pump/shadows?limit=1").await;
    assert_eq!(listed["shadows"][0]["name"], "@classic");
    let next = format!("/v1/things/pump/shadows?after={}", listed["next"].as_str().unwrap());
    assert_eq!(acme.get(&next).await["shadows"][0]["name"], "set");
    let named = cloud.api.request(Method::POST, "/things/pump/shadow?name=@classic");
    let named = named.json(&json!({ "state": {} })).send().await.unwrap();
    assert_eq!(named.status(), StatusCode::BAD_REQUEST);
    cloud.stop().await;
}

/// All versions of a shadow, page by page.
async fn told(api: &Api, shadow: &str) -> Vec<(Value, Value, Value, Value)> {
    let (mut told, mut before) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{shadow}/history?limit=2{before}")).await;
        told.extend(page["versions"].as_array().unwrap().iter().map(|version| {
            let of = |name: &str| version[name].clone();
            (of("version"), of("deleted"), of("by"), of("patch"))
        }));
        let Some(next) = page["next"].as_u64() else { return told };
        before = format!("&before={next}");
    }
}

#[tokio::test]
async fn what_a_things_shadow_was_is_told_with_who_wrote_it_and_when() {
    let (cloud, acme, id, between_ms) = with_past().await;
    update(&cloud.api, "", json!({ "desired": { "again": 1 } })).await;
    let cloud = cloud.restart().await;
    let acme = cloud.api.with_token(&acme.token);
    let classic = "/v1/things/pump/shadows/@classic";
    let (by, admin) = (format!("token/{id}"), "admin");
    let entry = |version: u64, deleted: bool, by: &str, patch: Value| {
        (json!(version), json!(deleted), json!(by), patch)
    };
    let expected = [
        entry(4, false, admin, json!({ "desired": { "again": 1 } })),
        entry(3, true, &by, json!({ "desired": null, "reported": null })),
        entry(3, false, &by, json!({ "desired": { "price": 2, "old": null } })),
        entry(2, false, admin, json!({ "reported": { "price": 1 } })),
        entry(1, false, &by, json!({ "desired": { "price": 1, "old": true } })),
    ];
    assert_eq!(told(&acme, classic).await, expected);
    let second = json!({ "desired": { "price": 1, "old": true }, "reported": { "price": 1 } });
    for query in ["version=2".to_owned(), format!("at_ms={between_ms}")] {
        let found = acme.get(&format!("{classic}/versions?{query}")).await;
        assert_eq!((&found["version"], &found["document"]), (&json!(2), &second), "{query}");
    }
    let third = acme.get(&format!("{classic}/versions?version=3")).await;
    assert_eq!(third["document"]["desired"], json!({ "price": 2 }), "before it was deleted");
    for (path, code) in [
        (format!("{classic}/versions?version=9"), "unknown_version"),
        ("/v1/things/pump/shadows/other/history".to_owned(), "unknown_shadow"),
        ("/v1/things/nobody/shadows".to_owned(), "unknown_thing"),
    ] {
        refused(acme.request(Method::GET, &path).send().await.unwrap(), 404, code).await;
    }
    for bad in ["@classy/history", "a/versions", "a/versions?version=1&at_ms=1", "a/history?x=1"] {
        let path = format!("/v1/things/pump/shadows/{bad}");
        refused(acme.request(Method::GET, &path).send().await.unwrap(), 400, "bad_request").await;
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_thing_is_whose_it_was_first_also_after_a_restart() {
    let (cloud, acme, _umbra) = two_tenants().await;
    let all = [("acme-1", "acme"), ("umbra-1", "umbra")];
    assert_eq!(things(&cloud.api, "").await, pairs(&all));
    assert_eq!(things(&acme, "").await, pairs(&all[..1]));
    assert_eq!(things(&cloud.api, "?tenant=umbra").await, pairs(&all[1..]));
    refused(certify(&cloud.api, "acme-1", Some("umbra")).await, 409, "tenant_is_fixed").await;
    refused(certify(&acme, "new-1", Some("umbra")).await, 403, "forbidden").await;
    refused(certify(&acme, "new-1", Some("no name")).await, 400, "bad_request").await;
    for (api, thing, tenant) in [
        (&cloud.api, "new-1", Some("umbra")),
        (&cloud.api, "new-2", None),
        (&acme, "new-3", None),
        (&cloud.api, "acme-1", None),
    ] {
        let made = certify(api, thing, tenant).await;
        assert_eq!(made.status(), StatusCode::CREATED, "{thing}");
    }
    let cloud = cloud.restart().await;
    let acme = cloud.api.with_token(&acme.token);
    let all = [("acme-1", "acme"), ("new-1", "umbra"), ("new-2", "default")];
    let all = [all.as_slice(), &[("new-3", "acme"), ("umbra-1", "umbra")]].concat();
    assert_eq!(things(&cloud.api, "").await, pairs(&all));
    assert_eq!(things(&acme, "").await, pairs(&[("acme-1", "acme"), ("new-3", "acme")]));
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = acme.get(&format!("/v1/things?limit=1{after}")).await;
        let found = page["things"].as_array().unwrap().iter();
        paged.extend(found.map(|thing| thing["thing"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, ["acme-1", "new-3"]);
    let (tanks, _) =
        token(&acme, &json!({ "name": "tanks", "role": "operator", "pool": "tanks" })).await;
    for path in ["/v1/things", "/things/acme-1/shadow"] {
        let response = tanks.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "things are in no pool");
    }
    let gone = format!("/v1/things/new-3/certificates/{}", "0".repeat(32));
    refused(acme.request(Method::DELETE, &gone).send().await.unwrap(), 404, "unknown_certificate")
        .await;
    cloud.stop().await;
}

#[tokio::test]
async fn a_thing_whose_last_certificate_is_revoked_is_nobodys() {
    let cloud = Cloud::start().await;
    let (acme, _) =
        token(&cloud.api, &json!({ "name": "a", "role": "operator", "tenant": "acme" })).await;
    let made: Value = certify(&acme, "pump", None).await.json().await.unwrap();
    assert_eq!(things(&acme, "").await, pairs(&[("pump", "acme")]));
    let path = format!("/v1/things/pump/certificates/{}", made["serial"].as_str().unwrap());
    let revoked = acme.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert_eq!(things(&cloud.api, "").await, pairs(&[]));
    let made = certify(&cloud.api, "pump", None).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    assert_eq!(things(&cloud.api, "").await, pairs(&[("pump", "default")]));
    assert_eq!(things(&acme, "").await, pairs(&[]));
    cloud.stop().await;
}
