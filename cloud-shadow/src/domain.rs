//! What the cloud knows of its nodes and decides about them. Pure: no I/O, no clock, no threads;
//! commands come in with the time, effects go out as values.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::limits;
use gnomon_sync::{Moment, ReaderConfig, WriterConfig};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

mod acks;
mod command;
mod condition;
mod enrolment;
mod history;
mod labels;
mod lag;
#[cfg(test)]
mod laws;
mod lazy;
mod load;
mod node;
mod placing;
mod pointer;
mod rejection;
mod search;
pub mod secrets;
mod session;
mod shadows;
mod tags;
#[cfg(test)]
mod tests;
mod times;
mod view;
mod write;

pub use acks::{Ack, acks};
pub use command::{
    Action, Admission, Answer, Author, Change, Command, Created, Done, Effect, Notice, Now,
    Precondition, Session, ShadowChange, Write,
};
pub use condition::{BadCondition, FieldCondition, ONE_OF, Relation};
pub use history::{Entry, HistoryLimits, Revision, unfold};
pub use labels::check as check_labels;
pub use lag::{Behind, Lags};
pub use lazy::LazyDocument;
pub use load::LoadError;
pub use node::Node;
pub use pointer::{Found, ParsePointerError, Pointer, project};
pub use rejection::{BadLabel, Rejection};
pub use search::{Found as SearchFound, Place, Search};
pub use session::SESSIONS;
pub use times::{Stamp, Stamps, Times};
pub use view::{DownView, HalfView, NodeView, ShadowView, UpView};

use self::placing::Placing;
use crate::access::Home;
use crate::identity::{TokenHash, Windows};
use crate::rows::{self, CertificateRecord};
use crate::store::Op;

/// The bounds that keep the memory of the cloud bounded.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most nodes.
    pub nodes: usize,
    /// The most shadows of one node.
    pub shadows_per_node: usize,
    /// The most unused join tokens of one node.
    pub tokens_per_node: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes: 100_000, shadows_per_node: limits::SHADOWS_PER_NODE, tokens_per_node: 64 }
    }
}

/// What the domain may be tuned with.
#[derive(Debug, Clone, Copy, Default)]
pub struct DomainConfig {
    /// The bounds.
    pub limits: Limits,
    /// How much of the past is kept.
    pub history: HistoryLimits,
    /// How the streams to the nodes behave.
    pub writer: WriterConfig,
    /// How the streams from the nodes behave.
    pub reader: ReaderConfig,
    /// How long a certificate that has run out still buys a new one.
    pub expired_grace: Duration,
}

/// How many nodes are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// All nodes.
    pub nodes: usize,
    /// Those that are connected.
    pub online: usize,
    /// Those that are known to hold every `desired`.
    pub in_sync: usize,
}

/// Every node with its shadows.
///
/// Give commands to [`Self::handle`] and carry out the effects; call it with [`Action::Timeout`]
/// for each of [`Self::due`] when the moment of [`Self::poll_timeout`] has come. When a commit
/// fails, [`Self::load`] each node of which an [`Effect::Persist`] was lost: the domain was ahead
/// of the store.
#[derive(Debug)]
pub struct Domain {
    nodes: BTreeMap<NodeName, Node>,
    tokens: BTreeMap<TokenHash, NodeName>,
    timers: BTreeSet<(Moment, NodeName)>,
    lags: Lags,
    census: Census,
    config: DomainConfig,
    /// When certificates were given that the store does not know.
    windows: Windows,
    rng: StdRng,
}

impl Domain {
    /// A domain without nodes; `rng` makes the epochs and the jitter.
    pub fn new(config: DomainConfig, rng: StdRng) -> Self {
        Self {
            nodes: BTreeMap::new(),
            tokens: BTreeMap::new(),
            timers: BTreeSet::new(),
            lags: Lags::default(),
            census: Census::default(),
            config,
            windows: Windows::default(),
            rng,
        }
    }

    /// Takes one command: all of it, or nothing and the reason why.
    pub fn handle(&mut self, command: Command, now: Now) -> Result<Done, Rejection> {
        let Command { node: name, action, by } = command;
        let before = self.standing(&name);
        let result = self.act(&name, action, &by, now);
        self.keep_pace(&name, now);
        self.settle(&name, before);
        result
    }

    /// When the next timer is due, and why.
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let (moment, name) = self.timers.first()?;
        let why = self.nodes.get(name)?.writer.poll_timeout()?.1;
        Some((*moment, why))
    }

    /// The nodes that have a timer due.
    pub fn due(&self, now: Moment) -> Vec<NodeName> {
        let due = self.timers.iter().take_while(|(moment, _)| *moment <= now);
        due.map(|(_, name)| name.clone()).collect()
    }

    /// A node, if there is one of this name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Every node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Every node behind a name, by name.
    pub fn nodes_after(&self, after: Option<&NodeName>) -> impl Iterator<Item = &Node> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.nodes.range::<NodeName, _>((from, Bound::Unbounded)).map(|(_, node)| node)
    }

    /// How many nodes are in which state.
    pub const fn census(&self) -> Census {
        self.census
    }

    /// Backups were put back: nodes may show certificates that were given in these times.
    pub fn open_windows(&mut self, windows: Windows) {
        self.windows = windows;
    }

    /// When certificates were given that the store does not know.
    pub const fn windows(&self) -> &Windows {
        &self.windows
    }

    /// How much of the past is kept.
    pub const fn history_limits(&self) -> HistoryLimits {
        self.config.history
    }

    /// Gives every half of a node that has no history yet one that begins with what it is.
    pub fn begin_history(&mut self, name: &NodeName, now: Now) -> Vec<Op> {
        self.nodes.get_mut(name).map(|node| node.begin_history(now)).unwrap_or_default()
    }

    /// Begins a new history of the stream to a node, over what is there.
    pub fn begin_epoch(&mut self, name: &NodeName, now: Now) -> Vec<Op> {
        let Some(node) = self.nodes.get_mut(name) else { return Vec::new() };
        node.writer.begin_epoch();
        let effects = node.drain(now, Vec::new()).into_iter();
        effects
            .filter_map(|effect| match effect {
                Effect::Persist(ops) => Some(ops),
                Effect::Send(..)
                | Effect::Close(_)
                | Effect::Admit(..)
                | Effect::Learnt(..)
                | Effect::Notify(_) => None,
            })
            .flatten()
            .collect()
    }

    /// The node that may join with this token.
    pub fn token_owner(&self, hash: TokenHash, now: Now) -> Option<&NodeName> {
        let name = self.tokens.get(&hash)?;
        self.nodes.get(name)?.has_token(hash, now).then_some(name)
    }

    fn act(
        &mut self,
        name: &NodeName,
        action: Action,
        by: &Author,
        now: Now,
    ) -> Result<Done, Rejection> {
        if let Action::PutNode { labels, tenant, pool } = action {
            return self.put_node(name, Placing { labels, tenant, pool }, by, now);
        }
        if let Action::Join { home, certificate, also } = action {
            return self.join(name, home, certificate, also, now);
        }
        let (limits, bar) = (self.config.limits, self.windows.bar(now.unix_ms / 1000));
        let node = self.nodes.get_mut(name).filter(|node| by.covers(&node.home));
        let node = node.ok_or_else(|| Rejection::UnknownNode(name.clone()))?;
        match action {
            Action::PutNode { .. } | Action::Join { .. } => Ok(Done::NOTHING),
            Action::DeleteNode => Ok(self.delete_node(name)),
            Action::AddToken { hash, ttl } => {
                let (done, expired) = node.add_token(now, hash, ttl, limits.tokens_per_node)?;
                for hash in expired {
                    self.tokens.remove(&hash);
                }
                self.tokens.insert(hash, name.clone());
                Ok(done)
            }
            Action::Enrol { hash, certificate } => {
                let done = node.enrol(now, hash, certificate, bar)?;
                self.tokens.remove(&hash);
                Ok(done)
            }
            Action::Renew { shown, certificate } => {
                let grace = self.config.expired_grace;
                node.renew(now, &shown, certificate, grace, bar)
            }
            Action::Shown { serial } => Ok(node.shown(&serial)),
            Action::Learn { certificate, issued_s, session } => {
                node.learn(&self.windows, certificate, issued_s, session)
            }
            Action::Revoke => {
                let (done, tokens) = node.revoke(bar);
                for hash in tokens {
                    self.tokens.remove(&hash);
                }
                Ok(done)
            }
            Action::Write(write) => node.write(now, by, write, limits.shadows_per_node),
            Action::Tag { key, tags } => node.tag(key, tags),
            Action::Connected(session) => node.connected(now, session),
            Action::Disconnected(session, reason) => node.disconnected(now, session, &reason),
            Action::Received { session, stream, message, bytes } => {
                node.check_message(session, stream, &message, limits.shadows_per_node)?;
                node.note_traffic(now, session, bytes);
                Ok(node.receive(now, stream, &message))
            }
            Action::Timeout => Ok(node.timeout(now)),
        }
    }

    fn put_node(
        &mut self,
        name: &NodeName,
        placing: Placing,
        by: &Author,
        now: Now,
    ) -> Result<Done, Rejection> {
        labels::check(&placing.labels)?;
        let present = self.nodes.get(name).map(|node| &*node.home);
        let home = placing.decide(name, present, by)?;
        if let Some(node) = self.nodes.get_mut(name) {
            return Ok(node.relabel(home));
        }
        self.create(name, home, now)
    }

    /// Makes a node, and writes down the certificate that it gets.
    fn join(
        &mut self,
        name: &NodeName,
        home: Home,
        certificate: CertificateRecord,
        also: Vec<Op>,
        now: Now,
    ) -> Result<Done, Rejection> {
        labels::check(&home.labels)?;
        if self.nodes.contains_key(name) {
            return Err(Rejection::NameTaken(name.clone()));
        }
        let mut done = self.create(name, home, now)?;
        let bar = self.windows.bar(now.unix_ms / 1000);
        if let Some(node) = self.nodes.get_mut(name) {
            let effects = node.certify(certificate, also, bar);
            done.effects.splice(0..0, effects);
        }
        Ok(done)
    }

    fn create(&mut self, name: &NodeName, home: Home, now: Now) -> Result<Done, Rejection> {
        if self.nodes.len() >= self.config.limits.nodes {
            return Err(Rejection::LimitReached { what: "nodes", limit: self.config.limits.nodes });
        }
        let epoch = gnomon_schemas::version::Epoch(self.rng.random::<u128>().max(1));
        let rng = StdRng::from_rng(&mut self.rng);
        let (mut node, mut done) = Node::create(name.clone(), home, epoch, rng, &self.config);
        let mut ops = Vec::new();
        node.bar(self.windows.bar(now.unix_ms / 1000), &mut ops);
        if !ops.is_empty() {
            done.effects.insert(0, Effect::Persist(ops));
        }
        self.nodes.insert(name.clone(), node);
        self.census.nodes += 1;
        Ok(done)
    }

    fn delete_node(&mut self, name: &NodeName) -> Done {
        let session = self.nodes.get(name).and_then(Node::session);
        let home = self.nodes.get(name).map(|node| Arc::clone(&node.home)).unwrap_or_default();
        self.unload(name);
        let ops = vec![
            Op::Delete { key: rows::node(name) },
            Op::DeletePrefix { prefix: rows::at(name) },
            Op::DeletePrefix { prefix: rows::history::of_node(name) },
            Op::DeletePrefix { prefix: rows::session::of_node(name) },
        ];
        let close = session.map(Effect::Close);
        let refuse = Effect::Admit(name.clone(), Admission::default());
        let effects = [Some(Effect::Persist(ops)), Some(refuse), close];
        let told = Effect::Notify(Notice::NodeDeleted(name.clone(), home));
        let effects = effects.into_iter().flatten().chain([told]).collect();
        Done { answer: Answer::Nothing, effects }
    }

    /// Forgets a node without a trace: it was deleted, or will be loaded again.
    fn unload(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.remove(name) else { return };
        self.census.nodes -= 1;
        for hash in node.tokens.keys() {
            self.tokens.remove(hash);
        }
    }

    /// What is counted and listed of a node; `None`: there is none.
    fn standing(&self, name: &NodeName) -> Option<Standing> {
        let node = self.nodes.get(name)?;
        Some(Standing {
            online: node.presence.online,
            in_sync: node.writer.is_in_sync(),
            timer: node.writer.poll_timeout().map(|(moment, _)| moment),
            behind_since: node.behind_since,
        })
    }

    /// Brings the census and the lists up to date with a node of which this stood in them.
    fn settle(&mut self, name: &NodeName, before: Option<Standing>) {
        let after = self.standing(name);
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.census.online -= usize::from(before.online);
            self.census.in_sync -= usize::from(before.in_sync);
            if let Some(moment) = before.timer {
                self.timers.remove(&(moment, name.clone()));
            }
            self.lags.remove(before.behind_since, name);
        }
        if let Some(after) = after {
            self.census.online += usize::from(after.online);
            self.census.in_sync += usize::from(after.in_sync);
            if let Some(moment) = after.timer {
                self.timers.insert((moment, name.clone()));
            }
            self.lags.insert(after.behind_since, name);
        }
    }
}

/// What of a node is in the census, among the timers and in the list of those that are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    online: bool,
    in_sync: bool,
    timer: Option<Moment>,
    behind_since: Option<u64>,
}
