//! One run of the world from a seed, and the same run again from its list of events.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::World;
use super::driver::Driver;
use super::event::Event;
use super::setup::{Options, Setup};
use super::tally::Tally;
use super::violation::{Invariant, Violation};

/// How often the bounds of memory and disk are checked, in events.
const BOUNDS_EVERY: usize = 64;

/// What came of one seed.
#[derive(Debug)]
pub struct Outcome<F = Failure> {
    /// The seed.
    pub seed: u64,
    /// What happened.
    pub tally: Tally,
    /// The broken promise, if any.
    pub failure: Option<F>,
}

/// A run that broke a promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The promise.
    pub violation: Violation,
    pub(super) setup: Setup,
    pub(super) events: Vec<Event>,
}

/// Runs the world of one seed.
pub fn run(seed: u64, options: Options) -> Outcome {
    let setup = Setup::draw(seed, options);
    let mut world = World::new(setup.clone(), false);
    let mut driver = Driver::new(seed, setup.sites);
    let mut events = Vec::new();
    let steps = setup.steps.saturating_mul(u32::from(setup.sites));
    let result = guarded(|| {
        for _ in 0..steps {
            let event = driver.next(&mut world);
            events.push(event);
            world.step(event, events.len())?;
        }
        world.peace()
    });
    let failure = result.err().map(|violation| Failure { violation, setup, events });
    Outcome { seed, tally: world.tally, failure }
}

/// What happens in the world of one seed, line by line.
pub fn story(seed: u64, options: Options) -> String {
    let setup = Setup::draw(seed, options);
    let mut world = World::new(setup.clone(), true);
    let mut driver = Driver::new(seed, setup.sites);
    let steps = setup.steps.saturating_mul(u32::from(setup.sites));
    let result = guarded(|| {
        for count in 0..steps {
            let event = driver.next(&mut world);
            world.step(event, count as usize + 1)?;
        }
        world.peace()
    });
    world.ending(&result)
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
        let mut world = World::new(self.setup.clone(), true);
        let result = world.replay(&self.events);
        world.ending(&result)
    }
}

impl World {
    /// Lets these events happen, and then peace.
    pub(super) fn replay(&mut self, events: &[Event]) -> Result<(), Violation> {
        guarded(|| {
            for (count, event) in (1..).zip(events) {
                self.step(*event, count)?;
            }
            self.peace()
        })
    }

    fn step(&mut self, event: Event, count: usize) -> Result<(), Violation> {
        self.happen(event)?;
        if count.is_multiple_of(BOUNDS_EVERY) {
            let site = u16::try_from(count / BOUNDS_EVERY % self.sites.len()).unwrap_or(0);
            self.site(site).down.check_bounds()?;
            self.site(site).up.check_bounds()?;
        }
        Ok(())
    }

    fn ending(mut self, result: &Result<(), Violation>) -> String {
        match result {
            Ok(()) => self.tell(|| "all invariants hold".to_owned()),
            Err(violation) => self.tell(|| violation.to_string()),
        }
        self.story.unwrap_or_default()
    }
}

/// A panic is a broken promise too.
pub(crate) fn guarded(run: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        Err(Violation { invariant: Invariant::NoPanic, what: text.to_owned() })
    })
}
