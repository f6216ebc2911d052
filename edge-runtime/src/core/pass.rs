//! One pass of reconciliation: from what was seen to steps and reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::{Core, Effect, StepFailure};
use crate::reconcile::model::{Observed, Step};
use crate::reconcile::{Plan, plan};

/// The planner may want to be asked again at once; this keeps it from being asked in a loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

impl Core {
    pub(super) fn on_observed(
        &mut self,
        now: Moment,
        observed: Observed,
        version: Option<String>,
        wall_s: u64,
    ) {
        if !self.watching.landed(now, version) {
            return;
        }
        self.attempts.observed(&observed, now);
        self.desired.observed(&observed);
        self.attempts.retain(&self.desired, &observed);
        let seen = if self.settled { observed } else { self.without_unknown_apps(observed) };
        self.keep_schedules(now, wall_s, &seen);
        self.keep_windows();
        let capabilities = &self.config.capabilities;
        let Plan { mut steps, report, wake_at } =
            plan(&self.desired, &seen, &self.attempts, capabilities, now);
        self.watching.want(now + self.config.observe_every, "it has been a while");
        if let Some((at, why)) = wake_at {
            self.watching.want(at.max(now + SHORTEST_PAUSE), why);
        }
        self.note_changes(&steps);
        let given_up = self.judge(now, &seen, &report);
        steps.extend(self.restart_steps(&seen, &steps));
        self.begin(steps.into_iter().filter(|it| !given_up.contains(it.app())).collect());
        self.review_images(now);
        self.take_statuses(now, report);
    }

    pub(super) fn on_unreachable(&mut self, now: Moment, reason: String) {
        self.watching.missed(now, reason);
        self.trials.unseen();
        self.report_soon(now);
    }

    pub(super) fn on_found(&mut self, now: Moment, image: &str, is_here: bool) {
        if is_here {
            let apps = self.pulls.found(image);
            self.pulled(now, image, &apps, &Ok(()));
        } else if self.pulls.missed(image) {
            self.attempts.looked_in_vain(image);
            self.watching.want(now, "an image is not here");
        }
        self.fetch();
    }

    pub(super) fn on_done(&mut self, now: Moment, step: &Step, outcome: Result<(), StepFailure>) {
        if let Step::Pull { image, .. } = step {
            let apps = self.pulls.ended(image);
            if outcome.as_ref().is_err_and(|failure| failure.is_disk_full) {
                self.images.is_full(now);
                self.review_images(now);
            }
            self.pulled(now, image, &apps, &outcome);
            return self.fetch();
        }
        self.watching.step_ended();
        let succeeded = outcome.is_ok();
        self.remember(now, step, outcome);
        if let Step::Start { slot, .. } = step
            && succeeded
        {
            self.run_began(slot);
        }
        match self.work.ended(step, succeeded) {
            Some(next) => self.start(next),
            None => self.watching.want(now, "the steps of an app ended"),
        }
    }

    fn begin(&mut self, steps: Vec<Step>) {
        let mut needs: BTreeMap<String, BTreeSet<AppName>> = BTreeMap::new();
        let mut others = Vec::new();
        for step in steps {
            match step {
                Step::Pull { app, image } => drop(needs.entry(image).or_default().insert(app)),
                Step::Create { .. }
                | Step::Start { .. }
                | Step::Stop { .. }
                | Step::Remove { .. }
                | Step::RemoveApp { .. } => others.push(step),
            }
        }
        self.effects.extend(self.pulls.want(needs));
        self.fetch();
        for step in self.work.begin(others) {
            self.start(step);
        }
    }

    /// Each app that needs the image hears how its pull ended, as if it had been its own.
    fn pulled(
        &mut self,
        now: Moment,
        image: &str,
        apps: &BTreeSet<AppName>,
        outcome: &Result<(), StepFailure>,
    ) {
        for app in apps {
            let step = Step::Pull { app: app.clone(), image: image.to_owned() };
            self.remember(now, &step, outcome.clone());
            self.watching.want(now, "the pull of an image ended");
        }
    }

    fn remember(&mut self, now: Moment, step: &Step, outcome: Result<(), StepFailure>) {
        match outcome {
            Ok(()) => self.attempts.succeeded(step, now),
            Err(StepFailure { reason, transient, is_disk_full: _ }) => {
                tracing::warn!(app = %step.app(), %step, transient, %reason, "a step failed");
                self.attempts.failed(step, reason, transient, now);
            }
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
