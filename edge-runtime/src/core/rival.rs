//! Another machine with this node's identity, as after a disk was copied. What it tells the cloud
//! stands under the same positions of one history as what this one tells, so that the cloud could
//! take the one for the other: from then on this site has a history of its own.

use std::time::Duration;

use gnomon_sync::Moment;
use serde_json::{Value, json};

use super::Core;

/// For how long after it was last noticed it is told.
const TOLD: Duration = Duration::from_hours(1);

impl Core {
    /// The broker has ended this link for another one of the same node. Only one of this process is
    /// ever open, so that it is not an older one of our own.
    pub(super) fn on_taken_over(&mut self, now: Moment) {
        if !self.has_rival(now) {
            tracing::error!(
                "two agents use one identity: another machine has taken the link; end one of them, \
                 or shut both out with `gnomon node revoke` and join again"
            );
        }
        self.rival = Some(now);
        if let Some(machines) = &mut self.machines {
            machines.up.begin_epoch();
        }
        self.report_soon(now);
    }

    /// What is reported of it.
    pub(super) fn identity_report(&self, now: Moment) -> Option<Value> {
        self.has_rival(now).then(|| {
            json!({
                "state": "shared",
                "reason": "two agents use one identity: another machine has taken the link",
            })
        })
    }

    fn has_rival(&self, now: Moment) -> bool {
        self.rival.is_some_and(|at| now.saturating_since(at) < TOLD)
    }
}
