//! CPU per message of both machines, by repetition in one thread.

use std::hint::black_box;
use std::time::Instant;

use gnomon_schemas::document::Document;
use gnomon_schemas::topic::MessageKind;
use gnomon_schemas::wire::Message;
use serde_json::{Value, json};

use crate::ends::Ends;

const ROUNDS: u64 = 20_000;

/// Nanoseconds per message.
pub(crate) fn run() -> Value {
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
    let mut spent = [0_u128; 4];
    for round in 1..=ROUNDS {
        let new = document(round);
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
                *slot += to.duration_since(*from).as_nanos();
            }
        }
    }
    let per_message = |total: u128| u64::try_from(total / u128::from(ROUNDS)).unwrap_or(u64::MAX);
    let [put, encode, decode, take] = spent.map(per_message);
    json!({
        "Writer: put, row, batch (1.5 KB shadow)": put,
        "encode the batch": encode,
        "decode the batch": decode,
        "Reader: judge, row, ack; Writer: ack": take,
    })
}
