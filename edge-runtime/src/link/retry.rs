//! How long to wait after an attempt to connect that failed: full jitter, over a window that grows
//! with every failure up to a cap. What the attempt met says how far. Pure; the randomness is
//! handed in.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::backoff::Backoff;

const FIRST: Duration = Duration::from_secs(1);
/// Without a network an attempt costs no byte, and one into silence has itself taken twenty seconds:
/// waiting longer saves nothing, and after the carrier's return every second of it is lag.
const UNHEARD: Duration = Duration::from_secs(5);
/// Somebody is there who says no: a hundred bytes for every attempt.
const UNSERVED: Duration = Duration::from_secs(10);
/// So many such answers in a row (some eight minutes) are no restart any more.
const RESTARTS: u32 = 100;
const LONGEST: Duration = Duration::from_mins(1);
/// Two machines that take the link from each other would else use it up with handshakes.
const LONGEST_RIVAL: Duration = Duration::from_mins(5);

/// What an attempt to connect met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Nothing left this machine: it has no network.
    NoNetwork,
    /// Nothing answered for as long as is waited for an answer.
    Silence,
    /// Something said no at once: nobody listens, or the connection was cut on the way.
    NoService,
    /// The other end answered and refused, or let us in and soon broke off.
    Refusal,
    /// Another machine with the same identity took the link from us.
    Rival,
}

/// Waits that grow from one failure to the next.
#[derive(Debug)]
pub struct Retry {
    /// After attempts that no cloud was part of.
    unanswered: Backoff,
    /// After those that it was: apart, so that endpoints of both kinds in turn are not hammered.
    refused: Backoff,
    /// After those that a rival ended: apart, since the links between them are good.
    rivals: Backoff,
    /// How many attempts in a row met no service.
    unserved: u32,
}

impl Retry {
    /// Waits after a link that was good.
    pub fn new(mut rng: StdRng) -> Self {
        let seed: u64 = rng.random();
        let other = StdRng::seed_from_u64(seed);
        let third = StdRng::seed_from_u64(seed.rotate_left(1));
        Self {
            unanswered: Backoff::new(FIRST, LONGEST, rng),
            refused: Backoff::new(FIRST, LONGEST, other),
            rivals: Backoff::new(FIRST, LONGEST_RIVAL, third),
            unserved: 0,
        }
    }

    /// The wait after one more failure.
    pub fn next_delay(&mut self, met: Met) -> Duration {
        self.unserved = if met == Met::NoService { self.unserved.saturating_add(1) } else { 0 };
        match met {
            Met::NoNetwork | Met::Silence => self.unanswered.next_delay_within(UNHEARD),
            Met::NoService if self.unserved <= RESTARTS => {
                self.unanswered.next_delay_within(UNSERVED)
            }
            Met::NoService => self.unanswered.next_delay(),
            Met::Refusal => self.refused.next_delay(),
            Met::Rival => self.rivals.next_delay(),
        }
    }

    /// Nobody has taken the link from us for long.
    pub const fn forget_rivals(&mut self) {
        self.rivals.reset();
    }

    /// The link was good: the next failure is the first. It is good between rivals, too.
    pub const fn reset(&mut self) {
        self.unanswered.reset();
        self.refused.reset();
        self.unserved = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Met; 5] = [Met::NoNetwork, Met::Silence, Met::NoService, Met::Refusal, Met::Rival];

    fn retry(seed: u64) -> Retry {
        Retry::new(StdRng::seed_from_u64(seed))
    }

    proptest! {
        #[test]
        fn a_wait_is_never_beyond_the_cap_of_what_was_met(
            seed: u64,
            met in prop::collection::vec(0..5_usize, 0..200),
        ) {
            let mut retry = retry(seed);
            for at in met {
                let cap = match ALL[at] {
                    Met::NoNetwork | Met::Silence => UNHEARD,
                    Met::NoService | Met::Refusal => LONGEST,
                    Met::Rival => LONGEST_RIVAL,
                };
                prop_assert!(retry.next_delay(ALL[at]) <= cap);
            }
        }

        #[test]
        fn after_a_good_link_the_first_wait_is_short_again(seed: u64, met in 0..4_usize, failures in 0..200_u32) {
            let mut retry = retry(seed);
            for _ in 0..failures {
                retry.next_delay(ALL[met]);
            }
            retry.reset();
            prop_assert!(retry.next_delay(ALL[met]) <= FIRST);
        }
    }

    /// The longest of many late waits, in seconds.
    fn longest(met: Met, from: u32) -> u64 {
        let late = |seed| {
            let mut retry = retry(seed);
            for _ in 0..from {
                retry.next_delay(met);
            }
            retry.next_delay(met)
        };
        (0..500).map(late).max().unwrap().as_secs()
    }

    #[test]
    fn after_any_outage_of_the_carrier_all_try_again_within_five_seconds() {
        for met in [Met::NoNetwork, Met::Silence] {
            assert!((4..=5).contains(&longest(met, 1_000)), "{met:?}");
        }
    }

    #[test]
    fn a_restart_of_the_cloud_is_met_within_ten_seconds_and_a_long_absence_costs_little() {
        assert!((9..=10).contains(&longest(Met::NoService, 50)));
        assert!((55..=60).contains(&longest(Met::NoService, 150)));
        assert!((55..=60).contains(&longest(Met::Refusal, 10)));
    }

    #[test]
    fn two_rivals_take_the_link_from_each_other_a_few_times_an_hour_at_most() {
        for seed in 0..100 {
            let mut retry = retry(seed);
            let (mut passed, mut times) = (Duration::ZERO, 0);
            while passed < Duration::from_hours(1) {
                retry.reset();
                passed += retry.next_delay(Met::Rival);
                times += 1;
            }
            assert!(times < 60, "{times}");
            retry.forget_rivals();
            assert!(retry.next_delay(Met::Rival) <= FIRST);
        }
    }

    #[test]
    fn a_refusal_by_one_endpoint_is_not_forgotten_for_silence_at_another() {
        let mut refused = Vec::new();
        for seed in 0..200 {
            let mut retry = retry(seed);
            for _ in 0..10 {
                retry.next_delay(Met::Silence);
                retry.next_delay(Met::Refusal);
            }
            refused.push(retry.next_delay(Met::Refusal));
        }
        assert!(refused.iter().max().unwrap().as_secs() > 50, "{refused:?}");
    }

    #[test]
    fn ten_thousand_sites_come_back_spread_over_the_whole_window() {
        let mut fifths = [0; 5];
        for seed in 0..1_000 {
            let mut retry = retry(seed);
            let wait = (0..9).map(|_| retry.next_delay(Met::NoNetwork)).last().unwrap();
            fifths[usize::try_from(wait.as_millis() / 1_001).unwrap()] += 1;
        }
        assert!(fifths.iter().all(|count| (140..260).contains(count)), "{fifths:?}");
    }
}
