//! The part of the day in which an app may be changed from one revision to the next. Images are
//! fetched before it, so that the change itself is short. What has begun is not left half-way.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::AppName;

use super::Core;
use super::schedules::is_set;
use crate::reconcile::DesiredApp;
use crate::reconcile::model::Step;

/// The revisions whose change has begun, or that somebody wants now.
#[derive(Debug, Default)]
pub(super) struct Opened(BTreeMap<AppName, Revision>);

impl Opened {
    /// The change to a revision goes on whatever the time of the day.
    pub(super) fn open(&mut self, app: &AppName, revision: Revision) {
        self.0.insert(app.clone(), revision);
    }

    fn is_open(&self, app: &AppName, revision: Option<Revision>) -> bool {
        revision.is_some() && self.0.get(app).copied() == revision
    }

    fn retain(&mut self, desired: &BTreeMap<AppName, DesiredApp>) {
        let is_wanted = |app: &AppName| desired.get(app).and_then(DesiredApp::revision);
        self.0.retain(|app, revision| is_wanted(app) == Some(*revision));
    }
}

impl Core {
    /// Says which apps may not be changed at this time of the day. While the clock was never set
    /// there is no such time; nor is there one for the way back from a bad revision, and for what a
    /// person applied at the node.
    pub(super) fn keep_windows(&mut self) {
        self.opened.retain(&self.desired.apps);
        let postponed: BTreeSet<_> =
            self.desired.apps.keys().filter(|app| self.is_outside(app)).cloned().collect();
        self.desired.postpone(postponed);
    }

    fn is_outside(&self, app: &AppName) -> bool {
        let Some(chosen) = self.desired.apps.get(app) else { return false };
        let window = chosen.spec.as_ref().ok().and_then(|spec| spec.trial.update_window);
        let Some(window) = window.filter(|_| is_set(self.wall_s)) else { return false };
        let is_wanted = self.wanted(app).and_then(DesiredApp::revision) == chosen.revision();
        !window.contains(self.wall_s)
            && is_wanted
            && !self.is_overridden(app)
            && !self.opened.is_open(app, chosen.revision())
    }

    /// The change that these steps begin is brought to its end.
    pub(super) fn note_changes(&mut self, steps: &[Step]) {
        let changes =
            steps.iter().filter(|it| matches!(it, Step::Stop { .. } | Step::Remove { .. }));
        for app in changes.map(Step::app) {
            let revision = self.desired.apps.get(app).and_then(DesiredApp::revision);
            if let Some(revision) = revision.filter(|_| !self.desired.is_postponed(app)) {
                self.opened.open(app, revision);
            }
        }
    }
}
