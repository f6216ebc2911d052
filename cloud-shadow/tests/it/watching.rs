//! The stream of changes.

use std::collections::VecDeque;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::bench::{Cloud, DEADLINE, refused};

/// Reads server-sent events.
struct Events {
    response: Response,
    text: String,
    ready: VecDeque<(String, Value)>,
}

impl Events {
    async fn open(cloud: &Cloud, query: &str) -> Self {
        let request = cloud.api.request(Method::GET, &format!("/v1/watch{query}"));
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), ready: VecDeque::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        while self.ready.is_empty() {
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    self.ready.push_back((name.to_owned(), serde_json::from_str(data).unwrap()));
                }
                self.text = rest.to_owned();
            }
        }
        self.ready.pop_front()
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
