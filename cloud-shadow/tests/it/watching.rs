//! The stream of changes.

use std::collections::VecDeque;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::bench::{Cloud, DEADLINE, refused};

/// Reads server-sent events.
struct Events {
    /// The id of the last event that had one.
    id: Option<String>,
    response: Response,
    text: String,
    ready: VecDeque<(String, Value, Option<String>)>,
}

impl Events {
    async fn open(cloud: &Cloud, query: &str) -> Self {
        Self::resume(cloud, query, None).await
    }

    /// Comes back with the id of the last event that was seen.
    async fn resume(cloud: &Cloud, query: &str, id: Option<&str>) -> Self {
        let mut request = cloud.api.request(Method::GET, &format!("/v1/watch{query}"));
        if let Some(id) = id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { id: None, response, text: String::new(), ready: VecDeque::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        while self.ready.is_empty() {
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    let data = serde_json::from_str(data).unwrap();
                    let id = field("id: ").map(str::to_owned);
                    self.ready.push_back((name.to_owned(), data, id));
                }
                self.text = rest.to_owned();
            }
        }
        let (name, data, id) = self.ready.pop_front()?;
        self.id = id.or(self.id.take());
        Some((name, data))
    }

    /// Reads on until the snapshot, or what was missed, is over; the names and versions so far.
    async fn synced(&mut self) -> Vec<(String, u64)> {
        let mut seen = Vec::new();
        loop {
            let (name, data) = self.next().await.unwrap();
            if name == "synced" {
                return seen;
            }
            seen.push((name, data["version"].as_u64().unwrap_or_default()));
        }
    }
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_and_then_every_change() {
    let cloud = Cloud::with_node().await;
    let path = "/v1/nodes/site-1/shadows/device/a";
    cloud.api.patch(path, &json!({ "n": 0 })).await;
    let mut events = Events::open(&cloud, "").await;
    let (name, shadow) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &shadow["changed"]), ("shadow", &Value::Null));
    assert_eq!(shadow["desired"]["document"], json!({ "n": 0 }));
    assert_eq!(events.next().await.unwrap().0, "synced");
    cloud.api.patch(path, &json!({ "n": 1 })).await;
    let (name, shadow) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &shadow["changed"]), ("shadow", &json!("desired")));
    assert_eq!(shadow["version"], 2);
    cloud.api.create("site-2").await;
    let (name, node) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &node["name"]), ("node", &json!("site-2")));
    let stopped = cloud.stop();
    let (end, _dir) = tokio::join!(events.next(), stopped);
    assert_eq!(end, None, "the stream ends with the cloud");
}

#[tokio::test]
async fn no_version_is_missing_between_the_snapshot_and_the_changes() {
    let cloud = Cloud::with_node().await;
    let path = "/v1/nodes/site-1/shadows/device/a";
    let api = cloud.api.clone();
    let writer = tokio::spawn(async move {
        for n in 0..100 {
            api.patch(path, &json!({ "n": n })).await;
        }
    });
    cloud.api.eventually("/v1/nodes/site-1", |node| node["down"]["head"].as_u64() > Some(10)).await;
    let mut events = Events::open(&cloud, "").await;
    let mut last: Option<u64> = None;
    while last != Some(100) {
        let (name, data) = events.next().await.unwrap();
        if name == "shadow" {
            let version = data["version"].as_u64().unwrap();
            assert!(last.is_none_or(|last| last + 1 == version), "{last:?} then {version}");
            last = Some(version);
        }
    }
    writer.await.unwrap();
    cloud.stop().await;
}

#[tokio::test]
async fn a_filter_hides_everything_else() {
    let cloud = Cloud::with_node().await;
    cloud.api.create("site-2").await;
    let write = async |node: &str, key: &str| {
        cloud.api.patch(&format!("/v1/nodes/{node}/shadows/{key}"), &json!({ "a": key })).await;
    };
    write("site-1", "device/a").await;
    write("site-2", "node").await;
    let mut events = Events::open(&cloud, "?node=site-2&key=node").await;
    let (_, first) = events.next().await.unwrap();
    assert_eq!((&first["node"], &first["key"]), (&json!("site-2"), &json!("node")));
    assert_eq!(events.next().await.unwrap().0, "synced");
    write("site-1", "node").await;
    write("site-2", "device/b").await;
    cloud.api.patch("/v1/nodes/site-2/shadows/node", &json!({ "b": 1 })).await;
    let (_, next) = events.next().await.unwrap();
    assert_eq!((&next["node"], &next["version"]), (&json!("site-2"), &json!(2)));
    let unknown = cloud.api.request(Method::GET, "/v1/watch?node=nobody").send().await.unwrap();
    refused(unknown, 404, "unknown_node").await;
    drop(events);
    cloud.stop().await;
}

#[tokio::test]
async fn a_watcher_of_a_label_sees_the_nodes_that_have_it() {
    let cloud = Cloud::with_node().await;
    let label = async |node: &str, region: &str| {
        let labels = json!({ "labels": { "region": region } });
        let path = format!("/v1/nodes/{node}");
        cloud.api.request(Method::PUT, &path).json(&labels).send().await.unwrap();
    };
    let write = async |node: &str, n: u64| {
        cloud.api.patch(&format!("/v1/nodes/{node}/shadows/node"), &json!({ "n": n })).await;
    };
    label("site-1", "south").await;
    label("site-2", "north").await;
    write("site-1", 1).await;
    write("site-2", 1).await;
    let mut events = Events::open(&cloud, "?label=region=north").await;
    let (_, first) = events.next().await.unwrap();
    assert_eq!(first["node"], "site-2");
    assert_eq!(events.next().await.unwrap().0, "synced");
    write("site-1", 2).await;
    write("site-2", 2).await;
    let (_, next) = events.next().await.unwrap();
    assert_eq!((&next["node"], &next["patch"]["n"]), (&json!("site-2"), &json!(2)));
    label("site-1", "north").await;
    let (kind, joined) = events.next().await.unwrap();
    assert_eq!((&*kind, &joined["name"]), ("node", &json!("site-1")));
    write("site-1", 3).await;
    assert_eq!(events.next().await.unwrap().1["patch"]["n"], 3);
    drop(events);
    cloud.stop().await;
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_and_nothing_else() {
    let cloud = Cloud::with_node().await;
    let path = "/v1/nodes/site-1/shadows/device/a";
    cloud.api.patch(path, &json!({ "n": 1 })).await;
    let mut events = Events::open(&cloud, "?node=site-1").await;
    assert_eq!(events.synced().await, [("shadow".to_owned(), 1)]);
    cloud.api.patch(path, &json!({ "n": 2 })).await;
    assert_eq!(events.next().await.unwrap().1["version"], 2);
    let id = events.id.take().unwrap();
    drop(events);
    cloud.api.patch(path, &json!({ "n": 3, "m": 1 })).await;
    cloud.api.create("site-2").await;
    cloud.api.patch(path, &json!({ "n": null })).await;

    let mut events = Events::resume(&cloud, "?node=site-1", Some(&id)).await;
    let missed = events.synced().await;
    assert_eq!(missed, [("shadow".to_owned(), 3), ("shadow".to_owned(), 4)]);
    cloud.api.request(Method::DELETE, path).send().await.unwrap();
    let (_, gone) = events.next().await.unwrap();
    assert_eq!((&gone["patch"], &gone["desired"]), (&json!({ "m": null }), &Value::Null));
    let id = events.id.take().unwrap();
    let mut nothing = Events::resume(&cloud, "?node=site-1", Some(&id)).await;
    assert_eq!(nothing.synced().await, []);
    cloud.api.request(Method::DELETE, "/v1/nodes/site-1").send().await.unwrap();
    let mut events = Events::resume(&cloud, "?node=site-1", Some(&id)).await;
    assert_eq!(events.synced().await, [("node_deleted".to_owned(), 0)]);
    drop((events, nothing));
    cloud.stop().await;
}

#[tokio::test]
async fn who_comes_back_too_late_gets_everything_anew_and_is_told_so() {
    let tune = |config: &mut gnomon_cloud::config::Config| config.core.watch_memory = 3;
    let cloud = Cloud::in_dir(tempfile::TempDir::new().unwrap(), tune).await;
    cloud.api.create("site-1").await;
    let path = "/v1/nodes/site-1/shadows/device/a";
    let mut events = Events::open(&cloud, "").await;
    assert_eq!(events.synced().await, []);
    let id = events.id.take().unwrap();
    drop(events);
    for n in 1..=4 {
        cloud.api.patch(path, &json!({ "n": n })).await;
    }
    let anew = [("resync".to_owned(), 0), ("node".to_owned(), 0), ("shadow".to_owned(), 4)];
    assert_eq!(Events::resume(&cloud, "", Some(&id)).await.synced().await, anew);
    assert_eq!(Events::resume(&cloud, "", Some("nonsense")).await.synced().await, anew);
    let mut events = Events::open(&cloud, "").await;
    events.synced().await;
    let id = events.id.take().unwrap();
    drop(events);
    let cloud = cloud.restart().await;
    assert_eq!(Events::resume(&cloud, "", Some(&id)).await.synced().await, anew);
    cloud.api.create("site-2").await;
    let mut filtered = Events::resume(&cloud, "?node=site-2&key=device/a", Some(&id)).await;
    assert_eq!(filtered.next().await.unwrap().0, "resync");
    let (name, node) = filtered.next().await.unwrap();
    assert_eq!((&*name, &node["name"], &node["online"]), ("node", &json!("site-2"), &json!(false)));
    assert_eq!(filtered.synced().await, []);
    drop(filtered);
    cloud.stop().await;
}
