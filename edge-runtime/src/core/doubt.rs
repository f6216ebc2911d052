//! A store that went back says what was desired once. Of what is in doubt nothing that runs is given
//! up before the cloud, or somebody at the node, has spoken; the planner has the rule. The doubt
//! itself lies in the store, as a reader that has given up its position.

use std::collections::BTreeSet;

use gnomon_schemas::id::AppName;
use gnomon_schemas::key::ShadowKey;
use gnomon_sync::Moment;

use super::Core;

impl Core {
    /// Says anew which apps are in doubt. What is asked of the reader must be durable.
    pub(super) fn review_doubt(&mut self, now: Moment) {
        let Some(machines) = &self.machines else { return };
        let reader = &machines.down;
        let is_doubted = |app: &&AppName| {
            !self.spoken.has(app) && reader.doubts(&ShadowKey::App((*app).clone()))
        };
        let is_any = reader.is_in_doubt() || reader.is_incomplete();
        let doubted: BTreeSet<_> =
            self.desired.apps.keys().filter(|_| is_any).filter(is_doubted).cloned().collect();
        if self.desired.doubt(doubted) {
            self.watching.want(now, "what is in doubt changed");
        }
    }
}

/// The apps of which somebody at the node has said what should run, whatever the store has lost.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    durable: BTreeSet<AppName>,
    /// Said, and not durable yet.
    pending: BTreeSet<AppName>,
}

impl Spoken {
    /// It was said; it counts when it is durable.
    pub(super) fn say(&mut self, app: &AppName) {
        self.pending.insert(app.clone());
    }

    /// What was decided of these apps is durable.
    pub(super) fn decided(&mut self, apps: &BTreeSet<AppName>) {
        let said = std::mem::take(&mut self.pending).into_iter();
        let (durable, pending): (BTreeSet<_>, BTreeSet<_>) =
            said.partition(|app| apps.contains(app));
        self.pending = pending;
        self.durable.extend(durable);
    }

    /// The store was read anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn has(&self, app: &AppName) -> bool {
        self.durable.contains(app)
    }
}
