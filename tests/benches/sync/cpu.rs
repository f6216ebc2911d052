//! CPU per message of both machines, by repetition in one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use gnomon_schemas::document::Document;
use gnomon_schemas::topic::MessageKind;
use gnomon_schemas::wire::Message;
use serde_json::json;

use crate::ends::Ends;
use crate::report::{Row, Target};

/// Microseconds per message, over so many.
pub(crate) fn run(rounds: u32) -> Vec<Row> {
    let mut ends = Ends::new();
    let document = |n: u64| {
        let value = json!({ "counter": n, "text": "x".repeat(1_400) });
        Document::from_value(value).expect("a small document")
    };
    let key = "device/d0".parse().expect("a key");
    let now = ends.now();
    ends.cloud_writer.put(now, &key, document(0));
    ends.settle();
    ends.cloud_up();
    let now = ends.now();
    ends.site_reader.link_up(now);
    for (stream, message) in ends.site_sends() {
        ends.at_cloud(stream, &message);
    }
    let mut spent = [Duration::ZERO; 4];
    for round in 1..=rounds {
        let new = document(u64::from(round));
        let start = Instant::now();
        ends.cloud_writer.put(now, &key, new);
        let sends = ends.cloud_sends();
        let put = Instant::now();
        let bytes: Vec<_> = sends.iter().map(|(_, message)| message.encode()).collect();
        let encoded = Instant::now();
        for payload in &bytes {
            black_box(Message::decode(MessageKind::Batch, payload)).ok();
        }
        let decoded = Instant::now();
        for (stream, message) in &sends {
            ends.at_site(*stream, message);
        }
        let acks = ends.site_sends();
        for (stream, message) in &acks {
            ends.at_cloud(*stream, message);
        }
        drop(ends.cloud_sends());
        let times = [start, put, encoded, decoded, Instant::now()];
        for (slot, pair) in spent.iter_mut().zip(times.windows(2)) {
            if let [from, to] = pair {
                *slot += to.duration_since(*from);
            }
        }
    }
    let what = [
        "a batch of one change to a shadow of 1.5 KB: put, row, batch",
        "a batch of one change: encode",
        "a batch of one change: decode",
        "a batch of one change: judge, row, acknowledge; take that",
    ];
    let row = |(what, spent): (&str, Duration)| {
        let ours = spent.as_secs_f64() * 1e6 / f64::from(rounds);
        Row { what: what.to_owned(), unit: "us", ours, peer: None, target: Target::None }
    };
    what.into_iter().zip(spent).map(row).collect()
}
