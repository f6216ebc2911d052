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
