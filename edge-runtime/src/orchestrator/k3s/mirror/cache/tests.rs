//! Watches, lists and own writes in every order.

use serde_json::json;

use super::*;
use crate::orchestrator::k3s::K3sError;
use crate::orchestrator::k3s::observe::text;

fn object(name: &str, version: u64) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version.to_string() } })
}

fn versions(cache: &Cache, kind: Kind) -> Vec<u64> {
    let version = |it: &Arc<Value>| text(it, "/metadata/resourceVersion")?.parse().ok();
    cache.all(kind).filter_map(version).collect()
}

fn all_listed() -> Cache {
    let mut cache = Cache::default();
    for kind in Kind::ALL {
        cache.take(kind, News::ListBegins);
        cache.take(kind, News::ListEnds);
    }
    cache
}

#[test]
fn nothing_is_believed_before_every_kind_was_listed() {
    let mut cache = Cache::default();
    for kind in Kind::ALL {
        assert!(matches!(cache.sight(), Sight::Unknown));
        cache.take(kind, News::ListBegins);
        cache.take(kind, News::Listed(object("a", 1)));
        cache.take(kind, News::ListEnds);
    }
    assert!(matches!(cache.sight(), Sight::Clear));
    let error = || Arc::new(K3sError::Slow { doing: "watch".to_owned() });
    assert!(cache.take(Kind::Pod, News::Broke(error())), "the first time is news");
    assert!(!cache.take(Kind::Pod, News::Broke(error())));
    assert!(matches!(cache.sight(), Sight::Broken(_)));
    assert_eq!(versions(&cache, Kind::Pod), [1], "what was seen is kept");
    cache.take(Kind::Pod, News::ListBegins);
    assert!(matches!(cache.sight(), Sight::Broken(_)), "a list that begins proves nothing");
    cache.take(Kind::Pod, News::ListEnds);
    assert!(matches!(cache.sight(), Sight::Clear));
    assert_eq!(versions(&cache, Kind::Pod), [0; 0], "what the list has not is gone");
}

#[test]
fn an_own_write_is_seen_at_once_and_never_brings_back_what_is_gone() {
    let mut cache = all_listed();
    cache.written(Kind::Job, object("a", 5));
    assert_eq!(versions(&cache, Kind::Job), [5]);
    cache.take(Kind::Job, News::Changed(object("a", 4)));
    assert_eq!(versions(&cache, Kind::Job), [5], "the watch is behind the write");
    cache.take(Kind::Job, News::Changed(object("a", 5)));
    cache.take(Kind::Job, News::Deleted(object("a", 8)));
    cache.written(Kind::Job, object("a", 7));
    assert_eq!(versions(&cache, Kind::Job), [0; 0], "the answer came after the deletion");
    cache.written(Kind::Job, object("a", 9));
    assert_eq!(versions(&cache, Kind::Job), [9], "made anew");
    cache.missed(Kind::Job, "a");
    assert_eq!(versions(&cache, Kind::Job), [0; 0]);
}

#[test]
fn a_write_during_a_list_is_not_lost_to_the_older_list() {
    let mut cache = all_listed();
    cache.take(Kind::Job, News::ListBegins);
    cache.take(Kind::Job, News::Listed(object("b", 3)));
    cache.written(Kind::Job, object("a", 5));
    cache.take(Kind::Job, News::Listed(object("a", 2)));
    cache.take(Kind::Job, News::ListEnds);
    assert_eq!(versions(&cache, Kind::Job), [5, 3]);
}

#[test]
fn how_a_pod_ended_is_known_as_long_as_its_workload() {
    let mut cache = all_listed();
    cache.take(Kind::Job, News::Changed(object("a", 1)));
    let mut pod = object("a-x", 2);
    pod["metadata"]["labels"] = json!({ names::INSTANCE: "a" });
    pod["status"] =
        json!({ "containerStatuses": [{ "state": { "terminated": { "exitCode": 42 } } }] });
    cache.take(Kind::Pod, News::Changed(pod.clone()));
    assert_eq!(cache.pods("a").count(), 1);
    assert_eq!(cache.ended("a"), None);
    cache.take(Kind::Pod, News::Deleted(pod));
    assert_eq!((cache.pods("a").count(), cache.ended("a")), (0, Some(42)));
    cache.take(Kind::Job, News::Deleted(object("a", 3)));
    assert_eq!(cache.ended("a"), None);
}
