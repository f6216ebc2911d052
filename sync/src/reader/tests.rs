//! Scenarios of a reader: what goes in, exactly what comes out, and then nothing more.

use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::version::Digest;
use gnomon_schemas::wire::{Body, Entry, ManifestEntry};
use serde_json::{Value, json};

use super::*;

const NOW: Moment = Moment::from_millis(0);
const EPOCH: Epoch = Epoch(7);

fn document(value: Value) -> Document {
    Document::from_value(value).unwrap()
}

fn full(key: &str, version: u64, value: Value) -> Entry {
    let document = document(value);
    let digest = document.digest();
    let body = Body::Full(document, digest);
    Entry { key: key.parse().unwrap(), base: Version::ZERO, version: Version(version), body }
}

fn patch(key: &str, base: u64, patch: Value, result: Value) -> Entry {
    let body = Body::Patch(Patch::from_value(patch).unwrap(), document(result).digest());
    let (base, version) = (Version(base), Version(base + 1));
    Entry { key: key.parse().unwrap(), base, version, body }
}

fn batch(after: u64, seq: u64, changes: Vec<Entry>) -> Message {
    Message::Batch(Batch { epoch: EPOCH, after: Seq(after), seq: Seq(seq), changes })
}

fn manifest(answers: Epoch, seq: u64, entries: &[(&str, u64, Digest)]) -> Message {
    let entry = |(key, version, digest): &(&str, u64, Digest)| ManifestEntry {
        key: key.parse().unwrap(),
        version: Version(*version),
        digest: *digest,
    };
    let entries = entries.iter().map(entry).collect();
    let (part, parts) = (0, 1);
    Message::Manifest(Manifest { epoch: EPOCH, seq: Seq(seq), answers, part, parts, entries })
}

/// A reader at position 1 that holds `node` v1.
fn reader() -> Reader {
    let mut reader = Reader::new(ReaderConfig::default());
    reader.receive(NOW, &manifest(Epoch::NONE, 0, &[]));
    reader.receive(NOW, &batch(0, 1, vec![full("node", 1, json!({"a": 1}))]));
    drain(&mut reader);
    reader
}

fn send(reader: &mut Reader, message: &Message) -> Vec<String> {
    reader.receive(NOW, message);
    drain(reader)
}

fn drain(reader: &mut Reader) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(output) = reader.poll_output() {
        seen.push(match output {
            Output::Persist(rows) => format!("persist {}", rows.len()),
            Output::Send(Message::Ack(ack)) => format!("ack {}", ack.seq),
            Output::Send(Message::Hello(hello)) => format!("hello {}", hello.seq),
            Output::Send(Message::Fetch(fetch)) => {
                let keys: Vec<_> = fetch.keys.iter().map(ToString::to_string).collect();
                format!("fetch {} {}", fetch.seq, keys.join(" "))
            }
            Output::Deliver(news) => match news.document {
                Some(document) => format!("deliver {} v{} {document}", news.key, news.version),
                None => format!("deliver {} gone", news.key),
            },
            Output::Send(other) => panic!("a reader does not send {other:?}"),
        });
    }
    seen
}

#[test]
fn a_batch_is_persisted_then_acknowledged_then_delivered() {
    let patched = patch("node", 1, json!({"b": 2}), json!({"a": 1, "b": 2}));
    assert_eq!(
        send(&mut reader(), &batch(1, 2, vec![patched])),
        ["persist 2", "ack 2", r#"deliver node v2 {"a":1,"b":2}"#]
    );
}

#[test]
fn a_duplicate_is_acknowledged_again_and_changes_nothing() {
    let mut reader = reader();
    let again = batch(0, 1, vec![full("node", 1, json!({"a": 1}))]);
    assert_eq!(send(&mut reader, &again), ["ack 1"]);
    assert_eq!(send(&mut reader, &batch(1, 1, vec![])), ["ack 1"]);
    assert_eq!(reader.counters().duplicates, 2);
}

#[test]
fn a_gap_is_answered_with_the_position() {
    let mut reader = reader();
    assert_eq!(send(&mut reader, &batch(3, 4, vec![full("node", 4, json!({}))])), ["hello 1"]);
    assert_eq!(reader.get(&ShadowKey::Node).unwrap().version, Version(1));
}

#[test]
fn a_patch_from_another_base_is_fetched_and_the_rest_waits_with_it() {
    let mut reader = reader();
    let misfit = patch("node", 5, json!({"b": 2}), json!({"a": 1, "b": 2}));
    let fine = full("app/web", 1, json!({}));
    assert_eq!(send(&mut reader, &batch(1, 3, vec![misfit, fine])), ["fetch 1 node"]);
    assert_eq!(reader.halves().count(), 1);
}

#[test]
fn a_digest_that_does_not_match_is_fetched() {
    let mut reader = reader();
    let wrong = patch("node", 1, json!({"b": 2}), json!({"a": 1, "b": 3}));
    assert_eq!(send(&mut reader, &batch(1, 2, vec![wrong])), ["fetch 1 node"]);
    let mut wrong = full("node", 2, json!({"a": 2}));
    if let Body::Full(_, digest) = &mut wrong.body {
        *digest = Digest([0; 16]);
    }
    assert_eq!(send(&mut reader, &batch(1, 2, vec![wrong])), ["fetch 1 node"]);
}

#[test]
fn an_older_version_inside_a_newer_batch_is_dropped() {
    let mut reader = reader();
    let newer = full("node", 3, json!({"a": 3}));
    send(&mut reader, &batch(1, 3, vec![newer]));
    let older = full("node", 2, json!({"a": 2}));
    assert_eq!(send(&mut reader, &batch(1, 4, vec![older])), ["persist 1", "ack 4"]);
    assert_eq!(reader.get(&ShadowKey::Node).unwrap().version, Version(3));
}

#[test]
fn a_tombstone_removes_and_does_not_come_back_with_an_old_batch() {
    let mut reader = reader();
    let key = ShadowKey::Node;
    let (base, version) = (Version::ZERO, Version(2));
    let gone = Entry { key: key.clone(), base, version, body: Body::Gone };
    assert_eq!(
        send(&mut reader, &batch(1, 2, vec![gone])),
        ["persist 2", "ack 2", "deliver node gone"]
    );
    assert_eq!(send(&mut reader, &batch(0, 1, vec![full("node", 1, json!({}))])), ["ack 2"]);
    assert!(reader.get(&key).is_none());
}

#[test]
fn a_manifest_keeps_what_is_equal_drops_what_is_not_named_and_fetches_the_rest() {
    let mut reader = reader();
    send(&mut reader, &batch(1, 2, vec![full("app/old", 1, json!({}))]));
    let equal = document(json!({"a": 1})).digest();
    let other = document(json!({"x": 1})).digest();
    let list = [("node", 8, equal), ("app/new", 3, other)];
    let mut foreign = manifest(EPOCH, 40, &list);
    if let Message::Manifest(manifest) = &mut foreign {
        manifest.epoch = Epoch(8);
    }
    assert_eq!(
        send(&mut reader, &foreign),
        ["persist 4", "fetch 40 app/new", "deliver app/old gone"]
    );
    assert_eq!(reader.get(&ShadowKey::Node).unwrap().version, Version(8));
    assert!(reader.is_incomplete());
    reader.link_up(NOW);
    assert_eq!(drain(&mut reader), ["fetch 40 app/new"]);
    let stale = full("app/new", 2, json!({"x": 0}));
    let found = full("app/new", 3, json!({"x": 1}));
    for (entry, expected) in [
        (stale, vec!["persist 1", "fetch 40 app/new"]),
        (found, vec!["persist 3", "ack 40", r#"deliver app/new v3 {"x":1}"#]),
    ] {
        let (after, seq) = (Seq(40), Seq(40));
        let repair = Batch { epoch: Epoch(8), after, seq, changes: vec![entry] };
        assert_eq!(send(&mut reader, &Message::Batch(repair)), expected);
    }
}

/// Found by the pair test: a late repair for one half brought back another one, deleted since.
#[test]
fn a_late_repair_brings_only_what_is_missing() {
    let mut reader = Reader::new(ReaderConfig::default());
    let digest = document(json!({"x": 1})).digest();
    reader.receive(NOW, &manifest(Epoch::NONE, 3, &[("app/web", 1, digest)]));
    drain(&mut reader);
    let deleted = full("node", 1, json!({}));
    let wanted = full("app/web", 1, json!({"x": 1}));
    let late = batch(2, 2, vec![deleted, wanted]);
    assert_eq!(send(&mut reader, &late), ["persist 3", "ack 3", r#"deliver app/web v1 {"x":1}"#]);
}

#[test]
fn a_manifest_that_answers_an_older_self_is_stale() {
    let mut reader = reader();
    let mut stale = manifest(Epoch::NONE, 9, &[]);
    if let Message::Manifest(manifest) = &mut stale {
        manifest.epoch = Epoch(3);
    }
    assert_eq!(send(&mut reader, &stale), ["hello 1"]);
    assert_eq!(reader.epoch(), EPOCH);
}

/// World, seed 16452: each of 188 stale parts was answered, and each late answer brought a manifest.
#[test]
fn a_manifest_of_no_use_is_answered_once_and_not_for_each_part() {
    let mut reader = reader();
    let part = |epoch, part| {
        let (seq, answers, parts, entries) = (Seq(0), Epoch::NONE, 4, Vec::new());
        Message::Manifest(Manifest { epoch, seq, answers, part, parts, entries })
    };
    for (epoch, answer) in [(Epoch(3), "hello 1"), (EPOCH, "ack 1")] {
        (0..4).for_each(|number| reader.receive(NOW, &part(epoch, number)));
        assert_eq!(drain(&mut reader), [answer]);
    }
}

#[test]
fn a_manifest_in_parts_counts_only_when_whole() {
    let mut reader = Reader::new(ReaderConfig::default());
    for part in [1, 1, 0] {
        assert_eq!(reader.epoch(), Epoch::NONE);
        let entries = Vec::new();
        let (epoch, seq, answers, parts) = (EPOCH, Seq(5), Epoch::NONE, 2);
        let part = Manifest { epoch, seq, answers, part, parts, entries };
        reader.receive(NOW, &Message::Manifest(part));
    }
    assert_eq!(drain(&mut reader), ["persist 1", "ack 5"]);
}

#[test]
fn a_restart_continues_where_the_store_stands() {
    let mut reader = Reader::new(ReaderConfig::default());
    reader.receive(NOW, &manifest(Epoch::NONE, 0, &[]));
    reader.receive(NOW, &batch(0, 1, vec![full("node", 1, json!({"a": 1}))]));
    let mut disk = BTreeMap::new();
    while let Some(output) = reader.poll_output() {
        if let Output::Persist(rows) = output {
            disk.extend(rows.into_iter().filter_map(|row| Some((row.key, row.value?))));
        }
    }
    let mut reader = Reader::restore(disk, ReaderConfig::default()).unwrap().unwrap();
    assert_eq!(reader.poll_output(), None);
    reader.link_up(NOW);
    assert_eq!(drain(&mut reader), ["hello 1"]);
    assert_eq!(reader.get(&ShadowKey::Node).unwrap().document.unpack(), document(json!({"a": 1})));
}

#[test]
fn rows_of_a_stranger_are_an_error_and_no_panic() {
    for (key, value) in [("x", &b""[..]), ("s", b"\xff"), ("h/node", b"\xa0"), ("h/pod/x", b"\xa0")]
    {
        let rows = [(key.as_bytes().to_vec(), value.to_vec())];
        assert!(Reader::restore(rows, ReaderConfig::default()).is_err(), "{key}");
    }
}

#[test]
fn a_reader_that_gave_up_its_position_is_in_doubt_until_a_manifest_tells_what_exists() {
    let mut reader = reader();
    send(&mut reader, &batch(1, 2, vec![full("app/old", 1, json!({}))]));
    reader.give_up_position();
    assert_eq!(drain(&mut reader), ["persist 1"]);
    assert!(reader.is_in_doubt() && reader.doubts(&ShadowKey::Node));
    reader.link_up(NOW);
    assert_eq!(drain(&mut reader), ["hello 0"]);
    assert_eq!(send(&mut reader, &batch(1, 2, Vec::new())), ["hello 0"]);
    let (equal, other) = (document(json!({"a": 1})).digest(), document(json!({"x": 1})).digest());
    let list = [("node", 1, equal), ("app/old", 3, other)];
    assert_eq!(
        send(&mut reader, &manifest(Epoch::NONE, 9, &list)),
        ["persist 3", "fetch 9 app/old"]
    );
    assert!(!reader.is_in_doubt() && !reader.doubts(&ShadowKey::Node));
    assert!(reader.doubts(&"app/old".parse().unwrap()), "its document has not come");
}
