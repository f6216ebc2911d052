//! What Prometheus reads.

use prometheus_client::encoding::text;

use super::*;

fn shown(metrics: &Metrics) -> String {
    let (mut registry, mut out) = (Registry::default(), String::new());
    metrics.register(&mut registry);
    text::encode(&mut out, &registry).unwrap();
    out
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
}

#[test]
fn nodes_are_counted_by_how_long_they_are_behind() {
    let metrics = Metrics::default();
    metrics.lags([0, 5, 60, 7200].into_iter());
    metrics.caught_up(30);
    let text = shown(&metrics);
    for (longer_than, count) in [("0s", 4), ("1s", 3), ("10s", 2), ("1m", 2), ("1h", 1), ("1d", 0)]
    {
        let line = format!("gnomon_cloud_nodes_behind{{longer_than=\"{longer_than}\"}} {count}");
        has(&text, &line);
    }
    has(&text, "gnomon_cloud_sync_lag_max_seconds 7200");
    has(&text, "gnomon_cloud_sync_lag_seconds_bucket{le=\"0.04\"} 1");
    metrics.lags(std::iter::empty());
    has(&shown(&metrics), "gnomon_cloud_sync_lag_max_seconds 0");
}

#[test]
fn bytes_are_counted_by_direction_and_by_what_they_are_for() {
    let metrics = Metrics::default();
    let topic = Topic::of("site-1".parse().unwrap(), Stream::Up, MessageKind::Batch);
    metrics.message(Direction::Received, &topic, 70);
    metrics.thing_message(Direction::Sent, Some(Operation::Update), 9);
    metrics.thing_message(Direction::Received, None, 3);
    metrics.api.traffic().sent(11);
    let text = shown(&metrics);
    let labels = "{direction=\"received\",kind=\"batch\",stream=\"reported\"}";
    has(&text, &format!("gnomon_cloud_message_bytes_total{labels} 70"));
    let labels = "{direction=\"sent\",purpose=\"update\"}";
    has(&text, &format!("gnomon_cloud_thing_message_bytes_total{labels} 9"));
    has(&text, "gnomon_cloud_http_bytes_total{direction=\"sent\"} 11");
}

#[test]
fn a_connection_is_counted_while_it_is_open() {
    let metrics = Metrics::default();
    let open = metrics.api.connected();
    has(&shown(&metrics), "gnomon_cloud_http_connections 1");
    drop(open);
    has(&shown(&metrics), "gnomon_cloud_http_connections 0");
}

#[test]
fn a_round_is_timed_by_stage_and_a_commit_by_size() {
    let metrics = Metrics::default();
    metrics.stage(Stage::Decide, Duration::from_micros(80));
    metrics.committed(3, 1000, Duration::from_millis(2));
    let text = shown(&metrics);
    has(&text, "gnomon_cloud_stage_seconds_bucket{le=\"0.0001\",stage=\"decide\"} 1");
    has(&text, "gnomon_cloud_commit_bytes_bucket{le=\"1024.0\"} 1");
    has(&text, "gnomon_cloud_commit_commands_sum 3.0");
}
