//! How a writer behaves on the wire: it sends the newest state, keeps to the window, is silent
//! without a link, and does not retry faster than it may.

use std::time::Duration;

use gnomon_schemas::version::Seq;
use gnomon_schemas::wire::{Body, Message};
use gnomon_sync::{Moment, Writer, WriterConfig};

use super::violation::{Invariant, Violation, ensure};

/// What is known of one writer's session.
#[derive(Debug, Clone)]
pub(super) struct Conduct {
    link: bool,
    window: u8,
    /// Batches that were sent and not answered.
    outstanding: Vec<Seq>,
    /// When the timer was last due without anything heard since.
    last_timeout: Option<Moment>,
    base: Duration,
    most: u8,
}

impl Conduct {
    pub(super) fn new(config: WriterConfig) -> Self {
        let (base, most) = (config.backoff.base, config.window);
        Self { link: false, window: 1, outstanding: Vec::new(), last_timeout: None, base, most }
    }

    pub(super) fn restarted(&mut self) {
        self.link(false);
    }

    pub(super) fn link(&mut self, up: bool) {
        self.link = up;
        self.outstanding.clear();
        self.last_timeout = None;
    }

    /// The writer is about to take a message.
    pub(super) fn heard(&mut self, writer: &Writer, message: &Message) {
        self.last_timeout = None;
        match message {
            Message::Hello(hello) => {
                self.window = hello.window.clamp(1, self.most.max(1));
                self.outstanding.clear();
            }
            Message::Fetch(_) => self.outstanding.clear(),
            Message::Ack(ack) if ack.epoch == writer.epoch() && ack.seq <= writer.head() => {
                self.outstanding.retain(|seq| *seq > ack.seq);
            }
            Message::Ack(_) | Message::Batch(_) | Message::Manifest(_) => {}
        }
    }

    /// The writer's timer is due.
    pub(super) fn timeout(&mut self, now: Moment) -> Result<(), Violation> {
        let last = self.last_timeout.replace(now);
        self.outstanding.clear();
        let pause = last.map(|last| now.saturating_since(last));
        ensure(pause.is_none_or(|pause| pause >= self.base), Invariant::Cost, || {
            format!("the writer tried again after {pause:?}, sooner than {:?}", self.base)
        })
    }

    /// A writer with something to say waits for an answer, and not for ever.
    pub(super) fn check_timer(&self, writer: &Writer) -> Result<(), Violation> {
        let rests = !self.link || writer.is_in_sync() || writer.poll_timeout().is_some();
        ensure(rests, Invariant::Convergence, || {
            "the writer is not in sync, and no timer runs".to_owned()
        })
    }

    /// The writer wants a message sent.
    pub(super) fn said(&mut self, writer: &Writer, message: &Message) -> Result<(), Violation> {
        ensure(self.link, Invariant::Cost, || "the writer talks without a link".to_owned())?;
        let Message::Batch(batch) = message else { return Ok(()) };
        for entry in &batch.changes {
            let newest = writer.last_version(&entry.key);
            let unknown = entry.body == Body::Gone && writer.get(&entry.key).is_none();
            ensure(entry.version == newest || unknown, Invariant::Cost, || {
                format!("{} v{} is sent where v{newest} is current", entry.key, entry.version)
            })?;
        }
        if !batch.changes.is_empty() {
            self.outstanding.push(batch.seq);
        }
        let (count, window) = (self.outstanding.len(), usize::from(self.window));
        ensure(count <= window, Invariant::Cost, || {
            format!("{count} batches are in flight in a window of {window}")
        })
    }
}
