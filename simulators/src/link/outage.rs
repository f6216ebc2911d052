//! Whether the link is up: what the operator says, and the outages of the profile. Pure.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::Profile;
use super::schedule::{exponential, scaled};

/// The link's own outages and the one that was ordered, in one.
#[derive(Debug)]
pub(crate) struct Outage {
    ordered: bool,
    own: bool,
    own_changes_at: Option<Duration>,
    hang_ends_at: Option<Duration>,
}

impl Outage {
    pub(crate) fn new<R: Rng + ?Sized>(now: Duration, profile: &Profile, rng: &mut R) -> Self {
        let mut outage =
            Self { ordered: false, own: false, own_changes_at: None, hang_ends_at: None };
        outage.begin_profile(now, profile, rng);
        outage
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.ordered && !self.own
    }

    /// Starts another profile, outside its own outages.
    pub(crate) fn begin_profile<R: Rng + ?Sized>(
        &mut self,
        now: Duration,
        profile: &Profile,
        rng: &mut R,
    ) {
        let was_up = self.is_up();
        self.own = false;
        self.own_changes_at = (profile.outage_every_ms > 0).then(|| {
            let mean = Duration::from_millis(profile.outage_every_ms);
            now.saturating_add(exponential(mean, rng))
        });
        self.turn(was_up, now, profile);
    }

    /// Takes the order to be down, or up again.
    pub(crate) fn order(&mut self, now: Duration, down: bool, profile: &Profile) {
        let was_up = self.is_up();
        self.ordered = down;
        self.turn(was_up, now, profile);
    }

    /// Begins or ends the link's own outage when it is time.
    pub(crate) fn advance<R: Rng + ?Sized>(
        &mut self,
        now: Duration,
        profile: &Profile,
        rng: &mut R,
    ) {
        if self.own_changes_at.is_none_or(|at| at > now) {
            return;
        }
        let was_up = self.is_up();
        self.own = !self.own;
        let lasts = if self.own {
            scaled(Duration::from_millis(profile.outage_for_ms), rng.random_range(0.5..1.5))
        } else {
            exponential(Duration::from_millis(profile.outage_every_ms), rng)
        };
        self.own_changes_at = Some(now.saturating_add(lasts));
        self.turn(was_up, now, profile);
    }

    /// Answers once for each outage, when hanging connections are to be reset.
    pub(crate) fn hang_ends(&mut self, now: Duration) -> bool {
        self.hang_ends_at.take_if(|at| *at <= now).is_some()
    }

    pub(crate) fn next_change(&self) -> Option<Duration> {
        self.own_changes_at.into_iter().chain(self.hang_ends_at).min()
    }

    fn turn(&mut self, was_up: bool, now: Duration, profile: &Profile) {
        match (was_up, self.is_up()) {
            (true, false) => {
                self.hang_ends_at = profile
                    .outage_hang_ms
                    .map(|hang| now.saturating_add(Duration::from_millis(hang)));
            }
            (false, true) => self.hang_ends_at = None,
            (true, true) | (false, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn an_order_is_kept_through_the_links_own_outages() {
        let mut rng = StdRng::seed_from_u64(1);
        let profile = Profile { outage_every_ms: 100, outage_for_ms: 10, ..Profile::perfect() };
        let mut outage = Outage::new(Duration::ZERO, &profile, &mut rng);
        assert!(outage.is_up());
        outage.order(Duration::ZERO, true, &profile);
        for _ in 0..10 {
            let now = outage.next_change().unwrap();
            outage.advance(now, &profile, &mut rng);
            assert!(!outage.is_up());
        }
        outage.order(Duration::from_secs(99), false, &profile);
        outage.begin_profile(Duration::from_secs(99), &Profile::perfect(), &mut rng);
        assert!(outage.is_up());
        assert_eq!(outage.next_change(), None);
    }

    #[test]
    fn a_profiles_outages_come_and_go_within_their_length() {
        let mut rng = StdRng::seed_from_u64(2);
        let profile =
            Profile { outage_every_ms: 60_000, outage_for_ms: 15_000, ..Profile::perfect() };
        let mut outage = Outage::new(Duration::ZERO, &profile, &mut rng);
        for _ in 0..50 {
            let began = outage.next_change().unwrap();
            outage.advance(began, &profile, &mut rng);
            assert!(!outage.is_up());
            let ended = outage.next_change().unwrap();
            outage.advance(ended, &profile, &mut rng);
            assert!(outage.is_up());
            let length = ended.checked_sub(began).unwrap().as_millis();
            assert!((7_500..=22_500).contains(&length), "{length}");
        }
    }

    #[test]
    fn hanging_connections_are_reset_once_per_outage_and_only_while_it_lasts() {
        let mut rng = StdRng::seed_from_u64(3);
        let ms = Duration::from_millis;
        let profile = Profile { outage_hang_ms: Some(50), ..Profile::perfect() };
        let mut outage = Outage::new(ms(0), &profile, &mut rng);
        outage.order(ms(0), true, &profile);
        assert!(!outage.hang_ends(ms(49)));
        outage.order(ms(49), false, &profile);
        assert!(!outage.hang_ends(ms(60)), "it came back in time");
        outage.order(ms(70), true, &profile);
        assert!(outage.hang_ends(ms(120)));
        assert!(!outage.hang_ends(ms(121)));
    }
}
