//! The steps that are being done: those of one app one after the other, those of different apps
//! side by side. Stops go beside all others, since one may take as long as the service is given
//! to end: only its own slot waits for it. Pulls are not among them; see `pulls`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnomon_schemas::id::AppName;

use crate::reconcile::model::{Slot, Step};

/// What is being done, and what waits.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// An app is in the map while one of its steps runs.
    lanes: BTreeMap<AppName, Lane>,
    stops: BTreeSet<Slot>,
}

#[derive(Debug, Default)]
struct Lane {
    /// The slot of the step that runs.
    slot: Option<Slot>,
    waiting: VecDeque<Step>,
}

impl Work {
    /// Takes the steps of a plan, as far as none of the same app, or slot, is being done; gives
    /// back those to start at once.
    pub(super) fn begin(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let mut first = Vec::new();
        let mut lanes: BTreeMap<AppName, Lane> = BTreeMap::new();
        for step in steps {
            if !self.is_free(&step) {
                continue;
            }
            if let Step::Stop { slot, .. } = &step {
                self.stops.insert(slot.clone());
                first.push(step);
            } else if !self.lanes.contains_key(step.app()) {
                lanes.entry(step.app().clone()).or_default().waiting.push_back(step);
            }
        }
        for (app, mut lane) in lanes {
            first.extend(lane.next());
            self.lanes.insert(app, lane);
        }
        first
    }

    /// A step ended; gives back the next one of its app. After a failure the rest is given up.
    pub(super) fn ended(&mut self, step: &Step, succeeded: bool) -> Option<Step> {
        if let Step::Stop { slot, .. } = step {
            self.stops.remove(slot);
            return None;
        }
        let app = step.app();
        let next = self.lanes.get_mut(app).filter(|_| succeeded).and_then(Lane::next);
        if next.is_none() {
            self.lanes.remove(app);
        }
        next
    }

    /// Gives up what waits for `app`: it was planned for another desired state.
    pub(super) fn forget_waiting(&mut self, app: &AppName) {
        if let Some(lane) = self.lanes.get_mut(app) {
            lane.waiting.clear();
        }
    }

    /// Whether a step of `app` is being done.
    pub(super) fn is_busy(&self, app: &AppName) -> bool {
        self.lanes.contains_key(app) || self.stops.iter().any(|slot| slot.app == *app)
    }

    /// Whether nothing else is being done, or waits, in the step's slot.
    pub(super) fn is_free(&self, step: &Step) -> bool {
        let Some(slot) = step.slot() else { return true };
        let waits = |lane: &Lane| lane.waiting.iter().any(|other| other.slot() == Some(slot));
        let is_taken = |lane: &Lane| lane.slot.as_ref() == Some(slot) || waits(lane);
        !self.stops.contains(slot) && !self.lanes.get(&slot.app).is_some_and(is_taken)
    }
}

impl Lane {
    fn next(&mut self) -> Option<Step> {
        let step = self.waiting.pop_front()?;
        self.slot = step.slot().cloned();
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reconcile::model::InstanceId;

    fn slot(app: &str, service: &str) -> Slot {
        Slot { app: app.parse().unwrap(), service: service.parse().unwrap(), replica: 0 }
    }

    fn start(app: &str, service: &str) -> Step {
        Step::Start { id: InstanceId(service.into()), slot: slot(app, service) }
    }

    fn stop(app: &str, service: &str) -> Step {
        let id = InstanceId(service.into());
        Step::Stop { id, slot: slot(app, service), grace: Duration::ZERO }
    }

    fn app(name: &str) -> AppName {
        name.parse().unwrap()
    }

    #[test]
    fn steps_of_one_app_come_one_by_one_and_apps_do_not_wait_for_each_other() {
        let mut work = Work::default();
        let first = work.begin(vec![start("a", "x"), start("a", "y"), start("b", "x")]);
        assert_eq!(first, [start("a", "x"), start("b", "x")]);
        assert!(work.begin(vec![start("a", "z")]).is_empty(), "an app that is busy stays so");
        assert_eq!(work.ended(&start("a", "x"), true), Some(start("a", "y")));
        assert_eq!(work.ended(&start("a", "y"), true), None);
        assert!(!work.is_busy(&app("a")) && work.is_busy(&app("b")));
        assert_eq!(work.begin(vec![start("a", "z")]), [start("a", "z")]);
    }

    #[test]
    fn a_stop_holds_up_only_its_own_slot() {
        let mut work = Work::default();
        let first = work.begin(vec![stop("a", "x"), start("a", "y"), stop("a", "z")]);
        assert_eq!(first, [stop("a", "x"), stop("a", "z"), start("a", "y")]);
        assert!(work.begin(vec![stop("a", "x"), start("a", "z"), stop("a", "y")]).is_empty());
        assert_eq!(work.ended(&start("a", "y"), true), None);
        assert!(work.is_busy(&app("a")));
        let next = vec![start("a", "x"), stop("a", "y"), start("a", "w")];
        assert_eq!(work.begin(next), [stop("a", "y"), start("a", "w")]);
        assert_eq!(work.ended(&stop("a", "x"), false), None);
        assert!(work.begin(vec![start("a", "x")]).is_empty(), "the app is busy with w");
        assert_eq!(work.ended(&start("a", "w"), true), None);
        assert_eq!(work.begin(vec![start("a", "x")]), [start("a", "x")]);
    }

    #[test]
    fn a_failure_or_another_wish_gives_up_what_waits() {
        let mut work = Work::default();
        work.begin(vec![start("a", "x"), start("a", "y")]);
        assert_eq!(work.ended(&start("a", "x"), false), None);
        work.begin(vec![start("a", "x"), start("a", "y")]);
        work.forget_waiting(&app("a"));
        assert!(work.is_busy(&app("a")), "the step that runs is not given up");
        assert_eq!(work.ended(&start("a", "x"), true), None);
        assert!(!work.is_busy(&app("a")));
    }
}
