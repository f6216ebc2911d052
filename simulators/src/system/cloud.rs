//! The cloud: its real domain, a store, and the one round at a time in which it decides, writes,
//! and only then carries out.

use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;

use gnomon_cloud::core;
use gnomon_cloud::domain::{
    Action, Answer, Author, Command, Domain, DomainConfig, Done, Effect, Now, Rejection,
};
use gnomon_cloud::store::{MemoryStore, Op, Store as _};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::Topic;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{DATE, clock};
use crate::world::{Invariant, Violation};

/// What the cloud does to the outside.
#[derive(Debug)]
pub(super) enum Deed {
    Send(Topic, Vec<u8>),
    Close(u64),
    Answered(NodeName, Answer),
    Refused(NodeName, String),
}

/// A command that was decided and waits for the write.
#[derive(Debug)]
struct Decided {
    node: NodeName,
    session: Option<u64>,
    result: Result<Done, Rejection>,
}

#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) domain: Domain,
    store: MemoryStore,
    inbox: VecDeque<Command>,
    round: Option<Vec<Decided>>,
    started: u64,
    starts: u64,
    seed: u64,
    sessions: u64,
}

impl Cloud {
    /// A cloud that has the nodes of all sites.
    pub(super) fn new(seed: u64, sites: u16) -> Self {
        let (store, rng) = (MemoryStore::new(), StdRng::seed_from_u64(seed));
        let at = Now { moment: clock(0, 0), unix_ms: DATE };
        let domain = core::read_all(&store, at, DomainConfig::default(), rng);
        let mut cloud = Self {
            domain: domain.expect("an empty store can be read"),
            store,
            inbox: VecDeque::new(),
            round: None,
            started: 0,
            starts: 0,
            seed,
            sessions: 0,
        };
        for site in 0..sites {
            let action = Action::put_node();
            cloud.tell(super::site::name(site), action);
        }
        cloud.decide(0);
        cloud.written(0).expect("an empty store takes its first nodes");
        cloud
    }

    pub(super) fn now(&self, now: u64) -> Now {
        Now { moment: clock(now, self.started), unix_ms: DATE + now }
    }

    /// Numbers a connection.
    pub(super) fn next_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    pub(super) fn tell(&mut self, node: NodeName, action: Action) {
        self.inbox.push_back(Command { node, action, by: Author::cloud() });
    }

    pub(super) fn is_writing(&self) -> bool {
        self.round.is_some()
    }

    pub(super) fn has_work(&self, now: u64) -> bool {
        !self.inbox.is_empty() || !self.domain.due(self.now(now).moment).is_empty()
    }

    /// When the next timer is due, in the time of the system.
    pub(super) fn due(&self) -> Option<u64> {
        self.domain.poll_timeout().map(|(at, _)| at.as_millis() + self.started)
    }

    pub(super) fn set_full(&self, full: bool) {
        self.store.fail(full.then_some(ErrorKind::StorageFull));
    }

    /// Takes everything that has come in and decides it; what it writes is under way then.
    pub(super) fn decide(&mut self, now: u64) {
        if self.is_writing() || !self.has_work(now) {
            return;
        }
        let at = self.now(now);
        let due = self.domain.due(at.moment);
        let due = due.into_iter().map(|node| Command {
            node,
            action: Action::Timeout,
            by: Author::cloud(),
        });
        let commands: Vec<_> = self.inbox.drain(..).chain(due).collect();
        let decide = |command: Command| Decided {
            node: command.node.clone(),
            session: session(&command.action),
            result: self.domain.handle(command, at),
        };
        self.round = Some(commands.into_iter().map(decide).collect());
    }

    /// The write ends well, or with an error if the disk is full: then the nodes that it was about
    /// go back to what the store has.
    pub(super) fn written(&mut self, now: u64) -> Result<Vec<Deed>, Violation> {
        let Some(round) = self.round.take() else { return Ok(Vec::new()) };
        let ops = ops(&round);
        if ops.is_empty() || self.store.commit(&ops).is_ok() {
            return Ok(round.into_iter().flat_map(Decided::deeds).collect());
        }
        let is_lost = |decided: &Decided| !decided.ops().is_empty();
        let ahead: BTreeSet<_> =
            round.iter().filter(|it| is_lost(it)).map(|it| it.node.clone()).collect();
        let (lost, kept): (Vec<_>, Vec<_>) =
            round.into_iter().partition(|decided| ahead.contains(&decided.node));
        let refused = |it: Decided| Deed::Refused(it.node, "the store is full".to_owned());
        let mut deeds: Vec<_> = lost.into_iter().map(refused).collect();
        deeds.extend(kept.into_iter().flat_map(Decided::deeds));
        for node in ahead {
            let effects = self.load(&node, now)?;
            deeds.extend(effects.into_iter().filter_map(deed));
        }
        Ok(deeds)
    }

    /// The process dies; `durable`: what was being written is on the disk. Another one starts.
    pub(super) fn crash(&mut self, now: u64, durable: bool) -> Result<(), Violation> {
        let round = self.round.take().unwrap_or_default();
        if durable {
            // A full disk refuses this write as well; nobody is there to hear it.
            drop(self.store.commit(&ops(&round)));
        }
        self.inbox.clear();
        self.started = now;
        self.starts += 1;
        let rng = StdRng::seed_from_u64(self.seed ^ (self.starts << 40));
        let (at, config) = (self.now(now), DomainConfig::default());
        let domain = core::read_all(&self.store, at, config, rng);
        self.domain = domain.map_err(|error| unreadable(&error))?;
        Ok(())
    }

    fn load(&mut self, name: &NodeName, now: u64) -> Result<Vec<Effect>, Violation> {
        let (record, rows) =
            core::read_node(&self.store, name).map_err(|error| unreadable(&error))?;
        let now = self.now(now);
        self.domain.load(name, record, &rows, now).map_err(|error| unreadable(&error))
    }
}

impl Decided {
    fn ops(&self) -> Vec<Op> {
        let Ok(done) = &self.result else { return Vec::new() };
        let own = done.effects.iter().filter_map(|effect| match effect {
            Effect::Persist(ops) => Some(ops.clone()),
            Effect::Send(..)
            | Effect::Close(_)
            | Effect::Admit(..)
            | Effect::Learnt(..)
            | Effect::Notify(_) => None,
        });
        own.flatten().collect()
    }

    fn deeds(self) -> Vec<Deed> {
        match self.result {
            Ok(done) => {
                let mut deeds: Vec<_> = done.effects.into_iter().filter_map(deed).collect();
                deeds.push(Deed::Answered(self.node, done.answer));
                deeds
            }
            Err(rejection) => {
                let is_stranger =
                    matches!(rejection, Rejection::UnknownNode(_) | Rejection::StaleSession(_));
                let close = self.session.filter(|_| is_stranger).map(Deed::Close);
                let refused = Deed::Refused(self.node, rejection.to_string());
                close.into_iter().chain([refused]).collect()
            }
        }
    }
}

fn ops(round: &[Decided]) -> Vec<Op> {
    round.iter().flat_map(Decided::ops).collect()
}

fn deed(effect: Effect) -> Option<Deed> {
    match effect {
        Effect::Send(topic, bytes) => Some(Deed::Send(topic, bytes)),
        Effect::Close(session) => Some(Deed::Close(session.0)),
        Effect::Persist(_) | Effect::Admit(..) | Effect::Learnt(..) | Effect::Notify(_) => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others come through the API")]
const fn session(action: &Action) -> Option<u64> {
    match action {
        Action::Connected(session)
        | Action::Disconnected(session, _)
        | Action::Received { session, .. } => Some(session.0),
        _ => None,
    }
}

fn unreadable(error: &dyn std::error::Error) -> Violation {
    let what = format!("the cloud cannot read what it wrote: {}", gnomon_cloud::chain(error));
    Violation { invariant: Invariant::NoLoss, what }
}
