//! Who may do what, over HTTP: every route for every role, and two tenants that know nothing of
//! each other.

use std::collections::BTreeMap;

use gnomon_cloud::http::description;
use gnomon_schemas::topic::{MessageKind, Stream, Topic};
use gnomon_schemas::version::{Epoch, Seq};
use gnomon_schemas::wire::{Hello, Message};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::bench::{Api, Cloud, refused};
use crate::enrolment::{join, request};
use crate::site::{Machines, Order, is_in_sync};

/// Makes a token, and gives back a client that shows it, and the token's id.
pub(crate) async fn token(api: &Api, about: &Value) -> (Api, String) {
    let response = api.request(Method::POST, "/v1/tokens").json(about).send().await.unwrap();
    let (status, body) = (response.status(), response.json::<Value>().await.unwrap());
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let token = body["token"].as_str().unwrap();
    (api.with_token(token), body["id"].as_str().unwrap().to_owned())
}

/// The method, the path and the least role of everything that is described.
pub(crate) fn described() -> Vec<(Method, String, Option<String>)> {
    let description: Value = serde_json::from_str(description()).unwrap();
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let role = operation["x-role"].as_str().map(str::to_owned);
            all.push((method, path.clone(), role));
        }
    }
    all
}

/// The path with names in it; `node` is also the name of a thing.
pub(crate) fn named(path: &str, node: &str) -> String {
    let path = path.replace("{node}", node).replace("{key}", "device/pump-7");
    let path = path.replace("{thing}", node).replace("{name}", "set").replace("{serial}", "0a");
    path.replace("{id}", "nobody-00")
}

const ROLES: [&str; 4] = ["viewer", "publisher", "operator", "admin"];

#[tokio::test]
async fn every_route_is_for_its_role_and_those_above_and_for_nobody_without_a_token() {
    let cloud = Cloud::with_node().await;
    let mut clients = BTreeMap::new();
    for role in ROLES {
        let about = json!({ "name": role, "role": role });
        clients.insert(role, token(&cloud.api, &about).await.0);
    }
    for (method, path, needed) in described() {
        // Over plain HTTP the metrics are open; letting_in.rs asks for them over HTTPS.
        let Some(needed) = needed.filter(|_| path != "/metrics") else { continue };
        let path = named(&path, "nobody");
        let rank = |role: &str| ROLES.iter().position(|known| *known == role).unwrap();
        for (role, api) in &clients {
            let response = api.request(method.clone(), &path).send().await.unwrap();
            let is_refused = response.status() == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, rank(role) < rank(&needed), "{role}: {method} {path}");
            assert_ne!(response.status(), StatusCode::UNAUTHORIZED, "{role}: {method} {path}");
        }
        let nobody = cloud.api.open(method.clone(), &path).send().await.unwrap();
        assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        let wrong = cloud.api.with_token(&format!("gnt_{}", "0".repeat(64)));
        let wrong = wrong.request(method.clone(), &path).send().await.unwrap();
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked_also_across_restarts() {
    let cloud = Cloud::with_node().await;
    let (viewer, id) = token(&cloud.api, &json!({ "name": "look", "role": "viewer" })).await;
    let (short, _) =
        token(&cloud.api, &json!({ "name": "brief", "role": "viewer", "ttl_s": 1 })).await;
    viewer.get("/v1/nodes/site-1").await;
    let cloud = cloud.restart().await;
    let viewer = cloud.api.with_token(&viewer.token);
    viewer.get("/v1/nodes/site-1").await;
    let used = |tokens: &Value| {
        let mut tokens = tokens["tokens"].as_array().unwrap().iter();
        tokens.any(|token| token["id"] == *id && token["last_used_ms"].is_u64())
    };
    let listed = cloud.api.eventually("/v1/tokens", used).await;
    assert!(!listed.to_string().contains(&viewer.token[4..]), "a secret is said once");

    let path = format!("/v1/tokens/{id}");
    refused(viewer.request(Method::DELETE, &path).send().await.unwrap(), 403, "forbidden").await;
    let revoked = cloud.api.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    let gone = viewer.request(Method::GET, "/v1/nodes").send().await.unwrap();
    refused(gone, 401, "unauthorized").await;
    let again = cloud.api.request(Method::DELETE, &path).send().await.unwrap();
    refused(again, 404, "unknown_token").await;
    let short = cloud.api.with_token(&short.token);
    let began = std::time::Instant::now();
    while short.request(Method::GET, "/v1/nodes").send().await.unwrap().status() != 401 {
        assert!(began.elapsed() < crate::bench::DEADLINE, "it does not run out");
    }
    cloud.stop().await;
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_more_than_the_own_one() {
    let cloud = Cloud::start().await;
    let about = json!({ "name": "acme", "role": "admin", "tenant": "acme" });
    let (acme, _) = token(&cloud.api, &about).await;
    let (own, _) = token(&acme, &json!({ "name": "own", "role": "operator" })).await;
    own.create("pump").await;
    assert_eq!(own.get("/v1/nodes/pump").await["tenant"], "acme");
    for beyond in [
        json!({ "name": "x", "role": "viewer", "tenant": "other" }),
        json!({ "name": "x", "role": "viewer", "labels": { "": "no key" } }),
    ] {
        let response = acme.request(Method::POST, "/v1/tokens").json(&beyond).send().await.unwrap();
        assert!(response.status().is_client_error(), "{beyond}");
    }
    let backup = acme.request(Method::GET, "/v1/backup").send().await.unwrap();
    refused(backup, 403, "forbidden").await;
    cloud.stop().await;
}

/// Two tenants, each with a node that has the same shadow and a thing that is called like the node,
/// and an admin of each.
pub(crate) async fn two_tenants() -> (Cloud, Api, Api) {
    let cloud = Cloud::start().await;
    let mut admins = Vec::new();
    for tenant in ["acme", "umbra"] {
        let about = json!({ "name": tenant, "role": "admin", "tenant": tenant });
        let (admin, _) = token(&cloud.api, &about).await;
        let node = format!("{tenant}-1");
        admin.create(&node).await;
        let path = format!("/v1/nodes/{node}/shadows/device/pump-7");
        for price in [1, 2] {
            let patched = admin.patch(&path, &json!({ "price": price, "of": tenant })).await;
            assert!(patched.status().is_success());
        }
        let join = json!({ "uses": 3 });
        let join = admin.request(Method::POST, "/v1/join-tokens").json(&join).send().await.unwrap();
        assert_eq!(join.status(), StatusCode::CREATED);
        let (thing, desired) = (format!("/things/{tenant}-1/shadow"), json!({ "of": tenant }));
        let body = json!({ "state": { "desired": desired } });
        for path in [thing.clone(), format!("{thing}?name=set")] {
            let made = admin.request(Method::POST, &path).json(&body).send().await.unwrap();
            assert_eq!(made.status(), StatusCode::OK);
        }
        admins.push(admin);
    }
    let umbra = admins.pop().unwrap();
    (cloud, admins.pop().unwrap(), umbra)
}

/// A body with which the request would succeed.
fn body(method: &Method, path: &str) -> Option<Value> {
    match (method.as_str(), path) {
        ("PUT", "/v1/nodes/{node}") => Some(json!({ "labels": { "mine": "now" } })),
        ("PUT" | "PATCH", "/v1/nodes/{node}/shadows/{key}") => Some(json!({ "stolen": true })),
        ("PUT", "/v1/nodes/{node}/tags/{key}") => Some(json!({ "tags": { "mine": "now" } })),
        ("POST", "/v1/nodes/{node}/rollback/{key}") => Some(json!({ "version": 1 })),
        ("POST", "/v1/nodes/{node}/join-tokens") => Some(json!({})),
        _ => None,
    }
}

fn query(path: &str) -> &'static str {
    match path {
        "/v1/nodes/{node}/versions/{key}" => "?version=1",
        "/v1/nodes/{node}/diff/{key}" => "?from=1&to=2",
        _ => "",
    }
}

#[tokio::test]
async fn a_foreign_node_is_the_same_as_none_for_every_call() {
    let (cloud, acme, umbra) = two_tenants().await;
    let before = cloud.api.get("/v1/nodes/umbra-1/shadows").await["shadows"][0]["version"].take();
    let mut seen = 0;
    for (method, path, _) in described() {
        if !path.contains("{node}") {
            continue;
        }
        seen += 1;
        let call = |node: &str| {
            let path = named(&path, node) + query(&path);
            let request = acme.request(method.clone(), &path);
            match body(&method, &described_path(&path, node)) {
                Some(body) => request.json(&body),
                None => request,
            }
            .send()
        };
        let foreign = call("umbra-1").await.unwrap();
        let detail = format!("{method} {path}");
        if method == Method::PUT && path == "/v1/nodes/{node}" {
            // The name is taken, so it cannot be made; nothing more can be told from it.
            refused(foreign, 404, "unknown_node").await;
            continue;
        }
        let unknown = call("nobody").await.unwrap();
        assert_eq!(foreign.status(), StatusCode::NOT_FOUND, "{detail}");
        assert_eq!(foreign.status(), unknown.status(), "{detail}");
        let (foreign, unknown) = (foreign.text().await.unwrap(), unknown.text().await.unwrap());
        assert_eq!(foreign.replace("umbra-1", "nobody"), unknown, "{detail}");
    }
    assert!(seen >= 12, "only {seen} calls name a node");
    let after = umbra.get("/v1/nodes/umbra-1/shadows").await;
    assert_eq!(after["shadows"][0]["version"], before, "nothing was changed");
    assert_eq!(umbra.get("/v1/nodes/umbra-1").await["labels"], json!({}));
    cloud.stop().await;
}

/// The path as it is described, of a path with names and a query.
fn described_path(path: &str, node: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    path.replacen(node, "{node}", 1).replace("device/pump-7", "{key}")
}

#[tokio::test]
async fn lists_searches_batches_and_streams_hold_nothing_of_others() {
    let (cloud, acme, _umbra) = two_tenants().await;
    // What is left out here is not for a tenant at all, or a stream, which follows below.
    let not_here = ["/v1/watch", "/v1/pending", "/v1/backup", "/metrics"];
    let is_list = |(method, path, role): &(Method, String, Option<String>)| {
        let is_left_out = path.contains('{') || not_here.contains(&path.as_str());
        *method == Method::GET && role.is_some() && !is_left_out
    };
    let lists: Vec<String> =
        described().into_iter().filter(is_list).map(|(_, path, _)| path).collect();
    assert!(lists.len() >= 8, "{lists:?}");
    let lists = lists.iter().map(String::as_str);
    for path in lists.chain(["/v1/audit?limit=1000", "/v1/audit?tenant=umbra"]) {
        let text = acme.get(path).await.to_string();
        assert!(!text.contains("umbra"), "{path}: {text}");
    }
    assert!(acme.get("/v1/audit").await.to_string().contains("acme-1/device/pump-7"));
    for path in ["/v1/apps?node=umbra-1", "/v1/watch?node=umbra-1"] {
        let foreign = acme.request(Method::GET, path).send().await.unwrap();
        refused(foreign, 404, "unknown_node").await;
    }
    let write = |node: &str| json!({ "node": node, "key": "device/pump-7", "patch": { "n": 1 } });
    let writes = json!({ "writes": [write("umbra-1"), write("acme-1"), write("nobody")] });
    let response = acme.request(Method::POST, "/v1/batch").json(&writes).send().await.unwrap();
    let results: Value = response.json().await.unwrap();
    let status = |n: usize| results["results"][n]["status"].clone();
    assert_eq!((status(0), status(1), status(2)), (json!(404), json!(200), json!(404)));
    let foreign = results["results"][0]["error"].to_string().replace("umbra-1", "nobody");
    assert_eq!(foreign, results["results"][2]["error"].to_string());

    let stream = acme.request(Method::GET, "/v1/watch").send().await.unwrap();
    cloud.api.patch("/v1/nodes/umbra-1/shadows/device/pump-7", &json!({ "n": 2 })).await;
    cloud.api.request(Method::DELETE, "/v1/nodes/umbra-1").send().await.unwrap();
    cloud.api.patch("/v1/nodes/acme-1/shadows/device/pump-7", &json!({ "last": true })).await;
    let (mut stream, mut text) = (stream, String::new());
    while !text.contains("\"last\":true") {
        text += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
    }
    assert!(!text.contains("umbra"), "{text}");
    cloud.stop().await;
}

#[tokio::test]
async fn a_token_for_a_pool_or_labels_reaches_no_further() {
    let cloud = Cloud::start().await;
    for (node, labels) in [("north-1", json!({ "region": "north" })), ("south-1", json!({}))] {
        let body = json!({ "labels": labels, "pool": "pumps" });
        let path = format!("/v1/nodes/{node}");
        let put = cloud.api.request(Method::PUT, &path).json(&body).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED);
    }
    let about = json!({ "name": "n", "role": "operator", "labels": { "region": "north" } });
    let (north, _) = token(&cloud.api, &about).await;
    let names = north.get("/v1/nodes").await;
    assert_eq!(names["nodes"].as_array().unwrap().len(), 1);
    let put = |node: &str, body: Value| {
        north.request(Method::PUT, &format!("/v1/nodes/{node}")).json(&body).send()
    };
    let out = put("north-1", json!({ "labels": { "region": "south" } })).await.unwrap();
    refused(out, 403, "forbidden").await;
    let out = put("north-2", json!({ "labels": {} })).await.unwrap();
    refused(out, 403, "forbidden").await;
    let foreign = put("south-1", json!({ "labels": { "region": "north" } })).await.unwrap();
    refused(foreign, 404, "unknown_node").await;
    let fine = put("north-1", json!({ "labels": { "region": "north", "more": "yes" } })).await;
    assert_eq!(fine.unwrap().status(), StatusCode::OK);
    let tags = json!({ "name": "p", "role": "admin", "pool": "tanks" });
    let (tanks, _) = token(&cloud.api, &tags).await;
    assert_eq!(tanks.get("/v1/search").await["shadows"], json!([]));
    refused(tanks.request(Method::GET, "/v1/audit").send().await.unwrap(), 403, "forbidden").await;
    cloud.stop().await;
}

#[tokio::test]
async fn a_fleet_token_lets_so_many_nodes_in_where_it_says() {
    let cloud = Cloud::with_node().await;
    let about = json!({ "uses": 2, "tenant": "acme", "pool": "pumps", "labels": { "a": "b" } });
    let join =
        |about: Value| cloud.api.request(Method::POST, "/v1/join-tokens").json(&about).send();
    let made: Value = join(about).await.unwrap().json().await.unwrap();
    let (secret, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let enroll = |node: Option<&str>, secret: &str| {
        let csr_pem = request(&rcgen::KeyPair::generate().unwrap());
        let body = json!({ "token": secret, "csr_pem": csr_pem, "node": node });
        cloud.api.open(Method::POST, "/v1/enroll").json(&body).send()
    };
    refused(enroll(None, secret).await.unwrap(), 400, "bad_request").await;
    refused(enroll(Some("site-1"), secret).await.unwrap(), 409, "name_taken").await;
    for node in ["pump-1", "pump-2"] {
        let response = enroll(Some(node), secret).await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let view = cloud.api.get(&format!("/v1/nodes/{node}")).await;
        let home = (&view["tenant"], &view["pool"], &view["labels"]);
        assert_eq!(home, (&json!("acme"), &json!("pumps"), &json!({ "a": "b" })));
    }
    refused(enroll(Some("pump-3"), secret).await.unwrap(), 401, "unauthorized").await;
    assert_eq!(cloud.api.get("/v1/join-tokens").await["tokens"], json!([]));

    let made: Value = join(json!({ "uses": 5 })).await.unwrap().json().await.unwrap();
    assert_ne!(made["id"], *id);
    let path = format!("/v1/join-tokens/{}", made["id"].as_str().unwrap());
    let revoked = cloud.api.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    let late = enroll(Some("late"), made["token"].as_str().unwrap()).await.unwrap();
    refused(late, 401, "unauthorized").await;
    cloud.stop().await;
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_and_no_secret() {
    let cloud = Cloud::with_node().await;
    let (viewer, id) = token(&cloud.api, &json!({ "name": "look", "role": "viewer" })).await;
    let path = "/v1/nodes/site-1/shadows/device/pump-7";
    cloud.api.patch(path, &json!({ "pin": "hunter2" })).await;
    refused(viewer.patch(path, &json!({ "pin": "hunter3" })).await, 403, "forbidden").await;
    let made = crate::enrolment::token(&cloud.api, "site-1").await;
    let cloud = cloud.restart().await;
    let log = cloud.api.get("/v1/audit").await;
    let text = log.to_string();
    for secret in ["hunter", &made, &viewer.token, &cloud.api.token] {
        assert!(!text.contains(secret), "{text}");
    }
    let told: Vec<_> = log["entries"].as_array().unwrap().iter().rev().collect();
    let told: Vec<[&str; 4]> = told
        .iter()
        .map(|entry| {
            ["by", "action", "target", "outcome"].map(|name| entry[name].as_str().unwrap())
        })
        .collect();
    let author = format!("token/{id}");
    let attempt = format!("PATCH {path}");
    assert_eq!(
        told,
        [
            ["admin", "node.put", "site-1", "done"],
            ["admin", "token.create", &id, "done"],
            ["admin", "shadow.patch", "site-1/device/pump-7", "done"],
            [&author, "request", &attempt, "forbidden"],
            ["admin", "node.join_token", "site-1", "done"],
        ]
    );
    let page = cloud.api.get("/v1/audit?action=shadow&target=site-1&limit=1").await;
    assert_eq!(page["entries"][0]["action"], "shadow.patch");
    let next = format!("/v1/audit?before={}", page["next"]);
    assert_eq!(cloud.api.get(&next).await["entries"].as_array().unwrap().len(), 2);
    cloud.stop().await;
}

#[tokio::test]
async fn what_is_of_the_whole_cloud_is_for_no_tenant() {
    let (cloud, acme, _umbra) = two_tenants().await;
    let calls = [
        (Method::GET, "/v1/pending"),
        (Method::POST, "/v1/pending/00/approve"),
        (Method::POST, "/v1/pending/00/deny"),
        (Method::GET, "/v1/backup"),
    ];
    for (method, path) in calls {
        let response = acme.request(method.clone(), path).send().await.unwrap();
        refused(response, 403, "forbidden").await;
    }
    cloud.stop().await;
}

#[tokio::test]
async fn over_mqtt_a_node_says_and_hears_nothing_of_another_tenants() {
    let (cloud, acme, umbra) = two_tenants().await;
    let joined = join(&acme, "acme-1").await;
    let site = Machines::new("acme-1").connect(cloud.mqtt(), &joined);
    acme.eventually("/v1/nodes/acme-1", is_in_sync).await;
    let before = umbra.get("/v1/nodes/umbra-1").await;
    let foreign = Topic::of("umbra-1".parse().unwrap(), Stream::Up, MessageKind::Hello);
    let hello = Message::Hello(Hello { epoch: Epoch(1), seq: Seq(1), window: 1 });
    site.order(Order::Publish(foreign.to_string(), hello.encode())).await;
    let site = site.ended().await.connect(cloud.mqtt(), &joined);
    umbra.patch("/v1/nodes/umbra-1/shadows/node", &json!({ "for": "umbra" })).await;
    acme.patch("/v1/nodes/acme-1/shadows/node", &json!({ "for": "acme" })).await;
    acme.eventually("/v1/nodes/acme-1", is_in_sync).await;
    let after = umbra.get("/v1/nodes/umbra-1").await;
    for what in ["online", "last_seen_ms", "up"] {
        assert_eq!(after[what], before[what], "{what}");
    }
    let machines = site.leave().await;
    assert!(machines.desired().unwrap().contains("acme"));
    cloud.stop().await;
}

#[tokio::test]
async fn a_stream_of_changes_ends_with_its_token() {
    let cloud = Cloud::with_node().await;
    let about = json!({ "name": "look", "role": "viewer" });
    let (viewer, id) = token(&cloud.api, &about).await;
    let (short, _) =
        token(&cloud.api, &json!({ "name": "brief", "role": "viewer", "ttl_s": 2 })).await;
    let streams = [&viewer, &short].map(|api| api.request(Method::GET, "/v1/watch").send());
    let [revoked, expired] = streams;
    let (revoked, expired) = (revoked.await.unwrap(), expired.await.unwrap());
    let path = format!("/v1/tokens/{id}");
    cloud.api.request(Method::DELETE, &path).send().await.unwrap();
    for stream in [revoked, expired] {
        let text = tokio::time::timeout(crate::bench::DEADLINE, stream.text()).await;
        assert!(text.expect("the stream ends").unwrap().contains("event: synced"));
    }
    cloud.stop().await;
}
