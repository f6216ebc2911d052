//! How long the link may be silent: as long as the NATs on the way are patient, which nobody
//! knows. The interval grows while answers come after whole intervals of silence, and shrinks
//! when the link was lost in one. Pure.

use std::time::Duration;

/// So many answers after silence prove an interval.
const PROOF: u32 = 3;
/// A proven interval shrinks after so many losses without an answer between them: one alone may
/// be the radio.
const LOSSES: u32 = 2;
/// After so much silence that was answered, what was too long once is tried again: networks change.
const FORGET: Duration = Duration::from_hours(24);

/// The interval between two signs of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeepAlive {
    shortest: Duration,
    longest: Duration,
    current: Duration,
    proven: Option<Duration>,
    too_long: Option<Duration>,
    answers: u32,
    losses: u32,
    /// All the silence that was answered since one was not.
    silence: Duration,
}

impl KeepAlive {
    /// Within these bounds, beginning with what was learned before, or with the shortest.
    pub(super) fn new(shortest: Duration, longest: Duration, learned: Option<Duration>) -> Self {
        let longest = longest.max(shortest);
        let current = learned.map_or(shortest, |learned| learned.clamp(shortest, longest));
        let proven = learned.map(|_| current);
        let (answers, losses, silence) = (0, 0, Duration::ZERO);
        Self { shortest, longest, current, proven, too_long: None, answers, losses, silence }
    }

    /// The present interval.
    pub(super) const fn interval(&self) -> Duration {
        self.current
    }

    /// The longest interval that is known to work, for the next start.
    pub(super) const fn proven(&self) -> Option<Duration> {
        self.proven
    }

    /// An answer came after so long a silence; says whether the interval became longer.
    pub(super) fn answered(&mut self, silence: Duration) -> bool {
        if silence < self.current * 9 / 10 {
            return false;
        }
        self.losses = 0;
        self.answers = self.answers.saturating_add(1);
        self.silence = self.silence.saturating_add(silence);
        if self.answers < PROOF {
            return false;
        }
        self.proven = Some(self.current);
        if self.silence >= FORGET {
            self.too_long = None;
            self.silence = Duration::ZERO;
        }
        let most = self.too_long.map_or(self.longest, |bad| (self.current + bad) / 2);
        let next = (self.current * 2).min(most).min(self.longest);
        // Less than a fifth more is not worth a new connection.
        if next < self.current * 6 / 5 && next < self.longest || next <= self.current {
            return false;
        }
        self.current = next;
        self.answers = 0;
        true
    }

    /// The link was found dead after a silence.
    pub(super) fn lost_silently(&mut self) {
        self.answers = 0;
        self.silence = Duration::ZERO;
        self.losses = self.losses.saturating_add(1);
        if self.proven == Some(self.current) && self.losses < LOSSES {
            return;
        }
        self.too_long = Some(self.current);
        let known = self.proven.take().filter(|proven| *proven < self.current);
        self.current = known.unwrap_or(self.current / 2).max(self.shortest);
        self.proven = known.map(|_| self.current);
        self.losses = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHORTEST: Duration = Duration::from_secs(30);
    const LONGEST: Duration = Duration::from_mins(5);

    /// A link through a NAT that forgets silent connections.
    struct Nat {
        patience: Duration,
        keep_alive: KeepAlive,
        pings: u32,
        losses: u32,
    }

    impl Nat {
        fn new(patience: Duration) -> Self {
            let keep_alive = KeepAlive::new(SHORTEST, LONGEST, None);
            Self { patience, keep_alive, pings: 0, losses: 0 }
        }

        /// Lets the link be silent but for its pings; `luck` says when the radio fails.
        fn pass(&mut self, time: Duration, mut radio_fails: impl FnMut() -> bool) {
            let mut left = time;
            while let Some(rest) = left.checked_sub(self.keep_alive.interval()) {
                left = rest;
                self.pings += 1;
                let silence = self.keep_alive.interval();
                if silence > self.patience || radio_fails() {
                    self.losses += 1;
                    self.keep_alive.lost_silently();
                } else {
                    self.keep_alive.answered(silence);
                }
            }
        }
    }

    #[test]
    fn it_settles_just_below_the_patience_of_a_nat() {
        for seconds in [40, 65, 100, 130, 250] {
            let mut nat = Nat::new(Duration::from_secs(seconds));
            nat.pass(Duration::from_hours(2), || false);
            let found = nat.keep_alive.interval().as_secs();
            assert!(found <= seconds && found * 10 >= seconds * 6, "{found} s for {seconds} s");
            assert!(nat.losses <= 4, "{} losses to learn {seconds} s", nat.losses);
            let learned = nat.losses;
            nat.pass(Duration::from_hours(24 * 7), || false);
            let more = nat.losses - learned;
            assert!(more <= 30, "{more} losses in a week behind a NAT of {seconds} s");
        }
    }

    #[test]
    fn without_a_nat_it_becomes_as_long_as_it_may_be_within_half_an_hour() {
        let mut nat = Nat::new(Duration::from_hours(2));
        nat.pass(Duration::from_mins(30), || false);
        assert_eq!((nat.keep_alive.interval(), nat.losses), (LONGEST, 0));
        nat.pings = 0;
        nat.pass(Duration::from_hours(24), || false);
        assert_eq!(nat.pings, 288);
    }

    #[test]
    fn a_radio_that_fails_now_and_then_does_not_make_it_short() {
        let mut nat = Nat::new(Duration::from_hours(2));
        let mut count = 0;
        nat.pass(Duration::from_hours(48), || {
            count += 1;
            count % 20 == 0
        });
        assert_eq!(nat.keep_alive.interval(), LONGEST);
    }

    #[test]
    fn what_was_learned_is_the_beginning_and_answers_in_traffic_prove_nothing() {
        let learned = Some(Duration::from_mins(2));
        let mut it = KeepAlive::new(SHORTEST, LONGEST, learned);
        assert_eq!(it.interval(), Duration::from_mins(2));
        for _ in 0..100 {
            assert!(!it.answered(Duration::from_mins(1)));
        }
        it.lost_silently();
        assert_eq!(it.interval(), Duration::from_mins(2), "once may be the radio");
        it.lost_silently();
        assert_eq!(it.interval(), Duration::from_mins(1), "twice is not");
        assert_eq!(KeepAlive::new(SHORTEST, LONGEST, Some(Duration::MAX)).interval(), LONGEST);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(events in prop::collection::vec(any::<bool>(), 0..3000)) {
            let mut it = KeepAlive::new(SHORTEST, LONGEST, None);
            for is_answer in events {
                if is_answer { it.answered(it.interval()); } else { it.lost_silently(); }
                prop_assert!((SHORTEST..=LONGEST).contains(&it.interval()));
                prop_assert!(it.proven().is_none_or(|proven| proven <= it.interval()));
            }
        }
    }
}
