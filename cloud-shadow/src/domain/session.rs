//! A node comes, speaks and goes.

use std::collections::BTreeSet;

use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Version;
use gnomon_schemas::wire::{Body, Message};

use super::command::{Answer, Done, Effect, Now, Session};
use super::node::{Link, Node};
use super::rejection::Rejection;
use crate::rows::{self, session::SessionRecord};
use crate::store::Op;

/// How many sessions of a node are remembered at least.
pub const SESSIONS: usize = 100;

/// After so many more the oldest are forgotten: to look for them, the store walks over all of them,
/// which is too much for every return of a node that comes and goes all the time.
pub(super) const SURPLUS: usize = 20;

/// How much is kept of why a session ended.
const REASON_CHARS: usize = 200;

impl Node {
    /// The node has a new session; the one before, if there is one still, is ended, so that two
    /// machines that claim to be one node do not both live with half of the messages.
    pub(super) fn connected(&mut self, now: Now, session: Session) -> Result<Done, Rejection> {
        if self.latest.is_some_and(|latest| latest >= session) {
            return Err(Rejection::StaleSession(self.name.clone()));
        }
        let close = self.session().map(Effect::Close);
        let mut ops = self.end_session(now, "another connection took its place");
        self.lose_link();
        self.latest = Some(session);
        self.link = Link::Silent(session);
        self.writer.link_up(now.moment);
        let record = SessionRecord::begun(session, now.unix_ms);
        ops.push(rows::session::put(&self.name, &record));
        if self.trim_in == 0 {
            ops.push(Op::Trim { prefix: rows::session::of_node(&self.name), keep: SESSIONS });
            self.trim_in = SURPLUS;
        } else {
            self.trim_in -= 1;
        }
        self.open = Some(record);
        let mut effects = self.come_or_go(now, true, ops);
        effects.extend(close);
        Ok(Done { answer: Answer::Nothing, effects })
    }

    /// A session of the node has ended; a late goodbye of an earlier one says nothing.
    pub(super) fn disconnected(
        &mut self,
        now: Now,
        session: Session,
        reason: &str,
    ) -> Result<Done, Rejection> {
        if self.session() != Some(session) {
            return Err(Rejection::StaleSession(self.name.clone()));
        }
        self.lose_link();
        let ops = self.end_session(now, reason);
        Ok(Done { answer: Answer::Nothing, effects: self.come_or_go(now, false, ops) })
    }

    fn end_session(&mut self, now: Now, reason: &str) -> Vec<Op> {
        let Some(mut record) = self.open.take() else { return Vec::new() };
        record.ended_ms = Some(now.unix_ms);
        record.reason = Some(reason.chars().take(REASON_CHARS).collect());
        vec![rows::session::put(&self.name, &record)]
    }

    /// Refuses a message of another session than the current one, one that would bring more
    /// shadows than a node may have, and wishes without end for what does not exist.
    pub(super) fn check_message(
        &mut self,
        session: Session,
        stream: Stream,
        message: &Message,
        limit: usize,
    ) -> Result<(), Rejection> {
        if self.session() != Some(session) {
            return Err(Rejection::StaleSession(self.name.clone()));
        }
        let new = if stream == Stream::Up { self.new_shadows(message) } else { 0 };
        if new > 0 && self.shadows.present() + new > limit {
            return Err(Rejection::LimitReached { what: "shadows", limit });
        }
        if stream == Stream::Down {
            self.count_vain_wishes(message, limit)?;
        }
        Ok(())
    }

    /// The writer remembers every wish until it is met or the node says `hello`; those for halves
    /// that never were are the only ones whose number the documents do not bound.
    fn count_vain_wishes(&mut self, message: &Message, limit: usize) -> Result<(), Rejection> {
        match message {
            Message::Hello(_) => self.vain_wishes = 0,
            Message::Fetch(fetch) => {
                let unknown = |key: &&ShadowKey| self.writer.last_version(key) == Version::ZERO;
                let vain = self.vain_wishes + fetch.keys.iter().filter(unknown).count();
                if vain > limit {
                    return Err(Rejection::LimitReached { what: "wishes in vain", limit });
                }
                self.vain_wishes = vain;
            }
            Message::Batch(_) | Message::Ack(_) | Message::Manifest(_) => {}
        }
        Ok(())
    }

    /// Counts a message; the first of a session shows that the node can hear the reader. The writer
    /// needs no such proof: it waits for the node to speak, and asks it if that takes too long.
    pub(super) fn note_traffic(&mut self, now: Now, session: Session, bytes: usize) {
        if self.link == Link::Silent(session) {
            self.link = Link::Up(session);
            self.reader.link_up(now.moment);
        }
        self.presence.last_seen_ms = Some(now.unix_ms);
        self.received_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// Takes a message.
    pub(super) fn receive(&mut self, now: Now, stream: Stream, message: &Message) -> Done {
        match stream {
            Stream::Down => self.writer.receive(now.moment, message),
            Stream::Up => self.reader.receive(now.moment, message),
        }
        Done { answer: Answer::Nothing, effects: self.drain(now, Vec::new()) }
    }

    /// A timer of the writer is due.
    pub(super) fn timeout(&mut self, now: Now) -> Done {
        self.writer.handle_timeout(now.moment);
        Done { answer: Answer::Nothing, effects: self.drain(now, Vec::new()) }
    }

    fn new_shadows(&self, message: &Message) -> usize {
        let is_new =
            |key: &&ShadowKey| self.reader.get(key).is_none() && self.writer.get(key).is_none();
        let keys: BTreeSet<&ShadowKey> = match message {
            Message::Batch(batch) => {
                let full = batch.changes.iter().filter(|entry| !matches!(entry.body, Body::Gone));
                full.map(|entry| &entry.key).filter(is_new).collect()
            }
            Message::Manifest(manifest) => {
                manifest.entries.iter().map(|entry| &entry.key).filter(is_new).collect()
            }
            Message::Hello(_) | Message::Ack(_) | Message::Fetch(_) => return 0,
        };
        keys.len()
    }

    fn lose_link(&mut self) {
        self.writer.link_down();
        self.reader.link_down();
        self.link = Link::Down;
    }

    fn come_or_go(&mut self, now: Now, online: bool, mut ops: Vec<Op>) -> Vec<Effect> {
        self.presence.last_seen_ms = Some(now.unix_ms);
        if self.presence.online != online {
            self.presence.online = online;
            self.presence.since_ms = Some(now.unix_ms);
        }
        ops.push(rows::put(rows::presence(&self.name), &self.presence));
        let mut effects = self.drain(now, ops);
        effects.push(self.notice());
        effects
    }
}
