//! The memory as the planner asks it: may this step run now, and if not, why.

use gnomon_schemas::app::{Revision, ServiceState};
use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::attempts::{Attempts, Failure, SlotLife, StepKey};
use super::lives::Lives;
use super::model::{Slot, Step};
use super::verdict::{Standing, Verdict};

/// The attempts as of now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory<'a> {
    attempts: &'a Attempts,
    now: Moment,
}

impl<'a> Memory<'a> {
    pub(super) const fn new(attempts: &'a Attempts, now: Moment) -> Self {
        Self { attempts, now }
    }

    pub(super) fn life(self, slot: &Slot, digest: Revision) -> Option<&'a SlotLife> {
        self.attempts.life(slot, digest)
    }

    /// How all copies lived, to be walked beside what runs.
    pub(super) fn lives(self) -> Lives<'a> {
        self.attempts.lives()
    }

    pub(super) fn has_lived(self, slot: &Slot) -> bool {
        self.attempts.has_lived(slot)
    }

    pub(super) fn failure(self, key: &StepKey) -> Option<&'a Failure> {
        self.attempts.failure(key)
    }

    pub(super) fn has_pulled(self, app: &AppName, image: &str) -> bool {
        self.attempts.has_pulled(app, image)
    }

    /// Whether somebody has looked whether the image is here.
    pub(super) fn has_looked_for(self, app: &AppName, image: &str) -> bool {
        self.attempts.has_looked_for(app, image)
    }

    /// Whether a run of the scheduled slot is due.
    pub(super) fn shall_run(self, slot: &Slot) -> bool {
        self.attempts.is_due(slot)
    }

    pub(super) fn is_due(self, at: Moment) -> bool {
        at <= self.now
    }

    /// The step, unless it failed and its back-off is not over. The text stays the same while it
    /// is tried again, so that a retry by itself is no news.
    /// Test: `a_failed_step_waits_for_its_back_off`.
    pub(super) fn offer(self, step: Step, state: ServiceState, doing: &str) -> Verdict {
        let Some(failure) = self.failure(&StepKey::of(&step)) else {
            return Verdict { step: Some(step), ..Verdict::new(Standing::Moving, state) };
        };
        let verdict = if failure.transient {
            Verdict::new(Standing::Troubled, ServiceState::Waiting)
        } else {
            Verdict::new(Standing::Broken, ServiceState::Failed)
        };
        let verdict = verdict.because(format!("{doing} {failure}"));
        if self.is_due(failure.next) {
            Verdict { step: Some(step), ..verdict }
        } else {
            verdict.until(failure.next, "a failed step may be tried again")
        }
    }
}
