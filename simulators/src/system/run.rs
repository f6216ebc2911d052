//! One run of the system from a seed, and the same run again from its list of events.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::driver::Driver;
use super::event::Event;
use super::trap::watched;
use super::{Options, System};
use crate::world::{Outcome, Violation, guarded, smaller};

/// A run that broke a promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The promise.
    pub violation: Violation,
    size: Size,
    events: Vec<Event>,
}

/// How large one run is.
#[derive(Debug, Clone, Copy)]
struct Size {
    seed: u64,
    sites: u16,
    steps: u32,
}

/// Runs the system of one seed.
pub fn run(seed: u64, options: Options) -> Outcome<Failure> {
    let size = Size::draw(seed, options);
    let (system, result, events) = size.play(false);
    let failure = result.err().map(|violation| Failure { violation, size, events });
    Outcome { seed, tally: system.tally, failure }
}

/// What happens in the system of one seed, line by line.
pub fn story(seed: u64, options: Options) -> String {
    let (system, result, _) = Size::draw(seed, options).play(true);
    system.ending(&result)
}

impl Size {
    fn draw(seed: u64, options: Options) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x517e);
        let sites = if rng.random_bool(0.8) { 1 } else { rng.random_range(2..=3) };
        let steps = rng.random_range(50..600);
        Self {
            seed,
            sites: options.sites.unwrap_or(sites).max(1),
            steps: options.steps.unwrap_or(steps),
        }
    }

    fn play(self, tells: bool) -> (System, Result<(), Violation>, Vec<Event>) {
        let mut system = System::new(self.seed, self.sites, tells);
        let mut driver = Driver::new(self.seed);
        let mut events = Vec::new();
        let steps = self.steps.saturating_mul(u32::from(self.sites));
        let result = watched(|| {
            guarded(|| {
                for _ in 0..steps {
                    let event = driver.next(&mut system);
                    events.push(event);
                    system.happen(event)?;
                }
                system.peace()
            })
        });
        (system, result, events)
    }

    fn replay(self, events: &[Event], tells: bool) -> (System, Result<(), Violation>) {
        let mut system = System::new(self.seed, self.sites, tells);
        let result = watched(|| {
            guarded(|| {
                events.iter().try_for_each(|event| system.happen(*event))?;
                system.peace()
            })
        });
        (system, result)
    }
}

impl Failure {
    /// How many events led to it.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it came by peace alone.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What happens in it, line by line.
    pub fn story(&self) -> String {
        let (system, result) = self.size.replay(&self.events, true);
        system.ending(&result)
    }

    /// The smallest run that was found, with at most `replays` attempts.
    #[must_use]
    pub fn shrink(self, replays: u32) -> Self {
        let Self { mut violation, size, events } = self;
        let events = smaller(events, replays, plainer, |events| {
            let found = size.replay(events, false).1.err();
            let same = found.filter(|found| found.invariant == violation.invariant);
            same.map(|found| violation = found).is_some()
        });
        Self { violation, size, events }
    }
}

/// Simpler events that may do as well, the simplest first.
fn plainer(event: Event) -> Vec<Event> {
    if let Event::Wait(millis) = event {
        return [1, 1_000, 10_000, millis / 2].map(Event::Wait).to_vec();
    }
    if let Event::Repeat { site, up, at } = event {
        return vec![Event::Arrive { site, up, at }];
    }
    Vec::new()
}

impl System {
    fn ending(mut self, result: &Result<(), Violation>) -> String {
        match result {
            Ok(()) => self.tell(|| "all is well".to_owned()),
            Err(violation) => self.tell(|| violation.to_string()),
        }
        self.story.unwrap_or_default()
    }
}
