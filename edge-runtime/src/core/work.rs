//! The steps that are being done: those of one app one after the other, those of different apps
//! side by side.

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
