//! A step that failed, and when to try it again.

use std::fmt;

use gnomon_sync::Moment;

use crate::reconcile::backoff;
use crate::reconcile::text::{clip, times};

/// What is remembered of a step that has failed since it last succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::reconcile) struct Failure {
    tries: u32,
    reason: String,
    /// Whether it may pass by itself.
    pub(in crate::reconcile) transient: bool,
    /// Not to be tried before.
    pub(in crate::reconcile) next: Moment,
}

/// How much of a reason is kept: it is reported over a link that costs money.
const REASON_CHARS: usize = 300;

impl Failure {
    /// How often it was tried.
    pub(in crate::reconcile) const fn tries(&self) -> u32 {
        self.tries
    }

    /// Why it failed the last time.
    pub(in crate::reconcile) fn reason(&self) -> &str {
        &self.reason
    }

    /// Lets it be tried again at once, if it waits.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.next = self.next.min(now);
    }

    pub(super) fn again(&mut self, reason: String, transient: bool, now: Moment) {
        self.tries = self.tries.saturating_add(1);
        self.reason = clip(reason, REASON_CHARS);
        self.transient = transient;
        self.next = now + backoff::after_failure(self.tries, transient);
    }
}

/// The same text until the next attempt: no time in it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed {}: {}; retrying", times(self.tries), self.reason)
    }
}
