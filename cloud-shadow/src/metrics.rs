//! What the cloud counts; the only place that names metrics.

use gnomon_schemas::topic::MessageKind;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::Census;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Direction {
    /// To a node.
    Sent,
    /// From a node.
    Received,
}

/// A message's kind, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names are those of the protocol's messages")]
pub enum Kind {
    Hello,
    Batch,
    Ack,
    Manifest,
    Fetch,
}

/// The labels of what is counted per message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MessageLabels {
    direction: Direction,
    kind: Kind,
}

/// The label of what is counted per outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    code: &'static str,
}

/// Why a message from a node was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    reason: &'static str,
}

/// Who was refused because it asked for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallerLabel {
    caller: &'static str,
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

/// Everything that is counted.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Commands by outcome: `accepted`, or the code of the refusal.
    commands: Family<CodeLabel, Counter>,
    commit_seconds: Histogram,
    commit_commands: Histogram,
    messages: Family<MessageLabels, Counter>,
    message_bytes: Family<MessageLabels, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    nodes: Gauge,
    online: Gauge,
    in_sync: Gauge,
    watchers: Gauge,
    throttled: Throttled,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commands: Family::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            commit_commands: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            messages: Family::default(),
            message_bytes: Family::default(),
            dropped: Family::default(),
            nodes: Gauge::default(),
            online: Gauge::default(),
            in_sync: Gauge::default(),
            watchers: Gauge::default(),
            throttled: Throttled::default(),
        }
    }
}

impl Metrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("gnomon_cloud");
        let counters = self.commands.clone();
        registry.register("commands", "Commands by outcome", counters);
        let (seconds, commands) = (self.commit_seconds.clone(), self.commit_commands.clone());
        let text = "Time that a commit of the store took";
        registry.register_with_unit("commit", text, Unit::Seconds, seconds);
        registry.register("commit_commands", "Commands that shared a commit", commands);
        registry.register("messages", "Messages of the sync protocol", self.messages.clone());
        let bytes = self.message_bytes.clone();
        registry.register_with_unit("message", "Payloads of messages", Unit::Bytes, bytes);
        let dropped = self.dropped.clone();
        registry.register("dropped_messages", "Messages of nodes that were not taken", dropped);
        registry.register("nodes", "Nodes", self.nodes.clone());
        registry.register("nodes_online", "Connected nodes", self.online.clone());
        let text = "Nodes that are known to hold every desired document";
        registry.register("streams_in_sync", text, self.in_sync.clone());
        registry.register("watchers", "Open watch streams", self.watchers.clone());
        let text = "Requests that were refused because their caller asked for too much";
        registry.register("throttled_requests", text, self.throttled.0.clone());
    }

    /// What counts requests that were too many.
    pub fn throttled(&self) -> Throttled {
        self.throttled.clone()
    }

    /// A command was accepted.
    pub fn accepted(&self) {
        self.refused("accepted");
    }

    /// A command was refused with this code.
    pub fn refused(&self, code: &'static str) {
        self.commands.get_or_create(&CodeLabel { code }).inc();
    }

    /// A commit for this many commands took this long.
    pub fn committed(&self, commands: usize, took: std::time::Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_commands.observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
    }

    /// A message went this way.
    pub fn message(&self, direction: Direction, kind: MessageKind, bytes: usize) {
        let labels = MessageLabels { direction, kind: kind.into() };
        self.messages.get_or_create(&labels).inc();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.message_bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// A message from a node was not taken.
    pub fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// So many nodes are in which state.
    pub fn census(&self, census: Census) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.nodes.set(number(census.nodes));
        self.online.set(number(census.online));
        self.in_sync.set(number(census.in_sync));
    }

    /// So many watch streams are open.
    pub fn watchers(&self, count: usize) {
        self.watchers.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl From<MessageKind> for Kind {
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Hello => Self::Hello,
            MessageKind::Batch => Self::Batch,
            MessageKind::Ack => Self::Ack,
            MessageKind::Manifest => Self::Manifest,
            MessageKind::Fetch => Self::Fetch,
        }
    }
}
