//! What the orchestrator of a site is at work on: as with a real engine, a step takes its time. How
//! it ends is not known here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gnomon_edge::reconcile::model::Step;

/// The steps that have begun, by when they are done.
#[derive(Debug)]
pub(super) struct Works {
    takes: Duration,
    under_way: VecDeque<(Instant, Step)>,
}

impl Works {
    /// Each step takes so long.
    pub(super) const fn new(takes: Duration) -> Self {
        Self { takes, under_way: VecDeque::new() }
    }

    pub(super) fn begin(&mut self, now: Instant, step: Step) {
        self.under_way.push_back((now + self.takes, step));
    }

    /// When the next one is done.
    pub(super) fn due(&self) -> Option<Instant> {
        self.under_way.front().map(|(due, _)| *due)
    }

    /// One that is done by now.
    pub(super) fn take_done(&mut self, now: Instant) -> Option<Step> {
        self.under_way.pop_front_if(|(due, _)| *due <= now).map(|(_, step)| step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(image: &str) -> Step {
        let app = "shop".parse().unwrap();
        Step::Pull { app, image: image.to_owned() }
    }

    #[test]
    fn steps_are_done_after_their_time_in_their_order() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut works = Works::new(second);
        assert_eq!(works.due(), None);
        works.begin(start, pull("a"));
        works.begin(start + second / 2, pull("b"));
        assert_eq!(works.due(), Some(start + second));
        assert_eq!(works.take_done(start + second / 2), None);
        assert_eq!(works.take_done(start + second * 2), Some(pull("a")));
        assert_eq!(works.take_done(start + second * 2), Some(pull("b")));
        assert_eq!(works.take_done(start + second * 2), None);
    }

    #[test]
    fn an_engine_that_takes_no_time_is_done_at_once() {
        let mut works = Works::new(Duration::ZERO);
        works.begin(Instant::now(), pull("a"));
        assert_eq!(works.take_done(Instant::now()), Some(pull("a")));
    }
}
