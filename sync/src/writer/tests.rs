//! Scenarios of a writer: what goes in, exactly what comes out, and then nothing more.

use gnomon_schemas::document::Document;
use gnomon_schemas::wire::{Batch, Body};
use rand::SeedableRng;
use serde_json::{Value, json};

use super::*;

const START: Moment = Moment::from_millis(0);

fn writer() -> Writer {
    let config = WriterConfig { window: 2, ..WriterConfig::default() };
    let mut writer = Writer::new(Epoch(7), config, StdRng::seed_from_u64(1));
    assert_eq!(drain(&mut writer), [""; 0]);
    writer
}

fn connected() -> Writer {
    let mut writer = writer();
    writer.link_up(START);
    hello(&mut writer, 7, 0);
    writer
}

fn hello(writer: &mut Writer, epoch: u128, seq: u64) {
    let hello = Hello { epoch: Epoch(epoch), seq: Seq(seq), window: 1 };
    writer.receive(START, &Message::Hello(hello));
}

fn ack(writer: &mut Writer, seq: u64) {
    writer.receive(START, &Message::Ack(Ack { epoch: writer.epoch(), seq: Seq(seq) }));
}

fn fetch(writer: &mut Writer, seq: u64, keys: &[&str]) {
    let keys = keys.iter().map(|key| key.parse().unwrap()).collect();
    writer.receive(START, &Message::Fetch(Fetch { epoch: writer.epoch(), seq: Seq(seq), keys }));
}

fn put(writer: &mut Writer, key: &str, document: Value) -> u64 {
    writer.put(START, &key.parse().unwrap(), Document::from_value(document).unwrap()).0
}

/// What is sent until there is nothing more, in short form; checks that nothing leaves before
/// what it tells is persisted.
fn drain(writer: &mut Writer) -> Vec<String> {
    let mut durable = 0;
    let mut sent = Vec::new();
    while let Some(output) = writer.poll_output() {
        match output {
            Output::Persist(_) => durable += 1,
            Output::Send(Message::Batch(batch)) => sent.push(short(&batch)),
            Output::Send(Message::Manifest(m)) => {
                let keys: Vec<_> = m.entries.iter().map(|e| e.key.to_string()).collect();
                sent.push(format!("manifest {} of {} {}", m.part, m.parts, keys.join(" ")));
            }
            other @ (Output::Send(_) | Output::Deliver(_)) => {
                panic!("a writer does not do this: {other:?} after {durable} commits")
            }
        }
    }
    sent
}

fn short(batch: &Batch) -> String {
    let change = |entry: &gnomon_schemas::wire::Entry| match &entry.body {
        Body::Patch(patch, _) => {
            format!(
                " {} {}->{} {}",
                entry.key,
                entry.base,
                entry.version,
                patch.to_value().unwrap()
            )
        }
        Body::Full(document, _) => format!(" {} ={} {document}", entry.key, entry.version),
        Body::Gone => format!(" {} ={} gone", entry.key, entry.version),
    };
    format!(
        "{}..{}{}",
        batch.after,
        batch.seq,
        batch.changes.iter().map(change).collect::<String>()
    )
}

#[test]
fn nothing_is_sent_before_the_reader_says_where_it_stands() {
    let mut writer = writer();
    put(&mut writer, "node", json!({"a": 1}));
    assert_eq!(drain(&mut writer), [""; 0]);
    writer.link_up(START);
    put(&mut writer, "node", json!({"a": 2}));
    assert_eq!(drain(&mut writer), [""; 0]);
    hello(&mut writer, 7, 0);
    assert_eq!(drain(&mut writer), [r#"0..2 node =2 {"a":2}"#]);
}

#[test]
fn a_reader_in_sync_is_answered_with_silence() {
    let mut writer = connected();
    assert_eq!(drain(&mut writer), [""; 0]);
    assert!(writer.is_in_sync());
    assert_eq!(writer.poll_timeout(), None);
}

#[test]
fn an_equal_document_is_no_change() {
    let mut writer = connected();
    assert_eq!(put(&mut writer, "node", json!({"a": 1})), 1);
    drain(&mut writer);
    assert_eq!(put(&mut writer, "node", json!({"a": 1})), 1);
    assert_eq!(writer.poll_output(), None);
}

#[test]
fn ten_offline_changes_leave_as_one_patch() {
    let mut writer = connected();
    put(&mut writer, "node", json!({"a": 0, "text": "long enough for a patch to pay"}));
    drain(&mut writer);
    ack(&mut writer, 1);
    writer.link_down();
    for value in 1..=10 {
        put(&mut writer, "node", json!({"a": value, "text": "long enough for a patch to pay"}));
    }
    assert_eq!(drain(&mut writer), [""; 0]);
    writer.link_up(START);
    hello(&mut writer, 7, 1);
    assert_eq!(drain(&mut writer), [r#"1..11 node 1->11 {"a":10}"#]);
}

#[test]
fn the_window_holds_back_until_an_ack() {
    let mut writer = connected();
    put(&mut writer, "node", json!({"a": 1}));
    put(&mut writer, "app/web", json!({"b": 1}));
    assert_eq!(drain(&mut writer), [r#"0..1 node =1 {"a":1}"#]);
    ack(&mut writer, 1);
    assert_eq!(drain(&mut writer), [r#"1..2 app/web =1 {"b":1}"#]);
    ack(&mut writer, 2);
    assert!(writer.is_in_sync());
    assert_eq!(drain(&mut writer), [""; 0]);
}

#[test]
fn what_changes_together_is_persisted_together_and_leaves_in_one_batch() {
    let mut writer = connected();
    put(&mut writer, "app/old", json!({"a": 1}));
    put(&mut writer, "node", json!({"n": 1}));
    drain(&mut writer);
    ack(&mut writer, 1);
    ack(&mut writer, 2);
    drain(&mut writer);
    let changes = [
        ("app/web", Some(json!({"b": 1}))),
        ("node", Some(json!({"n": 1}))),
        ("app/never", None),
        ("app/old", None),
    ];
    let document = |value| Document::from_value(value).unwrap().into();
    let change = |(key, value): (&str, Option<Value>)| (key.parse().unwrap(), value.map(document));
    writer.change_all(START, changes.map(change));
    let Some(Output::Persist(rows)) = writer.poll_output() else { panic!("nothing is persisted") };
    assert_eq!(rows.len(), 3, "two halves and the stream: {rows:?}");
    assert_eq!(drain(&mut writer), [r#"2..4 app/web =1 {"b":1} app/old =2 gone"#]);
    writer.change_all(START, []);
    assert_eq!(writer.poll_output(), None);
}

#[test]
fn a_retry_sends_the_newest_state_and_not_the_old_bytes() {
    let mut writer = connected();
    put(&mut writer, "node", json!({"a": 1}));
    assert_eq!(drain(&mut writer), [r#"0..1 node =1 {"a":1}"#]);
    put(&mut writer, "node", json!({"a": 2}));
    assert_eq!(drain(&mut writer), [""; 0]);
    let (due, _) = writer.poll_timeout().unwrap();
    writer.handle_timeout(due);
    assert_eq!(drain(&mut writer), [r#"0..2 node =2 {"a":2}"#]);
    assert_eq!(writer.counters().retries, 1);
}

#[test]
fn a_late_ack_of_a_superseded_batch_still_tells_what_the_reader_holds() {
    let mut writer = connected();
    let long = "long enough for a patch to be worth it";
    put(&mut writer, "node", json!({"a": 1, "t": long}));
    drain(&mut writer);
    put(&mut writer, "node", json!({"a": 2, "t": long}));
    ack(&mut writer, 1);
    assert_eq!(drain(&mut writer), [r#"1..2 node 1->2 {"a":2}"#]);
}

#[test]
fn another_epoch_gets_a_manifest_and_then_only_what_it_lacks() {
    let mut writer = writer();
    put(&mut writer, "node", json!({"a": 1}));
    put(&mut writer, "app/web", json!({"b": 1}));
    drain(&mut writer);
    writer.link_up(START);
    hello(&mut writer, 99, 500);
    assert_eq!(drain(&mut writer), ["manifest 0 of 1 node app/web"]);
    fetch(&mut writer, 2, &["app/web"]);
    assert_eq!(drain(&mut writer), [r#"2..2 app/web =1 {"b":1}"#]);
    ack(&mut writer, 2);
    assert!(writer.is_in_sync());
}

#[test]
fn a_reader_ahead_of_its_writer_makes_a_new_epoch() {
    let mut writer = connected();
    put(&mut writer, "node", json!({"a": 1}));
    drain(&mut writer);
    hello(&mut writer, 7, 9);
    assert_ne!(writer.epoch(), Epoch(7));
    assert_eq!(drain(&mut writer), ["manifest 0 of 1 node"]);
}

#[test]
fn a_wish_for_what_never_was_is_answered_with_gone() {
    let mut writer = connected();
    fetch(&mut writer, 0, &["app/ghost"]);
    assert_eq!(drain(&mut writer), ["0..0 app/ghost =1 gone"]);
}

/// Found by the pair test: two wishes in turns, each forgetting the other, never ended.
#[test]
fn wishes_add_up_until_they_are_met() {
    let mut writer = connected();
    put(&mut writer, "node", json!({"a": 1}));
    put(&mut writer, "app/web", json!({"b": 1}));
    drain(&mut writer);
    fetch(&mut writer, 0, &["node"]);
    fetch(&mut writer, 0, &["app/web"]);
    assert_eq!(writer.wanted.len(), 2);
    drain(&mut writer);
    ack(&mut writer, 2);
    assert!(writer.is_in_sync());
}

#[test]
fn a_repeated_wish_without_progress_waits_for_the_retry() {
    let mut writer = connected();
    put(&mut writer, "node", json!({"a": 1}));
    drain(&mut writer);
    fetch(&mut writer, 0, &["node"]);
    assert_eq!(drain(&mut writer).len(), 1);
    fetch(&mut writer, 0, &["node"]);
    assert_eq!(drain(&mut writer), [""; 0]);
    let (due, _) = writer.poll_timeout().unwrap();
    writer.handle_timeout(due);
    assert_eq!(drain(&mut writer), [r#"0..1 node =1 {"a":1}"#]);
}

/// Found by the simulation: a reader that took over a history and is far behind it said with each
/// batch what was still missing, and was made to wait for a retry each time.
#[test]
fn a_repeated_wish_with_progress_is_answered_at_once() {
    let config = WriterConfig { max_batch: 1, ..WriterConfig::default() };
    let mut writer = Writer::new(Epoch(7), config, StdRng::seed_from_u64(1));
    put(&mut writer, "app/a", json!({"a": 1}));
    put(&mut writer, "app/b", json!({"b": 1}));
    put(&mut writer, "node", json!({"c": 1}));
    writer.link_up(START);
    fetch(&mut writer, 0, &["node"]);
    assert_eq!(drain(&mut writer), [r#"0..1 app/a =1 {"a":1}"#]);
    fetch(&mut writer, 1, &["node"]);
    assert_eq!(drain(&mut writer), [r#"1..2 app/b =1 {"b":1}"#]);
    fetch(&mut writer, 2, &["node"]);
    assert_eq!(drain(&mut writer), [r#"2..3 node =1 {"c":1}"#]);
    ack(&mut writer, 3);
    assert!(writer.is_in_sync());
}

/// Found by the simulation: with more than one batch in flight, one that did not fit made the
/// reader say for each later one that it was lost; each time everything was sent again, and the
/// wish was forgotten. It never ended.
#[test]
fn one_misfit_in_a_window_does_not_multiply() {
    let config = WriterConfig { max_batch: 1, window: 4, ..WriterConfig::default() };
    let mut writer = Writer::new(Epoch(7), config, StdRng::seed_from_u64(1));
    for key in ["app/a", "app/b", "app/c", "app/d", "node"] {
        put(&mut writer, key, json!({"x": 1}));
    }
    writer.link_up(START);
    let lost = Message::Hello(Hello { epoch: Epoch(7), seq: Seq(0), window: 4 });
    writer.receive(START, &lost);
    assert_eq!(drain(&mut writer).len(), 4);
    fetch(&mut writer, 0, &["app/a"]);
    assert_eq!(drain(&mut writer), [r#"0..1 app/a =1 {"x":1}"#]);
    for _ in 0..3 {
        writer.receive(START, &lost);
    }
    assert_eq!(drain(&mut writer), [""; 0]);
    ack(&mut writer, 1);
    assert_eq!(drain(&mut writer).len(), 4);
}

/// Found by the simulation: each part of a manifest that came too late made the reader say that it
/// was lost, and each time all parts were sent again.
#[test]
fn a_manifest_on_its_way_is_not_sent_again_before_the_retry() {
    let mut writer = writer();
    put(&mut writer, "node", json!({"a": 1}));
    drain(&mut writer);
    writer.link_up(START);
    hello(&mut writer, 99, 5);
    assert_eq!(drain(&mut writer), ["manifest 0 of 1 node"]);
    hello(&mut writer, 99, 5);
    assert_eq!(drain(&mut writer), [""; 0]);
    hello(&mut writer, 98, 5);
    assert_eq!(drain(&mut writer), ["manifest 0 of 1 node"]);
    let (due, _) = writer.poll_timeout().unwrap();
    writer.handle_timeout(due);
    assert_eq!(drain(&mut writer), ["manifest 0 of 1 node"]);
}

/// Found by the simulation: a reader that took over a manifest had dropped what was deleted then,
/// and was sent a patch from what it had held before.
#[test]
fn a_half_deleted_before_a_manifest_and_made_after_it_goes_in_full() {
    let mut writer = connected();
    let long = "long enough for a patch to be worth it";
    put(&mut writer, "node", json!({"a": 1, "t": long}));
    drain(&mut writer);
    ack(&mut writer, 1);
    writer.link_down();
    writer.delete(START, &ShadowKey::Node);
    writer.link_up(START);
    hello(&mut writer, 99, 5);
    assert_eq!(drain(&mut writer), ["manifest 0 of 1 "]);
    put(&mut writer, "node", json!({"a": 2, "t": long}));
    ack(&mut writer, 2);
    let sent = drain(&mut writer);
    assert!(sent.len() == 1 && sent[0].starts_with("2..3 node =3 "), "{sent:?}");
}

#[test]
fn a_deleted_half_made_anew_goes_on_counting() {
    let mut writer = connected();
    let key = "app/web".parse().unwrap();
    put(&mut writer, "app/web", json!({"b": 1}));
    assert_eq!(writer.delete(START, &key), Some(Version(2)));
    assert_eq!(writer.delete(START, &key), None);
    assert!(writer.get(&key).is_none());
    assert_eq!(put(&mut writer, "app/web", json!({"b": 2})), 3);
}

#[test]
fn a_silent_reader_is_asked_where_it_stands() {
    let mut writer = writer();
    writer.link_up(START);
    let (due, why) = writer.poll_timeout().unwrap();
    assert_eq!(why, "the reader has not said where it stands");
    writer.handle_timeout(due);
    assert_eq!(drain(&mut writer), ["0..0"]);
    ack(&mut writer, 0);
    assert!(writer.is_in_sync());
}

#[test]
fn a_large_set_of_changes_is_cut_in_the_order_of_positions() {
    let config = WriterConfig { max_batch: 100, ..WriterConfig::default() };
    let mut writer = Writer::new(Epoch(7), config, StdRng::seed_from_u64(1));
    for name in ["app/b", "app/a", "app/c"] {
        put(&mut writer, name, json!({"x": "fills more than a third of a batch"}));
    }
    writer.link_up(START);
    hello(&mut writer, 7, 0);
    let mut acked = 0;
    for key in ["app/b", "app/a", "app/c"] {
        let sent = drain(&mut writer);
        assert!(sent.len() == 1 && sent[0].contains(key), "{sent:?}");
        acked += 1;
        ack(&mut writer, acked);
    }
    assert_eq!(drain(&mut writer), [""; 0]);
}

#[test]
fn after_a_restart_only_what_changed_meanwhile_goes_in_full() {
    let mut rows = BTreeMap::new();
    let mut save = |writer: &mut Writer| {
        while let Some(output) = writer.poll_output() {
            let Output::Persist(changed) = output else { continue };
            rows.extend(changed.into_iter().map(|row| (row.key, row.value.unwrap())));
        }
        rows.clone()
    };
    let long = "long enough for a patch to be worth it";
    let mut writer = Writer::new(Epoch(7), WriterConfig::default(), StdRng::seed_from_u64(1));
    put(&mut writer, "node", json!({"a": 1, "t": long}));
    put(&mut writer, "app/web", json!({"b": 1, "t": long}));
    writer.link_up(START);
    hello(&mut writer, 7, 0);
    ack(&mut writer, 2);
    put(&mut writer, "node", json!({"a": 2, "t": long}));
    let disk = save(&mut writer);
    let rng = StdRng::seed_from_u64(2);
    let mut writer = Writer::restore(disk, WriterConfig::default(), rng).unwrap().unwrap();
    writer.link_up(START);
    hello(&mut writer, 7, 2);
    assert_eq!(drain(&mut writer), [r#"2..3 node 1->2 {"a":2}"#], "the base is in the store");
    hello(&mut writer, 7, 1);
    let sent = drain(&mut writer);
    assert!(sent[0].contains("app/web =1"), "no base for a reader so far behind: {sent:?}");
}

#[test]
fn a_reader_that_stands_where_this_writer_never_sent_anything_meets_a_new_history() {
    let mut writer = connected();
    put(&mut writer, "node", json!({"a": 1}));
    ack(&mut writer, 1);
    drain(&mut writer);
    writer.link_down();
    put(&mut writer, "node", json!({"a": 2}));
    let before = writer.epoch();
    writer.link_up(START);
    hello(&mut writer, 7, 2);
    assert_eq!(drain(&mut writer), ["manifest 0 of 1 node"], "another one has told it of 2");
    assert_ne!(writer.epoch(), before);
}
