//! What the pure parts cost, one call at a time, with criterion: it compares with the run before and
//! says whether a difference is one. Figures for the code's authors; nothing here is published.
//! Run: make bench BENCH=micro; with `GNOMON_BENCH=short`, in some seconds.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gnomon_cloud::domain::{
    Action, Author, Change, Command, Domain, DomainConfig, Now, Precondition, Write,
};
use gnomon_edge::link::retry::{Met, Retry};
use gnomon_schemas::document::{Document, delta, diff, merge};
use gnomon_schemas::topic::Topic;
use gnomon_schemas::version::{Epoch, Seq};
use gnomon_schemas::wire::{Ack, Message};
use gnomon_sim::link::{Chunk, ConnectionState, Direction, DirectionState, Profile, schedule};
use gnomon_sim::scenario::{SHIPPED, read, timetable::Timetable};
use gnomon_sync::Moment;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// A shadow such as a petrol station has: about 1.5 KB of JSON.
fn station(price: u32) -> Document {
    let pump = |number: u32| {
        let value = json!({
            "litres": 12_345 + number, "pressure_bar": 3.5, "state": "idle", "price": price,
            "nozzles": ["diesel", "e5", "e10"], "last_sale": "2026-11-21T18:11:43Z",
        });
        (format!("pump-{number}"), value)
    };
    let pumps: BTreeMap<String, Value> = (0..10).map(pump).collect();
    Document::from_value(json!({ "pumps": pumps })).expect("a well-formed document")
}

fn documents(criterion: &mut Criterion) {
    let (before, after) = (station(175), station(179));
    let patch = diff(&before, &after);
    let cbor = before.to_cbor();
    let mut group = criterion.benchmark_group("document");
    group.throughput(Throughput::Bytes(cbor.len() as u64));
    group.bench_function("diff", |it| {
        it.iter(|| diff(black_box(&before), black_box(&after)));
    });
    group.bench_function("merge", |it| {
        it.iter(|| merge(black_box(&before), black_box(&patch)));
    });
    group.bench_function("delta", |it| {
        it.iter(|| delta(black_box(&after), black_box(&before)));
    });
    group.bench_function("digest", |it| it.iter(|| black_box(&before).digest()));
    group.bench_function("to_cbor", |it| it.iter(|| black_box(&before).to_cbor()));
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let ack = Message::Ack(Ack { epoch: Epoch(u128::MAX / 3), seq: Seq(1_234_567) });
    let (kind, bytes) = (ack.kind(), ack.encode());
    let topic = Topic::all_to(&"site-17".parse().expect("a name"));
    let one = topic.replace(['#', '+'], "batch");
    let mut group = criterion.benchmark_group("message");
    group.bench_function("encode an ack", |it| it.iter(|| black_box(&ack).encode()));
    group.bench_function("decode an ack", |it| {
        it.iter(|| Message::decode(kind, black_box(&bytes)));
    });
    group.bench_function("parse a topic", |it| it.iter(|| black_box(&one).parse::<Topic>()));
    group.finish();
}

fn cloud(criterion: &mut Criterion) {
    let (config, rng) = (DomainConfig::default(), StdRng::seed_from_u64(1));
    let mut domain = Domain::new(config, rng);
    let now = Now { moment: Moment::from_millis(1), unix_ms: 1_800_000_000_000 };
    let node = |number: u32| format!("site-{number}").parse().expect("a name");
    let command =
        |number: u32, action: Action| Command { node: node(number), action, by: Author::cloud() };
    for number in 0..1_000 {
        domain.handle(command(number, Action::put_node()), now).expect("a new node");
    }
    let mut round = 0_u32;
    criterion.bench_function("cloud: a write of a 1.5 KB shadow, of 1,000 nodes", |it| {
        it.iter(|| {
            round += 1;
            let key = "device/forecourt".parse().expect("a key");
            let (change, when) = (Change::Put(station(round)), Precondition::Any);
            let write = Action::Write(Write { key, change, when, fields: Vec::new() });
            domain.handle(command(round % 1_000, write), now).is_ok()
        });
    });
}

fn links(criterion: &mut Criterion) {
    let profile = Profile::shipped("4g-bad").expect("a shipped profile");
    let mut rng = StdRng::seed_from_u64(1);
    let (mut line, zero) = (DirectionState::new(), Duration::ZERO);
    let mut connection = ConnectionState::open(zero, &profile, &mut rng);
    let mut now = zero;
    criterion.bench_function("link: the fate of a segment", |it| {
        it.iter(|| {
            now += Duration::from_millis(100);
            let chunk = Chunk { direction: Direction::Up, bytes: 1_024 };
            schedule(now, chunk, &profile, &mut rng, &mut line, &mut connection)
        });
    });
    let mut retry = Retry::new(StdRng::seed_from_u64(1));
    criterion.bench_function("link: the wait before the next attempt", |it| {
        it.iter(|| retry.next_delay(black_box(Met::Silence)));
    });
}

fn scenarios(criterion: &mut Criterion) {
    let (_, text) = SHIPPED[0];
    criterion.bench_function("scenario: read and timetable", |it| {
        it.iter(|| Timetable::of(&read::scenario(black_box(text)).expect("a shipped scenario")));
    });
}

/// Enough to see that everything works, if that is all that is wanted.
fn configured() -> Criterion {
    let all = Criterion::default();
    if std::env::var("GNOMON_BENCH").is_ok_and(|it| it == "short") {
        let short = Duration::from_millis(100);
        return all.sample_size(10).warm_up_time(short / 10).measurement_time(short);
    }
    all.measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = pure;
    config = configured();
    targets = documents, messages, cloud, links, scenarios
}
criterion_main!(pure);
