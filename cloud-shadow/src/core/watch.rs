//! Those who want to know of every change. Each has a bounded queue; one who does not keep up is
//! told so and cut off, since a stream with a hole in it would be worse.

use std::collections::BTreeSet;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use tokio::sync::mpsc;

mod recent;

pub use recent::{ParsePositionError, Placed, Position};

use self::recent::Recent;
use super::CoreConfig;
use super::handle::Refusal;
use crate::access::{Home, Scope};
use crate::domain::{Domain, Node, NodeView, Notice, Rejection, ShadowView};

/// What a watcher wants to see.
#[derive(Debug, Clone, Default)]
pub struct WatchFilter {
    /// These nodes; empty: all.
    pub nodes: BTreeSet<NodeName>,
    /// This shadow of each; `None`: all.
    pub key: Option<ShadowKey>,
    /// Of these nodes only those that are among these.
    pub selected: Scope,
    /// Nodes beyond this are as if they were not there.
    pub within: Scope,
    /// Whether all that there is begins with the nodes.
    pub with_nodes: bool,
}

/// What is there, and the changes that follow on it.
#[derive(Debug)]
pub struct Watching {
    /// How it begins.
    pub start: WatchStart,
    /// The position of the last change before those that follow.
    pub position: Position,
    /// The changes since; ends when the cloud stops.
    pub events: mpsc::Receiver<WatchEvent>,
}

/// How a watch begins.
#[derive(Debug)]
pub enum WatchStart {
    /// With all that there is: nodes, where they are wanted, and shadows.
    Snapshot(Vec<NodeView>, Vec<ShadowView>),
    /// With what was missed since the watcher was there last.
    Missed(Vec<Placed>),
}

/// What a watcher gets.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// Something changed.
    Changed(Placed),
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
    recent: Recent,
}

impl Watchers {
    /// `boot` tells this start of the cloud from all others.
    pub(super) const fn new(config: &CoreConfig, boot: u64) -> Self {
        let recent = Recent::new(boot, config.watch_memory);
        Self { open: Vec::new(), limit: config.watchers, queue: config.watch_queue, recent }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.open.len()
    }

    /// Adds a watcher that sees the domain as it is, or what it missed if that is known, and every
    /// change from now on.
    pub(super) fn add(
        &mut self,
        filter: WatchFilter,
        seen: Option<Position>,
        domain: &Domain,
    ) -> Result<Watching, Refusal> {
        self.open.retain(|watcher| !watcher.queue.is_closed());
        if self.open.len() >= self.limit {
            let rejection = Rejection::LimitReached { what: "watch streams", limit: self.limit };
            return Err(rejection.into());
        }
        let start = match seen.and_then(|seen| self.recent.since(seen)) {
            Some(missed) => {
                let missed = missed.filter(|(_, notice)| filter.wants(notice));
                WatchStart::Missed(missed.cloned().collect())
            }
            None => filter.snapshot(domain)?,
        };
        self.recent.begin();
        // One place more, for the word that the queue was full.
        let (queue, events) = mpsc::channel(self.queue.max(1) + 1);
        self.open.push(Watcher { filter, queue });
        Ok(Watching { start, position: self.recent.head(), events })
    }

    /// Tells everyone whom it concerns.
    pub(super) fn tell(&mut self, notice: Notice) {
        let Some(placed) = self.recent.push(notice) else { return };
        self.open.retain(|watcher| !watcher.filter.wants(&placed.1) || watcher.offer(&placed));
    }

    /// Ends all streams.
    pub(super) fn end(&mut self) {
        self.open.clear();
        self.limit = 0;
    }
}

impl Watcher {
    /// Whether the watcher stays.
    fn offer(&self, placed: &Placed) -> bool {
        let has_room = self.queue.capacity() > 1;
        let event = if has_room { WatchEvent::Changed(placed.clone()) } else { WatchEvent::Lagged };
        self.queue.try_send(event).is_ok() && has_room
    }
}

impl WatchFilter {
    fn wants(&self, notice: &Notice) -> bool {
        match notice {
            Notice::Shadow(change) => {
                let view = &change.view;
                self.covers(&view.node, &change.home)
                    && self.key.as_ref().is_none_or(|key| *key == view.key)
            }
            Notice::Node(view) => self.covers(&view.name, &view.home),
            Notice::NodeDeleted(name, home) => self.covers(name, home),
        }
    }

    fn covers(&self, node: &NodeName, home: &Home) -> bool {
        (self.nodes.is_empty() || self.nodes.contains(node))
            && self.selected.covers(home)
            && self.within.covers(home)
    }

    /// The nodes that it is about; each that it names must be there.
    pub(crate) fn select<'d>(&self, domain: &'d Domain) -> Result<Vec<&'d Node>, Rejection> {
        let known = |name: &NodeName| {
            let node = domain.node(name).filter(|node| self.within.covers(node.home()));
            node.ok_or_else(|| Rejection::UnknownNode(name.clone()))
        };
        let mut nodes: Vec<_> = if self.nodes.is_empty() {
            domain.nodes().filter(|node| self.within.covers(node.home())).collect()
        } else {
            self.nodes.iter().map(known).collect::<Result<_, _>>()?
        };
        nodes.retain(|node| self.selected.covers(node.home()));
        Ok(nodes)
    }

    fn snapshot(&self, domain: &Domain) -> Result<WatchStart, Rejection> {
        let (mut nodes, mut shadows) = (Vec::new(), Vec::new());
        for node in self.select(domain)? {
            if self.with_nodes {
                nodes.push(node.view());
            }
            match &self.key {
                Some(key) => shadows.extend(Some(node.shadow(key)).filter(ShadowView::is_present)),
                None => shadows.extend(node.shadows()),
            }
        }
        Ok(WatchStart::Snapshot(nodes, shadows))
    }
}
