//! What is counted of the HTTP API.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::labels::{CallerLabel, Direction, DirectionLabel, RequestLabels, RouteLabel};

type RouteTimes = Family<RouteLabel, Histogram, fn() -> Histogram>;

/// What the HTTP API does.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: RouteTimes,
    connections: Gauge,
    traffic: Traffic,
    throttled: Throttled,
}

/// Counts requests that were too many; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Throttled(Family<CallerLabel, Counter>);

impl Throttled {
    /// A request of such a caller was refused.
    pub fn refused(&self, caller: &'static str) {
        self.0.get_or_create(&CallerLabel { caller }).inc();
    }
}

/// The bytes of all connections, with what TLS adds; counted without a lookup.
#[derive(Debug, Clone)]
pub struct Traffic {
    family: Family<DirectionLabel, Counter>,
    received: Counter,
    sent: Counter,
}

/// A connection that is counted as long as this lives.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

/// From a quarter of a millisecond to eight seconds.
fn request_times() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(request_times),
            connections: Gauge::default(),
            traffic: Traffic::default(),
            throttled: Throttled::default(),
        }
    }
}

impl Default for Traffic {
    fn default() -> Self {
        let family = Family::<DirectionLabel, Counter>::default();
        let of = |direction: Direction| {
            family.get_or_create_owned(&DirectionLabel { direction: direction.label() })
        };
        let (received, sent) = (of(Direction::Received), of(Direction::Sent));
        Self { family, received, sent }
    }
}

impl Traffic {
    /// So many bytes came.
    pub fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    /// So many bytes went.
    pub fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ApiMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let text = "Requests of the API, by method, route and status";
        registry.register("http_requests", text, self.requests.clone());
        let text = "Time until an answer began, by route";
        registry.register_with_unit("http_request", text, Unit::Seconds, self.seconds.clone());
        let text = "Open connections to the API";
        registry.register("http_connections", text, self.connections.clone());
        let text = "Bytes of connections to the API, with what TLS adds";
        registry.register_with_unit("http", text, Unit::Bytes, self.traffic.family.clone());
        let text = "Requests that were refused because their caller asked for too much";
        registry.register("throttled_requests", text, self.throttled.0.clone());
    }

    /// A request was answered after this time. A route is a pattern of the router, never a path.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method, route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        let route = RouteLabel { route: labels.route };
        self.seconds.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// A connection was opened.
    pub fn connected(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// What counts requests that were too many.
    pub fn throttled(&self) -> Throttled {
        self.throttled.clone()
    }

    /// Where the bytes of connections are counted.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }
}
