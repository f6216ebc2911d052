//! What is broken when: bursts of faults, drawn from a seed. Pure; the same seed gives the same
//! bursts on every machine, whatever happens meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::fault::{ALL, Fault, Place};

/// What a fault is done to; the number is the site's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Cloud,
    Link(usize),
    Site(usize),
}

/// One fault at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) fault: Fault,
    pub(crate) target: Target,
    /// From the beginning of the burst.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    /// For what is left to chance in how it is done.
    pub(crate) chance: u64,
}

/// Faults that fall together, before all must be well again. No two of one target overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) number: u32,
    pub(crate) faults: Vec<Planned>,
}

/// The bursts of a seed, without end.
#[derive(Debug)]
pub(crate) struct Schedule {
    rng: StdRng,
    only: BTreeSet<Fault>,
    /// The places that each target has.
    targets: Vec<(Target, Vec<Place>)>,
    /// Faults of a target's places in an order of chance: each comes once before one comes twice.
    decks: BTreeMap<Vec<Place>, Vec<Fault>>,
    number: u32,
}

/// The time in which the faults of a burst begin.
const LENGTH: Duration = Duration::from_secs(11);

/// The most faults of one target in a burst. An instance that ends more than three times makes a
/// new revision a bad one, as it should.
const OF_ONE: usize = 3;

/// What may not be in one burst: a node that joins again after the backup is not in the backup.
const APART: [Fault; 2] = [Fault::CloudRestored, Fault::Revoked];

impl Schedule {
    /// For sites of which some are in boxes; with no other faults than these, if there are any.
    pub(crate) fn new(seed: u64, is_box: &[bool], only: &[Fault]) -> Self {
        let mut targets = vec![(Target::Cloud, vec![Place::Cloud])];
        for (number, is_box) in is_box.iter().enumerate() {
            let (link, site) = if *is_box {
                (vec![Place::Link, Place::Cable], vec![Place::Site, Place::Box])
            } else {
                (vec![Place::Link], vec![Place::Site, Place::Host])
            };
            targets.push((Target::Link(number), link));
            targets.push((Target::Site(number), site));
        }
        Self {
            rng: StdRng::seed_from_u64(seed),
            only: only.iter().copied().collect(),
            targets,
            decks: BTreeMap::new(),
            number: 0,
        }
    }

    /// The next burst; one without faults if nothing may be broken.
    pub(crate) fn next_burst(&mut self) -> Burst {
        self.number += 1;
        let mut faults: Vec<Planned> = Vec::new();
        for (target, places) in self.targets.clone() {
            let most = self.rng.random_range(1..=OF_ONE);
            let mut at = self.millis(0, 2_000);
            for _ in 0..most {
                let Some(fault) = self.draw(&places, &faults) else { break };
                let facts = fault.facts();
                let (shortest, longest) = (facts.shortest(), facts.longest());
                let lasts = shortest
                    + longest.saturating_sub(shortest).mul_f64(self.rng.random_range(0.0..1.0));
                faults.push(Planned { fault, target, at, lasts, chance: self.rng.random() });
                at += lasts + self.millis(200, 1_500);
                if at > LENGTH {
                    break;
                }
            }
        }
        faults.sort_by_key(|planned| planned.at);
        Burst { number: self.number, faults }
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least..most))
    }

    fn draw(&mut self, places: &[Place], so_far: &[Planned]) -> Option<Fault> {
        let is_apart = |fault: Fault| {
            APART.contains(&fault)
                && so_far.iter().any(|it| it.fault != fault && APART.contains(&it.fault))
        };
        // Once around: what does not fit stays in the deck for another burst.
        for _ in 0..2 {
            let deck = self.decks.entry(places.to_vec()).or_default();
            if let Some(at) = deck.iter().position(|fault| !is_apart(*fault)) {
                return Some(deck.remove(at));
            }
            let allowed = |fault: &Fault| self.only.is_empty() || self.only.contains(fault);
            let of_places = ALL.iter().filter(|facts| places.contains(&facts.place));
            let mut fresh: Vec<_> = of_places.map(|facts| facts.fault).filter(allowed).collect();
            fresh.shuffle(&mut self.rng);
            deck.append(&mut fresh);
        }
        None
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloud => f.write_str("cloud"),
            Self::Link(number) => write!(f, "link {number}"),
            Self::Site(number) => write!(f, "site {number}"),
        }
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "burst {}", self.number)?;
        for Planned { fault, target, at, lasts, .. } in &self.faults {
            let (at, lasts) = (at.as_secs_f64(), lasts.as_secs_f64());
            writeln!(f, "  at {at:6.3} s  {fault:<18} {target:<7} for {lasts:.3} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITES: [bool; 3] = [true, true, false];

    fn bursts(seed: u64, count: usize, only: &[Fault]) -> Vec<Burst> {
        let mut schedule = Schedule::new(seed, &SITES, only);
        (0..count).map(|_| schedule.next_burst()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_bursts_and_another_one_others() {
        assert_eq!(bursts(7, 20, &[]), bursts(7, 20, &[]));
        assert_ne!(bursts(7, 20, &[]), bursts(8, 20, &[]));
    }

    #[test]
    fn every_fault_comes_within_forty_bursts_and_only_where_it_can() {
        let mut seen = BTreeSet::new();
        for planned in bursts(1, 40, &[]).iter().flat_map(|burst| &burst.faults) {
            seen.insert(planned.fault);
            let place = planned.fault.facts().place;
            let fits = match planned.target {
                Target::Cloud => place == Place::Cloud,
                Target::Link(2) => place == Place::Link,
                Target::Link(_) => matches!(place, Place::Link | Place::Cable),
                Target::Site(2) => matches!(place, Place::Site | Place::Host),
                Target::Site(_) => matches!(place, Place::Site | Place::Box),
            };
            assert!(fits, "{planned:?}");
        }
        assert_eq!(seen.len(), ALL.len(), "{seen:?}");
    }

    #[test]
    fn faults_of_one_target_do_not_overlap_and_are_not_many() {
        for burst in bursts(3, 200, &[]) {
            let mut ends: BTreeMap<Target, (Duration, usize)> = BTreeMap::new();
            for Planned { target, at, lasts, .. } in &burst.faults {
                let (end, count) = ends.entry(*target).or_default();
                assert!(*at >= *end, "{burst}");
                (*end, *count) = (*at + *lasts, *count + 1);
                assert!(*count <= OF_ONE, "{burst}");
            }
        }
    }

    #[test]
    fn a_backup_is_not_put_back_while_a_node_joins_again() {
        for burst in bursts(4, 400, &[]) {
            let both = APART.iter().all(|it| burst.faults.iter().any(|at| at.fault == *it));
            assert!(!both, "{burst}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_broken() {
        let only = [Fault::Cloned, Fault::LinkReset];
        let faults: Vec<_> =
            bursts(5, 20, &only).into_iter().flat_map(|burst| burst.faults).collect();
        assert!(faults.len() > 20 && faults.iter().all(|it| only.contains(&it.fault)));
    }
}
