//! What the planner answers: the steps that may run at once, what to report, when to ask again.

use std::collections::BTreeMap;

use gnomon_schemas::app::AppStatus;
use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::model::Step;
use super::verdict::{Verdict, Wake, earlier};

/// The planner's answer. Its [`Display`](std::fmt::Display) form is for people and tests.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// What may be done now: at most one step per slot, those of different apps independent of
    /// each other, the pulls of an app after its other steps. Empty: there is nothing to do
    /// before something changes or `wake_at` comes.
    pub steps: Vec<Step>,
    /// What to report of each app that is desired or still has something on this node. An app
    /// that is not in it has nothing left to report.
    pub report: BTreeMap<AppName, AppStatus>,
    /// When to plan again even if nothing changes, and why.
    pub wake_at: Option<(Moment, &'static str)>,
}

/// What one app contributes to the plan.
#[derive(Debug, Default)]
pub(super) struct AppPlan {
    steps: Vec<Step>,
    pub(super) status: Option<AppStatus>,
    wake_at: Option<Wake>,
}

impl AppPlan {
    pub(super) fn new(
        verdicts: impl IntoIterator<Item = Verdict>,
        status: Option<AppStatus>,
    ) -> Self {
        let mut part = Self { status, ..Self::default() };
        for verdict in verdicts {
            part.wake_at = earlier(part.wake_at, verdict.wake);
            part.steps.extend(verdict.step);
        }
        part
    }
}

impl Plan {
    /// Takes the steps of an app; its status belongs in the report.
    pub(super) fn add(&mut self, part: AppPlan) {
        self.steps.extend(part.steps);
        self.wake_at = earlier(self.wake_at, part.wake_at);
    }
}
