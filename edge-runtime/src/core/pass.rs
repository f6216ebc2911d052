//! One pass of reconciliation: from what was seen to steps and reports.

use std::time::Duration;

use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::{Core, Effect, StepFailure};
use crate::reconcile::model::{Observed, Step};
use crate::reconcile::{Plan, plan};

/// The planner may want to be asked again at once; this keeps it from being asked in a loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

impl Core {
    pub(super) fn on_observed(&mut self, now: Moment, observed: Observed, version: Option<String>) {
        if !self.watching.landed(now, version) {
            return;
        }
        self.attempts.observed(&observed, now);
        self.desired.observed(&observed);
        self.attempts.retain(&self.desired, &observed);
        let seen = if self.settled { observed } else { self.without_unknown_apps(observed) };
        let capabilities = &self.config.capabilities;
        let Plan { steps, report, wake_at } =
            plan(&self.desired, &seen, &self.attempts, capabilities, now);
        self.watching.want(now + self.config.observe_every, "it has been a while");
        if let Some((at, why)) = wake_at {
            self.watching.want(at.max(now + SHORTEST_PAUSE), why);
        }
        for step in self.work.begin(steps) {
            self.start(step);
        }
        self.report_apps(now, report);
        self.report_node(now);
    }

    pub(super) fn on_unreachable(&mut self, now: Moment, reason: String) {
        self.watching.missed(now, reason);
        self.report_node(now);
    }

    pub(super) fn on_done(&mut self, now: Moment, step: &Step, outcome: Result<(), StepFailure>) {
        self.watching.step_ended();
        let succeeded = outcome.is_ok();
        match outcome {
            Ok(()) => self.attempts.succeeded(step, now),
            Err(StepFailure { reason, transient }) => {
                tracing::warn!(app = %step.app(), %step, transient, %reason, "a step failed");
                self.attempts.failed(step, reason, transient, now);
            }
        }
        match self.work.ended(step.app(), succeeded) {
            Some(next) => self.start(next),
            None => self.watching.want(now, "the steps of an app ended"),
        }
    }

    fn start(&mut self, step: Step) {
        tracing::debug!(app = %step.app(), %step, "a step begins");
        self.effects.push_back(Effect::Apply(step));
    }

    /// While it is not known what all should run, apps that are not known to be desired may well
    /// be: they are not shown to the planner, which would remove them.
    fn without_unknown_apps(&self, mut observed: Observed) -> Observed {
        let known = |app: &AppName| self.desired.apps.contains_key(app);
        observed.instances.retain(|_, instance| known(&instance.slot.app));
        observed.app_resources.retain(|app| known(app));
        observed
    }
}
