//! When reports go: what changes within a moment goes together, and one report follows another no
//! sooner than a gap. An app that comes up changes several times in a moment, and each report costs a
//! commit here, a batch on the link, a commit in the cloud and an answer. Nothing is kept here but
//! that there is something to tell; what it is, is read when it goes. Laws: in `tests` below.

use std::time::Duration;

use gnomon_sync::Moment;

/// What changes within so long after a first change goes with it.
pub(super) const GATHER: Duration = Duration::from_millis(250);
/// The least time between two reports.
pub(super) const GAP: Duration = Duration::from_secs(1);

/// When the next report goes, and when the last one went.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: Option<Moment>,
    last: Option<Moment>,
}

impl Pace {
    /// There is something to tell. Later changes do not put it off.
    pub(super) fn want(&mut self, now: Moment) {
        let gathered = now + GATHER;
        let soonest = self.last.map_or(gathered, |last| gathered.max(last + GAP));
        self.due.get_or_insert(soonest);
    }

    /// Whether a report is to go now; then it is not due any more.
    pub(super) fn begin(&mut self, now: Moment) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// A report went.
    pub(super) const fn went(&mut self, now: Moment) {
        self.last = Some(now);
    }

    /// Whether there is something that was not told.
    pub(super) const fn is_waiting(&self) -> bool {
        self.due.is_some()
    }

    pub(super) fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.due.map(|due| (due, "what changed is to be reported"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn the_first_change_after_a_quiet_time_goes_after_a_moment() {
        let mut pace = Pace::default();
        assert!(!pace.begin(at(5_000)));
        pace.want(at(5_000));
        pace.want(at(5_200));
        assert!(pace.is_waiting() && !pace.begin(at(5_249)));
        assert!(pace.begin(at(5_250)) && !pace.is_waiting());
        assert_eq!(pace.poll_timeout(), None);
    }

    #[test]
    fn what_turns_out_to_be_no_news_puts_nothing_off() {
        let mut pace = Pace::default();
        pace.want(at(0));
        assert!(pace.begin(at(250)), "and nothing went");
        pace.want(at(300));
        assert_eq!(pace.poll_timeout().map(|(due, _)| due), Some(at(550)));
    }

    proptest! {
        #[test]
        fn reports_keep_their_gap_and_every_change_is_told_within_it(
            waits in prop::collection::vec(0..2_000_u64, 1..200)
        ) {
            let mut pace = Pace::default();
            let (mut now, mut went): (u64, Option<u64>) = (0, None);
            for wait in waits {
                let next = now + wait;
                while let Some((due, _)) = pace.poll_timeout().filter(|(due, _)| *due <= at(next)) {
                    prop_assert!(pace.begin(due));
                    pace.went(due);
                    let gap = went.is_none_or(|went| due >= at(went) + GAP);
                    prop_assert!(gap, "{due:?} after {went:?}");
                    went = Some(due.as_millis());
                }
                now = next;
                pace.want(at(now));
                let (due, _) = pace.poll_timeout().unwrap();
                prop_assert!(due <= at(now) + GAP.max(GATHER), "a change at {now} waits until {due:?}");
            }
        }
    }
}
