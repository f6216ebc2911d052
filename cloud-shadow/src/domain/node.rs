//! One node: its two streams, its shadows' counters, its presence, and how their outputs become
//! effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use gnomon_schemas::document::Document;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::version::{Epoch, Half};
use gnomon_schemas::wire::Message;
use gnomon_sync::{Delivery, Output, Reader, Writer};
use rand::rngs::StdRng;

use super::DomainConfig;
use super::command::{Answer, Author, Created, Done, Effect, Notice, Now, Session, ShadowChange};
use super::lazy::LazyDocument;
use super::shadows::{Accepted, Shadows};
use crate::access::Home;
use crate::identity::TokenHash;
use crate::rows::session::SessionRecord;
use crate::rows::{self, CertificateRecord, Presence};
use crate::store::Op;

/// Everything that the cloud knows of one node.
#[derive(Debug)]
pub struct Node {
    pub(super) name: NodeName,
    pub(super) home: Arc<Home>,
    pub(super) presence: Presence,
    pub(super) link: Link,
    /// No session before this one counts.
    pub(super) latest: Option<Session>,
    /// The session that has begun and not ended.
    pub(super) open: Option<SessionRecord>,
    /// After how many more sessions the oldest are forgotten.
    pub(super) trim_in: usize,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) shadows: Shadows,
    /// The unused join tokens and until when they are good, in milliseconds since 1970.
    pub(super) tokens: BTreeMap<TokenHash, u64>,
    pub(super) certificates: BTreeMap<String, CertificateRecord>,
    /// How many halves that never were the node has asked for since it last said `hello`.
    pub(super) vain_wishes: usize,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// Since when it lacks something that is desired, in milliseconds since 1970.
    pub(super) behind_since: Option<u64>,
}

/// What is known of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// The node has no session.
    Down,
    /// It has one and was not heard of in it: it may not have subscribed yet.
    Silent(Session),
    /// It was heard of.
    Up(Session),
}

impl Node {
    /// A node that never was before.
    pub(super) fn create(
        name: NodeName,
        home: Home,
        epoch: Epoch,
        rng: StdRng,
        config: &DomainConfig,
    ) -> (Self, Done) {
        let mut node = Self {
            name,
            home: Arc::new(home),
            presence: Presence::default(),
            link: Link::Down,
            latest: None,
            open: None,
            trim_in: 0,
            writer: Writer::new(epoch, config.writer, rng),
            reader: Reader::new(config.reader),
            shadows: Shadows::new(config.history.versions),
            tokens: BTreeMap::new(),
            certificates: BTreeMap::new(),
            vain_wishes: 0,
            sent_bytes: 0,
            received_bytes: 0,
            behind_since: None,
        };
        let done = node.described(Created(true));
        (node, done)
    }

    /// What it is called.
    pub const fn name(&self) -> &NodeName {
        &self.name
    }

    /// Where it belongs.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Takes other labels, another pool.
    pub(super) fn relabel(&mut self, home: Home) -> Done {
        if *self.home == home {
            let answer = Answer::Node(Box::new(self.view()), Created(false));
            return Done { answer, ..Done::NOTHING };
        }
        self.home = Arc::new(home);
        self.described(Created(false))
    }

    fn described(&mut self, created: Created) -> Done {
        let op = rows::put(rows::node(&self.name), &*self.home);
        let mut effects = self.drain(Now::default(), vec![op]);
        effects.push(self.notice());
        Done { answer: Answer::Node(Box::new(self.view()), created), effects }
    }

    /// The session through which the node is connected.
    pub(super) const fn session(&self) -> Option<Session> {
        match self.link {
            Link::Down => None,
            Link::Silent(session) | Link::Up(session) => Some(session),
        }
    }

    /// Tells the watchers how the node is.
    pub(super) fn notice(&self) -> Effect {
        Effect::Notify(Notice::Node(Box::new(self.view())))
    }

    /// Counts an accepted update of a shadow, and gives back the rows and what watchers see of it.
    /// `before` and `after` are the documents of the change.
    pub(super) fn count(
        &mut self,
        change: &Accepted<'_>,
        before: Option<Arc<Document>>,
        after: Option<LazyDocument>,
    ) -> (Vec<Op>, Box<ShadowChange>) {
        let ops = self.shadows.count(&self.name, change);
        let (half, by) = (change.half, change.by.clone());
        let known = after.map(|after| (half, change.version, after));
        let view = Arc::new(self.shadow_knowing(change.key, known.as_ref()));
        let home = Arc::clone(&self.home);
        (ops, Box::new(ShadowChange { view, half, before, by, home }))
    }

    /// Whether the shadow has a half.
    pub(super) fn has(&self, key: &ShadowKey) -> bool {
        self.writer.get(key).is_some() || self.reader.get(key).is_some()
    }

    fn count_reported(&mut self, now: Now, delivery: &Delivery) -> (Vec<Op>, Box<ShadowChange>) {
        let before = self.shadows.exchange_reported(&delivery.key, delivery.document.clone());
        let before = before.map(|before| Arc::new(before.unpack()));
        let after = delivery.document.clone().map(LazyDocument::from);
        let change = Accepted {
            key: &delivery.key,
            half: Half::Reported,
            version: delivery.version,
            before: before.as_deref(),
            after: after.as_ref(),
            named: None,
            by: &Author::node(&self.name),
            unix_ms: now.unix_ms,
            present: self.has(&delivery.key),
        };
        self.count(&change, before.clone(), after.clone())
    }

    /// Takes the outputs of both machines: `ops` and their rows first, in one effect, then the
    /// messages, then the notices.
    pub(super) fn drain(&mut self, now: Now, mut ops: Vec<Op>) -> Vec<Effect> {
        let (mut sends, mut notices) = (Vec::new(), Vec::new());
        while let Some((stream, output)) = self.poll_output() {
            match output {
                Output::Persist(rows) => {
                    let op = |row| rows::machine(&self.name, stream, row);
                    ops.extend(rows.into_iter().map(op));
                }
                Output::Send(message) => sends.push(self.send(stream, &message)),
                Output::Deliver(delivery) => {
                    let (counted, change) = self.count_reported(now, &delivery);
                    ops.extend(counted);
                    notices.push(Effect::Notify(Notice::Shadow(change)));
                }
            }
        }
        let persist = (!ops.is_empty()).then_some(Effect::Persist(ops));
        persist.into_iter().chain(sends).chain(notices).collect()
    }

    fn poll_output(&mut self) -> Option<(Stream, Output)> {
        let down = self.writer.poll_output().map(|output| (Stream::Down, output));
        down.or_else(|| self.reader.poll_output().map(|output| (Stream::Up, output)))
    }

    fn send(&mut self, stream: Stream, message: &Message) -> Effect {
        let payload = message.encode();
        self.sent_bytes += u64::try_from(payload.len()).unwrap_or(u64::MAX);
        Effect::Send(Topic::of(self.name.clone(), stream, message.kind()), payload)
    }
}
