//! Where the time goes in the worst second of a run, by the service's own metrics: how long the
//! slowest round of each stage took, as far as the buckets tell.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::http::Connection;

/// For each stage the rounds that took at most so long: bounds and counts, which only grow.
type Buckets = BTreeMap<String, Vec<(f64, u64)>>;

/// How the rounds of a second are spread.
struct Second {
    at: u64,
    stages: BTreeMap<String, Spread>,
}

#[derive(Clone, Copy, PartialEq)]
struct Spread {
    rounds: u64,
    p99_ms: f64,
    slowest_ms: f64,
}

/// Looks once in a second until it is stopped; then says what the worst second was.
pub(crate) async fn watch(http: SocketAddr, lasts: Duration) -> anyhow::Result<String> {
    let mut connection = Connection::open(http).await?;
    let mut before: Option<Buckets> = None;
    let mut worst: Option<Second> = None;
    for at in 0..=lasts.as_secs() {
        connection.send("GET", "/metrics", "", "").await?;
        let now = read(&connection.answer());
        if let Some(before) = before.replace(now.clone()) {
            let stages = spread(&before, &now);
            let slowest = |second: &Second| {
                second.stages.values().map(|stage| stage.slowest_ms).fold(0.0, f64::max)
            };
            let second = Second { at, stages };
            if worst.as_ref().is_none_or(|worst| slowest(worst) < slowest(&second)) {
                worst = Some(second);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let Some(Second { at, stages }) = worst else { return Ok("nothing was seen".to_owned()) };
    let stage = |(name, spread): (&String, &Spread)| {
        let Spread { rounds, p99_ms, slowest_ms } = spread;
        format!("{name} p99 {p99_ms:.1} ms, slowest {slowest_ms:.1} ms ({rounds} rounds)")
    };
    let stages: Vec<_> = stages.iter().map(stage).collect();
    Ok(format!("second {at}: {}", stages.join("; ")))
}

fn read(text: &str) -> Buckets {
    let mut buckets = Buckets::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("gnomon_cloud_stage_seconds_bucket{") else { continue };
        let Some((labels, count)) = rest.split_once("} ") else { continue };
        let label = |name: &str| {
            let rest = labels.split_once(&format!("{name}=\""))?.1;
            rest.split_once('"').map(|(value, _)| value)
        };
        let (Some(stage), Some(bound)) = (label("stage"), label("le")) else { continue };
        let bound = bound.parse().unwrap_or(f64::INFINITY);
        let count = count.trim().parse().unwrap_or(0);
        buckets.entry(stage.to_owned()).or_default().push((bound, count));
    }
    buckets
}

fn spread(before: &Buckets, now: &Buckets) -> BTreeMap<String, Spread> {
    let of = |(stage, now): (&String, &Vec<(f64, u64)>)| {
        let before = before.get(stage);
        let earlier = |at: usize| before.and_then(|before| before.get(at)).map_or(0, |it| it.1);
        let counts: Vec<_> =
            now.iter().enumerate().map(|(at, (bound, n))| (*bound, n - earlier(at))).collect();
        let rounds = counts.last().map_or(0, |(_, count)| *count);
        let within = |share: u64| {
            let found = counts.iter().find(|(_, count)| count * 100 >= rounds * share);
            found.map_or(f64::NAN, |(bound, _)| bound * 1_000.0)
        };
        let spread = Spread { rounds, p99_ms: within(99), slowest_ms: within(100) };
        (stage.clone(), spread)
    };
    now.iter().map(of).filter(|(_, spread)| spread.rounds > 0).collect()
}
