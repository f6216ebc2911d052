//! What the cloud counts; the only place that names metrics. docs/operations.md explains each.

use std::time::Duration;

use gnomon_schemas::topic::{MessageKind, Operation, Stream, Topic};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::Census;

mod api;
mod health;
mod labels;
#[cfg(test)]
mod tests;

pub use api::{ApiMetrics, OpenConnection, Throttled, Traffic};
pub use health::HealthMetrics;
use labels::{CodeLabel, LongerLabel, MessageLabels, ReasonLabel, StageLabel, ThingLabels};
pub use labels::{Direction, Stage};

type Times = Family<StageLabel, Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What the HTTP API does.
    pub api: ApiMetrics,
    /// How the cloud is.
    pub health: HealthMetrics,
    /// Commands by outcome: `accepted`, or the code of the refusal.
    commands: Family<CodeLabel, Counter>,
    stages: Times,
    waiting: Gauge,
    commit_seconds: Histogram,
    commit_commands: Histogram,
    commit_bytes: Histogram,
    messages: Family<MessageLabels, Counter>,
    message_bytes: Family<MessageLabels, Counter>,
    thing_messages: Family<ThingLabels, Counter>,
    thing_message_bytes: Family<ThingLabels, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    nodes: Gauge,
    online: Gauge,
    in_sync: Gauge,
    watchers: Gauge,
    lag_seconds: Histogram,
    lag_max: Gauge,
    behind: Family<LongerLabel, Gauge>,
}

/// How long a node may be behind: for each, the nodes beyond it are counted.
const LAGS: [(&str, u64); 7] =
    [("0s", 0), ("1s", 1), ("10s", 10), ("1m", 60), ("10m", 600), ("1h", 3600), ("1d", 24 * 3600)];

/// From 50 microseconds to 1.6 seconds.
fn stage_times() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            api: ApiMetrics::default(),
            health: HealthMetrics::default(),
            commands: Family::default(),
            stages: Family::new_with_constructor(stage_times),
            waiting: Gauge::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            commit_commands: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_bytes: Histogram::new(exponential_buckets(256.0, 4.0, 10)),
            messages: Family::default(),
            message_bytes: Family::default(),
            thing_messages: Family::default(),
            thing_message_bytes: Family::default(),
            dropped: Family::default(),
            nodes: Gauge::default(),
            online: Gauge::default(),
            in_sync: Gauge::default(),
            watchers: Gauge::default(),
            // From ten milliseconds to a month.
            lag_seconds: Histogram::new(exponential_buckets(0.01, 4.0, 15)),
            lag_max: Gauge::default(),
            behind: Family::default(),
        }
    }
}

impl Metrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("gnomon_cloud");
        self.register_core(registry);
        self.register_nodes(registry);
        self.api.register(registry);
        self.health.register(registry);
    }

    fn register_core(&self, registry: &mut Registry) {
        registry.register("commands", "Commands by outcome", self.commands.clone());
        let text = "Time that a round of the core spent in a stage";
        registry.register_with_unit("stage", text, Unit::Seconds, self.stages.clone());
        let text = "Commands and questions that wait for the core";
        registry.register("core_waiting", text, self.waiting.clone());
        let text = "Time that a commit of the store took";
        registry.register_with_unit("commit", text, Unit::Seconds, self.commit_seconds.clone());
        let text = "Commands that shared a commit";
        registry.register("commit_commands", text, self.commit_commands.clone());
        let text = "Keys and values that a commit wrote";
        registry.register_with_unit("commit", text, Unit::Bytes, self.commit_bytes.clone());
        registry.register("watchers", "Open watch streams", self.watchers.clone());
    }

    fn register_nodes(&self, registry: &mut Registry) {
        let text = "Messages of the sync protocol";
        registry.register("messages", text, self.messages.clone());
        let text = "Payloads of messages of the sync protocol";
        registry.register_with_unit("message", text, Unit::Bytes, self.message_bytes.clone());
        let text = "Messages of things (the AWS face), by what they are about";
        registry.register("thing_messages", text, self.thing_messages.clone());
        let text = "Payloads of messages of things";
        let bytes = self.thing_message_bytes.clone();
        registry.register_with_unit("thing_message", text, Unit::Bytes, bytes);
        let text = "Messages of nodes that were not taken";
        registry.register("dropped_messages", text, self.dropped.clone());
        registry.register("nodes", "Nodes", self.nodes.clone());
        registry.register("nodes_online", "Connected nodes", self.online.clone());
        let text = "Nodes that are known to hold every desired document";
        registry.register("streams_in_sync", text, self.in_sync.clone());
        let text = "How long nodes lacked something desired, of those that got everything";
        registry.register_with_unit("sync_lag", text, Unit::Seconds, self.lag_seconds.clone());
        let text = "How long the node has waited that has waited longest for something desired";
        registry.register_with_unit("sync_lag_max", text, Unit::Seconds, self.lag_max.clone());
        let text = "Nodes that have lacked something desired for longer than that";
        registry.register("nodes_behind", text, self.behind.clone());
    }

    /// A command was accepted.
    pub fn accepted(&self) {
        self.refused("accepted");
    }

    /// A command was refused with this code.
    pub fn refused(&self, code: &'static str) {
        self.commands.get_or_create(&CodeLabel { code }).inc();
    }

    /// A round spent this long in a stage.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let stage = stage.label();
        self.stages.get_or_create(&StageLabel { stage }).observe(took.as_secs_f64());
    }

    /// So many inputs wait for the core.
    pub fn waiting(&self, count: usize) {
        self.waiting.set(number(count));
    }

    /// A commit of so many bytes for so many commands took this long.
    pub fn committed(&self, commands: usize, bytes: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_commands.observe(float(commands));
        self.commit_bytes.observe(float(bytes));
    }

    /// A message of the sync protocol went this way.
    pub fn message(&self, direction: Direction, topic: &Topic, bytes: usize) {
        let (kind, stream) = (kind(topic.kind), half(topic.stream()));
        let labels = MessageLabels { direction: direction.label(), kind, stream };
        self.messages.get_or_create(&labels).inc();
        self.message_bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    /// A message of a thing went this way; without an operation, it was about nothing.
    pub fn thing_message(&self, direction: Direction, operation: Option<Operation>, bytes: usize) {
        let purpose = operation.map_or("unknown", Operation::as_str);
        let labels = ThingLabels { direction: direction.label(), purpose };
        self.thing_messages.get_or_create(&labels).inc();
        self.thing_message_bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    /// A message from a node was not taken.
    pub fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// So many nodes are in which state.
    pub fn census(&self, census: Census) {
        self.nodes.set(number(census.nodes));
        self.online.set(number(census.online));
        self.in_sync.set(number(census.in_sync));
    }

    /// So many watch streams are open.
    pub fn watchers(&self, count: usize) {
        self.watchers.set(number(count));
    }

    /// A node has everything again that it had lacked something of for so many milliseconds.
    pub fn caught_up(&self, after_ms: u64) {
        self.lag_seconds.observe(Duration::from_millis(after_ms).as_secs_f64());
    }

    /// For so many seconds each node has been behind that is, in any order.
    pub fn lags(&self, seconds: impl Iterator<Item = u64>) {
        let (mut counts, mut longest) = ([0_i64; LAGS.len()], 0);
        for lag in seconds {
            longest = lag.max(longest);
            for (count, (_, bound)) in counts.iter_mut().zip(LAGS) {
                *count += i64::from(lag >= bound);
            }
        }
        for (count, (longer_than, _)) in counts.into_iter().zip(LAGS) {
            self.behind.get_or_create(&LongerLabel { longer_than }).set(count);
        }
        self.lag_max.set(i64::try_from(longest).unwrap_or(i64::MAX));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

const fn kind(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Hello => "hello",
        MessageKind::Batch => "batch",
        MessageKind::Ack => "ack",
        MessageKind::Manifest => "manifest",
        MessageKind::Fetch => "fetch",
    }
}

/// What the messages of a stream are for.
const fn half(stream: Stream) -> &'static str {
    match stream {
        Stream::Down => "desired",
        Stream::Up => "reported",
    }
}
