//! When to look at what runs: at the start, soon after a hint, when the planner wants it, and at
//! least every so often. A look that began before a step ended is worth nothing.

use std::time::Duration;

use gnomon_sync::Moment;

use super::Effect;
use crate::backoff::Backoff;

/// Hints come in swarms; one look serves all of this long.
const DEBOUNCE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Watching {
    due: Option<(Moment, &'static str)>,
    look: Option<Look>,
    reach: Reach,
    version: Option<String>,
    backoff: Backoff,
}

/// A look that is under way.
#[derive(Debug, Clone, Copy)]
struct Look {
    outdated: bool,
}

/// Whether the orchestrator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// It was not asked yet.
    Unknown,
    /// It answers.
    Ready,
    /// It does not; the first reason since it did.
    Unreachable(String),
}

impl Watching {
    pub(super) const fn new(backoff: Backoff) -> Self {
        Self { due: None, look: None, reach: Reach::Unknown, version: None, backoff }
    }

    /// Asks for a look at `at` or earlier.
    pub(super) fn want(&mut self, at: Moment, why: &'static str) {
        if self.due.is_none_or(|(due, _)| at < due) {
            self.due = Some((at, why));
        }
    }

    /// Something changed. While the orchestrator does not answer, hints do not shorten the wait.
    pub(super) fn hint(&mut self, now: Moment) {
        if !matches!(self.reach, Reach::Unreachable(_)) {
            self.want(now + DEBOUNCE, "the orchestrator gave a hint");
        }
    }

    /// A step ended: what a look that is under way sees may be older.
    pub(super) const fn step_ended(&mut self) {
        if let Some(look) = &mut self.look {
            look.outdated = true;
        }
    }

    /// Begins a look if one is due and none is under way.
    pub(super) fn begin(&mut self, now: Moment) -> Option<Effect> {
        let (_, why) = self.due.filter(|(due, _)| *due <= now && self.look.is_none())?;
        tracing::trace!(why, "looking at what runs");
        self.due = None;
        self.look = Some(Look { outdated: false });
        Some(Effect::Observe { version: self.version.is_none() })
    }

    /// A look ended; says whether what it saw can be used.
    pub(super) fn landed(&mut self, now: Moment, version: Option<String>) -> bool {
        if let Reach::Unreachable(_) = self.reach {
            tracing::info!("the orchestrator answers again");
        }
        self.reach = Reach::Ready;
        self.version = version.or_else(|| self.version.take());
        self.backoff.reset();
        let usable = self.look.take().is_some_and(|look| !look.outdated);
        if !usable {
            self.want(now, "a step ended during the last look");
        }
        usable
    }

    /// A look failed.
    pub(super) fn missed(&mut self, now: Moment, reason: String) {
        self.look = None;
        self.version = None;
        if !matches!(self.reach, Reach::Unreachable(_)) {
            tracing::warn!(%reason, "the orchestrator does not answer; apps are left as they are");
            self.reach = Reach::Unreachable(reason);
        }
        self.due = Some((now + self.backoff.next_delay(), "the orchestrator is tried again"));
    }

    pub(super) const fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(super) const fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        if self.look.is_some() { None } else { self.due }
    }
}
