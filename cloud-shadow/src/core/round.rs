//! One round: decide, commit, carry out, then let others look.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use gnomon_schemas::id::NodeName;
use tracing::Instrument as _;

use super::asker::{Asker, Groups};
use super::audit::{AuditLimits, AuditLog, Deed};
use super::breath::Breath;
use super::handle::{Arrived, Input, Refusal, Reply};
use super::things::Asked;
use super::watch::Watchers;
use super::{CoreConfig, CoreParts, RELOAD, start};
use crate::aws::domain::{Limits, Rejected};
use crate::domain::{
    Action, Answer, Author, Command, Domain, Done, Effect, Now, Rejection, Session,
};
use crate::metrics::{Direction, Stage};
use crate::spans;
use crate::store::{Op, StoreError};

/// The domain and what its effects need.
pub(super) struct Rounds {
    domain: Domain,
    watchers: Watchers,
    pub(super) parts: CoreParts,
    /// The bounds of things.
    pub(super) limits: Limits,
    /// Nodes of which the domain knows more than the store.
    ahead: BTreeSet<NodeName>,
    /// Who did what; `None`: not read yet.
    audit: Option<AuditLog>,
    audit_limits: AuditLimits,
}

/// A command that was decided and waits for the commit.
struct Decided {
    node: NodeName,
    session: Option<Session>,
    is_timer: bool,
    deed: Option<Deed>,
    asker: Asker,
    result: Result<Done, Rejection>,
    /// Whether something of it is in the commit.
    is_written: bool,
}

/// The inputs of a round.
#[derive(Default)]
struct Taken {
    decided: Vec<Decided>,
    groups: Groups,
    /// Those who look, once everything is durable.
    looks: Vec<Input>,
    others: Others,
    orders: Vec<Asked>,
    /// What to remember of each order.
    attempts: Vec<Option<Deed>>,
}

impl Rounds {
    pub(super) fn new(
        domain: Domain,
        watchers: Watchers,
        parts: CoreParts,
        config: &CoreConfig,
    ) -> Self {
        let (limits, audit_limits) = (config.things, config.audit);
        let (ahead, audit) = (BTreeSet::new(), None);
        Self { domain, watchers, parts, limits, ahead, audit, audit_limits }
    }

    /// Returns when there is something to do without any input.
    pub(super) async fn wake(&self) {
        let clock = self.parts.clock;
        if !self.ahead.is_empty() {
            return clock.until(clock.now().moment + RELOAD).await;
        }
        match self.domain.poll_timeout() {
            Some((moment, why)) => {
                clock.until(moment).await;
                tracing::trace!(why, "a timer is due");
            }
            None => std::future::pending().await,
        }
    }

    /// Counts how long the first input of a round has waited, and how many wait for the next one.
    pub(super) fn note_wait(&self, first: Option<&Arrived>, left: usize) {
        if let Some(first) = first {
            self.parts.metrics.stage(Stage::Wait, first.at.elapsed());
        }
        self.parts.metrics.waiting(left);
    }

    /// Ends the watch streams.
    pub(super) fn end_watching(&mut self) {
        self.watchers.end();
    }

    pub(super) async fn run(&mut self, inputs: impl Iterator<Item = Input>) {
        let span = spans::round();
        self.go(inputs).instrument(span).await;
    }

    async fn go(&mut self, inputs: impl Iterator<Item = Input>) {
        if !self.catch_up().await {
            return self.refuse_all(inputs);
        }
        let (now, began) = (self.parts.clock.now(), Instant::now());
        let mut breath = Breath::new();
        let Taken { mut decided, mut groups, looks, mut others, orders, attempts } =
            self.take(inputs, now, &mut breath).await;
        for node in self.domain.due(now.moment) {
            let command = Command { node, action: Action::Timeout, by: Author::cloud() };
            decided.push(self.decide(command, Asker::Nobody, now));
        }
        let mut things = self.weigh(orders, now).await;
        others.ops.extend(things.take_ops());
        others.deeds.extend(things.deeds(attempts));
        let (ops, kept, deeds) = (others.ops, others.replies, others.deeds);
        self.parts.metrics.stage(Stage::Decide, began.elapsed());
        let failure = self.commit(&mut decided, ops, deeds).await;
        let began = Instant::now();
        self.conclude(things, failure.as_ref());
        for reply in kept {
            reply.send(failure.clone().map_or(Ok(Answer::Nothing), Err));
        }
        for command in decided {
            breath.draw().await;
            self.carry_out(command, failure.as_ref(), &mut groups);
        }
        if !self.catch_up().await {
            return self.refuse_all(looks.into_iter());
        }
        for look in looks {
            self.show(look, now);
        }
        self.parts.metrics.stage(Stage::Act, began.elapsed());
        self.parts.metrics.census(self.domain.census());
        self.parts.metrics.watchers(self.watchers.len());
    }

    /// Decides about what can be decided at once, and sorts the rest.
    async fn take(
        &mut self,
        inputs: impl Iterator<Item = Input>,
        now: Now,
        breath: &mut Breath,
    ) -> Taken {
        let mut taken = Taken::default();
        for input in inputs {
            breath.draw().await;
            match input {
                Input::Command(command, reply) => {
                    let asker = reply.map_or(Asker::Nobody, Asker::One);
                    taken.decided.push(self.decide(command, asker, now));
                }
                Input::Commands(commands, replies) => {
                    spans::link(&replies.span);
                    taken.groups.begin(commands.len(), replies);
                    for command in commands {
                        breath.draw().await;
                        taken.decided.push(self.decide(command, Asker::Group, now));
                    }
                }
                look @ (Input::Read(_) | Input::Watch(..)) => taken.looks.push(look),
                Input::Forget(ops) => taken.others.ops.extend(ops),
                Input::Keep(ops, deed, reply) => taken.others.keep(ops, deed, reply),
                Input::Thing(order, reply, deed) => {
                    taken.orders.push((order, reply));
                    taken.attempts.push(deed);
                }
            }
        }
        taken
    }

    fn decide(&mut self, command: Command, asker: Asker, now: Now) -> Decided {
        let (node, session) = (command.node.clone(), command.action.session());
        let is_timer = matches!(command.action, Action::Timeout);
        let deed = Deed::of(&command, self.domain.node(&node));
        if let Asker::One(reply) = &asker {
            spans::link(&reply.span);
        }
        let result = self.domain.handle(command, now);
        if let Some(after_ms) = self.domain.caught_up() {
            self.parts.metrics.caught_up(after_ms);
        }
        let deed = deed.filter(|_| result.is_ok());
        Decided { node, session, is_timer, deed, asker, result, is_written: false }
    }

    /// Writes what all the commands want written. On failure their nodes are ahead of the store.
    /// What is forgotten besides may be lost: it is found again.
    async fn commit(
        &mut self,
        decided: &mut [Decided],
        mut ops: Vec<Op>,
        mut deeds: Vec<Deed>,
    ) -> Option<Refusal> {
        let mut commands = 0;
        for command in &mut *decided {
            let Ok(done) = &mut command.result else { continue };
            if take_ops(done, &mut ops) {
                command.is_written = true;
                deeds.extend(command.deed.take());
                commands += 1;
            }
        }
        if ops.is_empty() && deeds.is_empty() {
            return None;
        }
        if !deeds.is_empty() {
            match self.remember(deeds).await {
                Ok(rows) => ops.extend(rows),
                Err(refusal) => {
                    self.ahead = written(decided);
                    return Some(refusal);
                }
            }
        }
        let (store, began) = (Arc::clone(&self.parts.store), Instant::now());
        let bytes = ops.iter().map(Op::bytes).sum();
        let span = spans::commit(commands, ops.len(), bytes);
        let writing = tokio::task::spawn_blocking(move || store.commit_owned(ops));
        let committed = writing.instrument(span).await;
        self.parts.metrics.stage(Stage::Commit, began.elapsed());
        self.parts.metrics.committed(commands, bytes, began.elapsed());
        let is_done = matches!(committed, Ok(Ok(())));
        if let Some(audit) = &mut self.audit {
            audit.settle(is_done);
        }
        let refusal = match committed {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => explain(&error),
            Err(error) => {
                tracing::error!(%error, "the store ended by a panic");
                Refusal::StoreFailed
            }
        };
        self.ahead = written(decided);
        Some(refusal)
    }

    /// The rows that say who did what.
    async fn remember(&mut self, deeds: Vec<Deed>) -> Result<Vec<Op>, Refusal> {
        if self.audit.is_none() {
            let (store, limits) = (Arc::clone(&self.parts.store), self.audit_limits);
            let read = tokio::task::spawn_blocking(move || AuditLog::open(&*store, limits)).await;
            let read = read.map_err(|error| {
                tracing::error!(%error, "reading the audit log ended by a panic");
                Refusal::StoreFailed
            })?;
            self.audit = Some(read.map_err(|error| {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the audit log cannot be read, so nothing is written");
                Refusal::StoreFailed
            })?);
        }
        let now_ms = self.parts.clock.now().unix_ms;
        Ok(self.audit.as_mut().map(|audit| audit.stage(deeds, now_ms)).unwrap_or_default())
    }

    fn carry_out(&mut self, command: Decided, failure: Option<&Refusal>, groups: &mut Groups) {
        let lost = failure.filter(|_| self.ahead.contains(&command.node));
        let result = match (command.result, lost) {
            (_, Some(refusal)) => Err(refusal.clone()),
            (Err(rejection), None) => {
                self.turn_away(command.session, &rejection);
                Err(Refusal::Rejected(rejection))
            }
            (Ok(done), None) => {
                done.effects.into_iter().for_each(|effect| self.perform(effect));
                Ok(done.answer)
            }
        };
        match &result {
            Ok(_) if command.is_timer => {}
            Ok(_) => self.parts.metrics.accepted(),
            Err(refusal) => self.parts.metrics.refused(refusal.code()),
        }
        groups.answer(command.asker, result);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Send(topic, payload) => {
                self.parts.metrics.message(Direction::Sent, &topic, payload.len());
                self.parts.link.publish(&topic, payload);
            }
            Effect::Close(session) => self.parts.link.close(session),
            Effect::Admit(node, admission) => self.parts.link.admit(&node, &admission),
            Effect::Learnt(node, serial) => tracing::warn!(%node, serial,
                "a certificate that the backup did not know is good again"),
            Effect::Notify(notice) => self.watchers.tell(notice),
        }
    }

    /// A session of the broker that is not, or is no longer, that of a node ends.
    fn turn_away(&self, session: Option<Session>, rejection: &Rejection) {
        let Some(session) = session else { return };
        self.parts.metrics.dropped(rejection.code());
        if matches!(rejection, Rejection::UnknownNode(_) | Rejection::StaleSession(_)) {
            tracing::debug!(reason = %rejection, "a session is turned away");
            self.parts.link.close(session);
        }
    }

    fn show(&mut self, look: Input, now: Now) {
        match look {
            Input::Command(..)
            | Input::Commands(..)
            | Input::Forget(_)
            | Input::Keep(..)
            | Input::Thing(..) => {}
            Input::Read(reader) => reader(Ok((&self.domain, now))),
            Input::Watch(filter, seen, reply) => {
                drop(reply.send(self.watchers.add(filter, seen, &self.domain)));
            }
        }
    }

    /// Brings the nodes that are ahead of the store back to what it holds; whether all are.
    async fn catch_up(&mut self) -> bool {
        while let Some(node) = self.ahead.pop_first() {
            if let Err(error) = self.reload(&node).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(%node, error, "the store does not give back what it holds");
                self.ahead.insert(node);
                return false;
            }
        }
        true
    }

    /// Answers while the store does not give back what it holds.
    fn refuse_all(&mut self, inputs: impl Iterator<Item = Input>) {
        let refusal = Refusal::StoreFailed;
        for input in inputs {
            match input {
                Input::Command(command, None) => self.miss(command),
                Input::Command(_, Some(reply)) | Input::Keep(_, _, reply) => {
                    reply.send(Err(refusal.clone()));
                }
                Input::Commands(commands, replies) => {
                    replies.send(vec![Err(refusal.clone()); commands.len()]);
                }
                Input::Read(reader) => reader(Err(refusal.clone())),
                Input::Watch(_, _, reply) => drop(reply.send(Err(refusal.clone()))),
                Input::Forget(_) => {}
                Input::Thing(order, reply, _) => self.refuse((order, reply), Rejected::Internal),
            }
        }
    }

    /// What the broker tells cannot be refused: a session that has ended is over, and one whose
    /// message is lost ends, so that the node comes again and says where it stands.
    fn miss(&mut self, command: Command) {
        let Some(session) = command.action.session() else { return };
        self.parts.link.close(session);
        if matches!(command.action, Action::Disconnected(..)) {
            let (node, now) = (command.node.clone(), self.parts.clock.now());
            if self.domain.handle(command, now).is_ok() {
                self.ahead.insert(node);
            }
        }
    }

    async fn reload(&mut self, node: &NodeName) -> Result<(), start::StartError> {
        let (store, name) = (Arc::clone(&self.parts.store), node.clone());
        let read = tokio::task::spawn_blocking(move || start::read_node(&*store, &name)).await;
        let (record, rows) = read.map_err(|_| start::StartError::Panicked)??;
        let effects = self.domain.load(node, record, &rows, self.parts.clock.now())?;
        for effect in effects {
            self.perform(effect);
        }
        Ok(())
    }
}

/// What a commit takes along that no command wants.
#[derive(Default)]
struct Others {
    ops: Vec<Op>,
    deeds: Vec<Deed>,
    replies: Vec<Reply>,
}

impl Others {
    fn keep(&mut self, ops: Vec<Op>, deed: Option<Deed>, reply: Reply) {
        self.ops.extend(ops);
        self.deeds.extend(deed);
        self.replies.push(reply);
    }
}

impl Action {
    /// The session of the broker that it came through.
    const fn session(&self) -> Option<Session> {
        match self {
            Self::Connected(session)
            | Self::Disconnected(session, _)
            | Self::Received { session, .. } => Some(*session),
            Self::PutNode { .. }
            | Self::DeleteNode
            | Self::AddToken { .. }
            | Self::Enrol { .. }
            | Self::Join { .. }
            | Self::Renew { .. }
            | Self::Shown { .. }
            | Self::Learn { .. }
            | Self::Revoke
            | Self::Write(_)
            | Self::Tag { .. }
            | Self::Timeout => None,
        }
    }
}

/// Takes what a command wants written; whether that is anything.
fn take_ops(done: &mut Done, ops: &mut Vec<Op>) -> bool {
    let before = ops.len();
    for effect in &mut done.effects {
        if let Effect::Persist(own) = effect {
            ops.append(own);
        }
    }
    ops.len() > before
}

/// The nodes of which something is in the commit.
fn written(decided: &[Decided]) -> BTreeSet<NodeName> {
    let written = decided.iter().filter(|command| command.is_written);
    written.map(|command| command.node.clone()).collect()
}

fn explain(error: &StoreError) -> Refusal {
    let refusal = if error.is_full() { Refusal::StoreFull } else { Refusal::StoreFailed };
    let error: &dyn std::error::Error = error;
    tracing::error!(error, "a commit failed; its requests were refused");
    refusal
}
