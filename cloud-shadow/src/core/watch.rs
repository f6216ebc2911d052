//! Those who want to know of every change. Each has a bounded queue; one who does not keep up is
//! told so and cut off, since a stream with a hole in it would be worse.

use std::collections::BTreeSet;
use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use tokio::sync::mpsc;

use super::handle::Refusal;
use crate::domain::{Domain, Node, Notice, Rejection, ShadowView};

/// What a watcher wants to see.
#[derive(Debug, Clone, Default)]
pub struct WatchFilter {
    /// These nodes; empty: all.
    pub nodes: BTreeSet<NodeName>,
    /// This shadow of each; `None`: all.
    pub key: Option<ShadowKey>,
}

/// What is there, and the changes that follow on it.
#[derive(Debug)]
pub struct Watching {
    /// The shadows at the start.
    pub snapshot: Vec<ShadowView>,
    /// The changes since; ends when the cloud stops.
    pub events: mpsc::Receiver<WatchEvent>,
}

/// What a watcher gets.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// Something changed.
    Changed(Arc<Notice>),
    /// More changed than the queue could take; nothing follows.
    Lagged,
}

#[derive(Debug)]
struct Watcher {
    filter: WatchFilter,
    queue: mpsc::Sender<WatchEvent>,
}

#[derive(Debug)]
pub(super) struct Watchers {
    open: Vec<Watcher>,
    limit: usize,
    queue: usize,
}

impl Watchers {
    pub(super) const fn new(limit: usize, queue: usize) -> Self {
        Self { open: Vec::new(), limit, queue }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.open.len()
    }

    /// Adds a watcher that sees the domain as it is, and every change from now on.
    pub(super) fn add(
        &mut self,
        filter: WatchFilter,
        domain: &Domain,
    ) -> Result<Watching, Refusal> {
        self.open.retain(|watcher| !watcher.queue.is_closed());
        if self.open.len() >= self.limit {
            let rejection = Rejection::LimitReached { what: "watch streams", limit: self.limit };
            return Err(rejection.into());
        }
        if let Some(unknown) = filter.nodes.iter().find(|name| domain.node(name).is_none()) {
            return Err(Rejection::UnknownNode(unknown.clone()).into());
        }
        let snapshot = filter.snapshot(domain);
        // One place more, for the word that the queue was full.
        let (queue, events) = mpsc::channel(self.queue.max(1) + 1);
        self.open.push(Watcher { filter, queue });
        Ok(Watching { snapshot, events })
    }

    /// Tells everyone whom it concerns.
    pub(super) fn tell(&mut self, notice: Notice) {
        if self.open.is_empty() {
            return;
        }
        let notice = Arc::new(notice);
        self.open.retain(|watcher| !watcher.filter.wants(&notice) || watcher.offer(&notice));
    }

    /// Ends all streams.
    pub(super) fn end(&mut self) {
        self.open.clear();
        self.limit = 0;
    }
}

impl Watcher {
    /// Whether the watcher stays.
    fn offer(&self, notice: &Arc<Notice>) -> bool {
        let has_room = self.queue.capacity() > 1;
        let event =
            if has_room { WatchEvent::Changed(Arc::clone(notice)) } else { WatchEvent::Lagged };
        self.queue.try_send(event).is_ok() && has_room
    }
}

impl WatchFilter {
    fn wants(&self, notice: &Notice) -> bool {
        match notice {
            Notice::Shadow(view, _) => {
                self.covers(&view.node) && self.key.as_ref().is_none_or(|key| *key == view.key)
            }
            Notice::Node(view) => self.covers(&view.name),
            Notice::NodeDeleted(name) => self.covers(name),
        }
    }

    fn covers(&self, node: &NodeName) -> bool {
        self.nodes.is_empty() || self.nodes.contains(node)
    }

    fn snapshot(&self, domain: &Domain) -> Vec<ShadowView> {
        let nodes: Vec<&Node> = if self.nodes.is_empty() {
            domain.nodes().collect()
        } else {
            self.nodes.iter().filter_map(|name| domain.node(name)).collect()
        };
        let mut snapshot = Vec::new();
        for node in nodes {
            match &self.key {
                Some(key) => snapshot.extend(Some(node.shadow(key)).filter(ShadowView::is_present)),
                None => snapshot.extend(node.shadows()),
            }
        }
        snapshot
    }
}
