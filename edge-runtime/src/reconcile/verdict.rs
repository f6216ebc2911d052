//! What the planner makes of one slot: where it stands, why, and the step that may run now.

use gnomon_schemas::app::ServiceState;
use gnomon_sync::Moment;

use super::model::Step;

/// When to plan again, and why.
pub(super) type Wake = (Moment, &'static str);

/// How far something is from what is desired; the worst of many speaks for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// As desired.
    Settled,
    /// On the way, as planned.
    Moving,
    /// Something went wrong that may pass by itself.
    Troubled,
    /// Cannot be brought to what is desired as things are.
    Broken,
}

/// The answer for one slot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) standing: Standing,
    pub(super) state: ServiceState,
    /// Never holds a time: the report must not change while nothing happens.
    pub(super) why: Option<String>,
    pub(super) step: Option<Step>,
    pub(super) wake: Option<Wake>,
}

impl Verdict {
    pub(super) const fn new(standing: Standing, state: ServiceState) -> Self {
        Self { standing, state, why: None, step: None, wake: None }
    }

    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    pub(super) fn until(self, at: Moment, what: &'static str) -> Self {
        Self { wake: earlier(self.wake, Some((at, what))), ..self }
    }

    /// This verdict, with the step and the worse news of the other.
    pub(super) fn with(self, other: Self) -> Self {
        let wake = earlier(self.wake, other.wake);
        let step = self.step.or(other.step);
        let (standing, state, why) = if other.standing > self.standing {
            (other.standing, other.state, other.why.or(self.why))
        } else {
            (self.standing, self.state, self.why.or(other.why))
        };
        Self { standing, state, why, step, wake }
    }
}

pub(super) fn earlier(one: Option<Wake>, other: Option<Wake>) -> Option<Wake> {
    [one, other].into_iter().flatten().min()
}
