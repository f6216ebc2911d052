//! Whether the store takes commits. After a refusal it is left alone for a while: what the cloud
//! sends meanwhile it sends again, and reports are made anew.

use gnomon_sync::Moment;

use crate::backoff::Backoff;

#[derive(Debug)]
pub(super) struct Gate {
    phase: Phase,
    backoff: Backoff,
    closed_until: Option<Moment>,
    trouble: Option<Trouble>,
}

/// What the store complains about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) full: bool,
    pub(super) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The store must be read before anything else.
    Unread,
    Loading,
    Ready,
    Committing,
}

impl Gate {
    pub(super) const fn new(backoff: Backoff) -> Self {
        Self { phase: Phase::Unread, backoff, closed_until: None, trouble: None }
    }

    /// Whether an answer of the store is awaited.
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Loading | Phase::Committing)
    }

    /// What the store complains about.
    pub(super) const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether the store should be read now.
    pub(super) fn begin_load(&mut self, now: Moment) -> bool {
        let is_open = self.closed_until.is_none_or(|until| until <= now);
        let due = self.phase == Phase::Unread && is_open;
        if due {
            self.phase = Phase::Loading;
        }
        due
    }

    pub(super) const fn loaded(&mut self) {
        self.phase = Phase::Ready;
    }

    pub(super) const fn begin_commit(&mut self) {
        self.phase = Phase::Committing;
    }

    /// A commit succeeded; says whether an earlier one had not.
    pub(super) fn committed(&mut self) -> bool {
        self.phase = Phase::Ready;
        self.backoff.reset();
        self.trouble.take().is_some()
    }

    /// A load or a commit failed: the store is read (again) after a while.
    pub(super) fn failed(&mut self, now: Moment, full: bool, reason: String) {
        let trouble = Trouble { full, reason };
        if self.trouble.as_ref().is_none_or(|known| known.full != trouble.full) {
            tracing::error!(reason = %trouble.reason, "the store does not take changes; apps keep \
                running, and it is tried again by itself");
        }
        self.trouble = Some(trouble);
        self.phase = Phase::Unread;
        self.closed_until = Some(now + self.backoff.next_delay());
    }

    /// Ends the wait after a failure when its time has come.
    pub(super) fn reopen(&mut self, now: Moment) {
        self.closed_until = self.closed_until.filter(|until| *until > now);
    }

    pub(super) fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.closed_until.map(|until| (until, "the store is tried again"))
    }
}
