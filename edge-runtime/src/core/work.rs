//! The steps that are being done: those of one app one after the other, those of different apps
//! side by side. Pulls are not among them; see `pulls`.

use std::collections::{BTreeMap, VecDeque};

use gnomon_schemas::id::AppName;

use crate::reconcile::model::Step;

/// An app is in the map while one of its steps runs; the queue holds those that wait.
#[derive(Debug, Default)]
pub(super) struct Work(BTreeMap<AppName, VecDeque<Step>>);

impl Work {
    /// Takes the steps of apps of which none is being done; gives back those to start at once.
    pub(super) fn begin(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let mut queues: BTreeMap<AppName, VecDeque<Step>> = BTreeMap::new();
        for step in steps {
            if !self.0.contains_key(step.app()) {
                queues.entry(step.app().clone()).or_default().push_back(step);
            }
        }
        let mut first = Vec::new();
        for (app, mut queue) in queues {
            first.extend(queue.pop_front());
            self.0.insert(app, queue);
        }
        first
    }

    /// A step of `app` ended; gives back the next one. After a failure the rest is given up.
    pub(super) fn ended(&mut self, app: &AppName, succeeded: bool) -> Option<Step> {
        let next = self.0.get_mut(app).filter(|_| succeeded).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.0.remove(app);
        }
        next
    }

    /// Gives up what waits for `app`: it was planned for another desired state.
    pub(super) fn forget_waiting(&mut self, app: &AppName) {
        if let Some(queue) = self.0.get_mut(app) {
            queue.clear();
        }
    }

    /// Whether a step of `app` is being done.
    pub(super) fn is_busy(&self, app: &AppName) -> bool {
        self.0.contains_key(app)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reconcile::model::{InstanceId, Slot};

    fn stop(app: &str, id: &str) -> Step {
        let slot = Slot { app: app.parse().unwrap(), service: "web".parse().unwrap(), replica: 0 };
        Step::Stop { id: InstanceId(id.into()), slot, grace: Duration::ZERO }
    }

    fn app(name: &str) -> AppName {
        name.parse().unwrap()
    }

    #[test]
    fn steps_of_one_app_come_one_by_one_and_apps_do_not_wait_for_each_other() {
        let mut work = Work::default();
        let first = work.begin(vec![stop("a", "1"), stop("a", "2"), stop("b", "1")]);
        assert_eq!(first, [stop("a", "1"), stop("b", "1")]);
        assert!(work.begin(vec![stop("a", "3")]).is_empty(), "an app that is busy stays so");
        assert_eq!(work.ended(&app("a"), true), Some(stop("a", "2")));
        assert_eq!(work.ended(&app("a"), true), None);
        assert!(!work.is_busy(&app("a")) && work.is_busy(&app("b")));
        assert_eq!(work.begin(vec![stop("a", "3")]), [stop("a", "3")]);
    }

    #[test]
    fn a_failure_or_another_wish_gives_up_what_waits() {
        let mut work = Work::default();
        work.begin(vec![stop("a", "1"), stop("a", "2")]);
        assert_eq!(work.ended(&app("a"), false), None);
        work.begin(vec![stop("a", "1"), stop("a", "2")]);
        work.forget_waiting(&app("a"));
        assert!(work.is_busy(&app("a")), "the step that runs is not given up");
        assert_eq!(work.ended(&app("a"), true), None);
    }
}
