//! The whole system in one deterministic world: the cloud's real domain over its store, real site
//! agents with their planners over theirs, fake orchestrators, and links that break. What a user
//! sees is checked: what was answered is there, every site ends as it should be, and nothing is
//! touched that needs no touching. Pure: everything follows from one seed.

#![expect(clippy::indexing_slicing, reason = "the system's own sites are in range")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Digest, Version};
use gnomon_sync::Moment;

mod checks;
mod cloud;
mod driver;
mod event;
mod happen;
mod line;
mod peace;
mod run;
mod scene;
mod site;
mod trap;
mod wishes;

use cloud::Cloud;
use line::Line;
use site::Site;
use wishes::Ledger;

use crate::world::Options;

pub use run::{Failure, run, story};
pub use scene::play;

/// Dates of the cloud begin here, in milliseconds since 1970.
const DATE: u64 = 1_800_000_000_000;

/// One site with what lies between it and the cloud, and what its operator was answered.
#[derive(Debug)]
struct Place {
    site: Site,
    line: Line,
    ledger: Ledger,
    /// What the site last reported of each app, durably.
    reported: BTreeMap<ShadowKey, (Version, Digest)>,
}

/// The system at one time.
#[derive(Debug)]
struct System {
    now: u64,
    cloud: Cloud,
    places: Vec<Place>,
    tally: crate::world::Tally,
    story: Option<String>,
}

/// A clock that began when its process did.
const fn clock(now: u64, started: u64) -> Moment {
    Moment::from_millis(now - started)
}

impl System {
    fn new(seed: u64, sites: u16, tells: bool) -> Self {
        let place = |number| Place {
            site: Site::new(number, seed),
            line: Line::default(),
            ledger: Ledger::default(),
            reported: BTreeMap::new(),
        };
        Self {
            now: 0,
            cloud: Cloud::new(seed, sites),
            places: (0..sites).map(place).collect(),
            tally: crate::world::Tally::default(),
            story: tells.then(String::new),
        }
    }

    fn place(&mut self, number: u16) -> &mut Place {
        let count = self.places.len();
        &mut self.places[usize::from(number) % count]
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let (seconds, millis) = (self.now / 1000, self.now % 1000);
            writeln!(story, "{seconds:>5}.{millis:03}  {}", line()).expect("a string takes text");
        }
    }
}
