//! When to look at what runs: at the start, soon after a hint, when the planner wants it, and at
//! least every so often. A look that began before a step ended is worth nothing.

use std::time::Duration;

use gnomon_sync::Moment;

use super::Effect;
use crate::backoff::Backoff;

/// Hints come in swarms; one look serves all of this long.
const DEBOUNCE: Duration = Duration::from_millis(100);
const DEBOUNCE_UNREACHABLE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Watching {
    due: Option<(Moment, &'static str)>,
    look: Option<Look>,
    reach: Reach,
    version: Option<String>,
    backoff: Backoff,
}

/// A look that is under way.
#[derive(Debug, Clone, Copy)]
struct Look {
    outdated: bool,
}

/// Whether the orchestrator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// It was not asked yet.
    Unknown,
    /// It answers.
    Ready,
    /// It does not; the first reason since it did.
    Unreachable(String),
}

impl Watching {
    pub(super) const fn new(backoff: Backoff) -> Self {
        Self { due: None, look: None, reach: Reach::Unknown, version: None, backoff }
    }

    /// Asks for a look at `at` or earlier.
    pub(super) fn want(&mut self, at: Moment, why: &'static str) {
        if self.due.is_none_or(|(due, _)| at < due) {
            self.due = Some((at, why));
        }
    }

    /// Something changed. From an orchestrator that does not answer it may mean that it does
    /// again, or nothing, over and over.
    pub(super) fn hint(&mut self, now: Moment) {
        let answers = !matches!(self.reach, Reach::Unreachable(_));
        let wait = if answers { DEBOUNCE } else { DEBOUNCE_UNREACHABLE };
        self.want(now + wait, "the orchestrator gave a hint");
    }

    /// A step ended: what a look that is under way sees may be older.
    pub(super) const fn step_ended(&mut self) {
        if let Some(look) = &mut self.look {
            look.outdated = true;
        }
    }

    /// Begins a look if one is due and none is under way.
    pub(super) fn begin(&mut self, now: Moment) -> Option<Effect> {
        let (_, why) = self.due.filter(|(due, _)| *due <= now && self.look.is_none())?;
        tracing::trace!(why, "looking at what runs");
        self.due = None;
        self.look = Some(Look { outdated: false });
        Some(Effect::Observe { version: self.version.is_none() })
    }

    /// A look ended; says whether what it saw can be used.
    pub(super) fn landed(&mut self, now: Moment, version: Option<String>) -> bool {
        if let Reach::Unreachable(_) = self.reach {
            tracing::info!("the orchestrator answers again");
        }
        self.reach = Reach::Ready;
        self.version = version.or_else(|| self.version.take());
        self.backoff.reset();
        let usable = self.look.take().is_some_and(|look| !look.outdated);
        if !usable {
            self.want(now, "a step ended during the last look");
        }
        usable
    }

    /// A look failed.
    pub(super) fn missed(&mut self, now: Moment, reason: String) {
        self.look = None;
        self.version = None;
        if !matches!(self.reach, Reach::Unreachable(_)) {
            tracing::warn!(%reason, "the orchestrator does not answer; apps are left as they are");
            self.reach = Reach::Unreachable(reason);
        }
        self.due = Some((now + self.backoff.next_delay(), "the orchestrator is tried again"));
    }

    pub(super) const fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(super) const fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        if self.look.is_some() { None } else { self.due }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const NOW: Moment = Moment::from_millis(1000);

    fn watching() -> Watching {
        let second = Duration::from_secs(1);
        Watching::new(Backoff::new(second, second * 60, StdRng::seed_from_u64(1)))
    }

    #[test]
    fn a_look_that_began_before_a_step_ended_is_thrown_away_and_taken_again() {
        let mut watching = watching();
        watching.want(NOW, "test");
        assert_eq!(watching.begin(NOW), Some(Effect::Observe { version: true }));
        watching.step_ended();
        assert!(!watching.landed(NOW, None));
        assert!(watching.begin(NOW).is_some());
        assert!(watching.landed(NOW, None));
        assert_eq!(watching.begin(NOW), None);
    }

    #[test]
    fn there_is_one_look_at_a_time_and_wishes_meanwhile_are_kept() {
        let mut watching = watching();
        watching.want(NOW, "test");
        assert!(watching.begin(NOW).is_some());
        watching.want(NOW, "again");
        assert_eq!(watching.begin(NOW), None);
        assert_eq!(watching.poll_timeout(), None, "a look under way is not waited for twice");
        assert!(watching.landed(NOW, Some("1".to_owned())));
        assert_eq!(watching.begin(NOW), Some(Effect::Observe { version: false }));
    }

    #[test]
    fn the_version_is_asked_again_after_an_outage() {
        let mut watching = watching();
        watching.want(NOW, "test");
        watching.begin(NOW);
        watching.landed(NOW, Some("1".to_owned()));
        watching.missed(NOW, "gone".to_owned());
        watching.missed(NOW, "gone for another reason".to_owned());
        assert_eq!(watching.reach(), &Reach::Unreachable("gone".to_owned()));
        let (at, _) = watching.poll_timeout().unwrap();
        assert_eq!(watching.begin(at), Some(Effect::Observe { version: true }));
    }
}
