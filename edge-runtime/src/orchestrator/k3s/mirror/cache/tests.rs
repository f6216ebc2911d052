//! Watches, lists and own writes in every order.

use serde_json::json;

use super::*;

fn object(name: &str, version: u64) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version.to_string() } })
}

fn versions(cache: &Cache, kind: Kind) -> Vec<u64> {
    cache.all(kind).map(|it| version(it)).collect()
}

fn all_listed() -> Cache {
    let mut cache = Cache::default();
    for kind in Kind::ALL {
        cache.list_begins(kind);
        cache.list_ends(kind);
    }
    cache
}

#[test]
fn nothing_is_believed_before_every_kind_was_listed() {
    let mut cache = Cache::default();
    for kind in Kind::ALL {
        assert!(matches!(cache.sight(), Sight::Unknown));
        cache.list_begins(kind);
        cache.listed(kind, object("a", 1));
        cache.list_ends(kind);
    }
    assert!(matches!(cache.sight(), Sight::Clear));
    let error = || Arc::new(K3sError::Slow { doing: "watch".to_owned() });
    assert!(cache.broke(Kind::Pod, error()), "the first time is news");
    assert!(!cache.broke(Kind::Pod, error()));
    assert!(matches!(cache.sight(), Sight::Broken(_)));
    assert_eq!(versions(&cache, Kind::Pod), [1], "what was seen is kept");
    cache.list_begins(Kind::Pod);
    assert!(matches!(cache.sight(), Sight::Broken(_)), "a list that begins proves nothing");
    cache.list_ends(Kind::Pod);
    assert!(matches!(cache.sight(), Sight::Clear));
    assert_eq!(versions(&cache, Kind::Pod), [0; 0], "what the list has not is gone");
}

#[test]
fn an_own_write_is_seen_at_once_and_never_brings_back_what_is_gone() {
    let mut cache = all_listed();
    cache.written(Kind::Job, object("a", 5));
    assert_eq!(versions(&cache, Kind::Job), [5]);
    cache.changed(Kind::Job, object("a", 4));
    assert_eq!(versions(&cache, Kind::Job), [5], "the watch is behind the write");
    cache.changed(Kind::Job, object("a", 5));
    cache.deleted(Kind::Job, &object("a", 8));
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
    cache.list_begins(Kind::Job);
    cache.listed(Kind::Job, object("b", 3));
    cache.written(Kind::Job, object("a", 5));
    cache.listed(Kind::Job, object("a", 2));
    cache.list_ends(Kind::Job);
    assert_eq!(versions(&cache, Kind::Job), [5, 3]);
}

#[test]
fn how_a_pod_ended_is_known_as_long_as_its_workload() {
    let mut cache = all_listed();
    cache.changed(Kind::Job, object("a", 1));
    let mut pod = object("a-x", 2);
    pod["metadata"]["labels"] = json!({ names::INSTANCE: "a" });
    pod["status"] =
        json!({ "containerStatuses": [{ "state": { "terminated": { "exitCode": 42 } } }] });
    cache.changed(Kind::Pod, pod.clone());
    assert_eq!(cache.pods("a").count(), 1);
    assert_eq!(cache.ended("a"), None);
    cache.deleted(Kind::Pod, &pod);
    assert_eq!((cache.pods("a").count(), cache.ended("a")), (0, Some(42)));
    cache.deleted(Kind::Job, &object("a", 3));
    assert_eq!(cache.ended("a"), None);
}
