//! How fast a client may publish: one that is faster is not read from for a while.

use std::time::Instant;

use crate::limits::Limits;
use crate::packet::Message;
use crate::rate::{Allowance, Rate};

/// What a client has used of its allowances.
#[derive(Debug)]
pub(super) struct Throttle {
    messages: Option<(Rate, Allowance)>,
    bytes: Option<(Rate, Allowance)>,
    /// When it is read again.
    ready: Option<Instant>,
}

impl Throttle {
    /// None if the limits have none.
    pub(super) fn new(limits: &Limits, now: Instant) -> Option<Box<Self>> {
        let allowance = |rate: u64| Rate::new(rate, rate).map(|rate| (rate, Allowance::new(now)));
        let messages = allowance(limits.publish_rate.into());
        let bytes = allowance(limits.publish_bytes_rate);
        let has_any = messages.is_some() || bytes.is_some();
        has_any.then(|| Box::new(Self { messages, bytes, ready: None }))
    }

    /// Counts a message.
    pub(super) fn charge(&mut self, message: &Message, now: Instant) {
        let mut charge = |allowance: &mut Option<(Rate, Allowance)>, count| {
            let ready = allowance.as_mut().and_then(|(rate, used)| used.charge(*rate, count, now));
            self.ready = self.ready.max(ready);
        };
        charge(&mut self.messages, 1);
        charge(&mut self.bytes, message.payload.len() as u64);
    }

    /// When the client is read again, if it is not now.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        self.ready.filter(|ready| *ready > now)
    }
}
