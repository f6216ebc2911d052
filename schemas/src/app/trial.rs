//! How a new revision of an app shows that it is good, and what follows when it does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::node::Window;

/// When a revision takes over, how long it is on trial, and whether a bad one gives way to the last
/// good one (`x-gnomon` of a Compose file). It changes the revision of an app and restarts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trial {
    /// How long everything must be as desired before the revision is good; 30 seconds unless
    /// said otherwise.
    #[serde(skip_serializing_if = "is_default_settle")]
    pub settle_ms: u64,
    /// Whether a revision that turns out to be bad is rolled back; it is unless said otherwise.
    #[serde(skip_serializing_if = "is_on")]
    pub rollback: bool,
    /// The part of each day in which another revision gives way to this one; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_window: Option<Window>,
}

const DEFAULT_SETTLE_MS: u64 = 30_000;

impl Trial {
    /// How long everything must be as desired.
    pub const fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }
}

impl Default for Trial {
    fn default() -> Self {
        Self { settle_ms: DEFAULT_SETTLE_MS, rollback: true, update_window: None }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_default_settle(settle: &u64) -> bool {
    *settle == DEFAULT_SETTLE_MS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_on(rollback: &bool) -> bool {
    *rollback
}
