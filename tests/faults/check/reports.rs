//! Of what devices report: a value that the site took is at the cloud in peace, unless a later one
//! is. What was not answered may have arrived after what was: nobody promised an order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Promise, Violation, place};
use crate::history::{Entry, Event, Half, value};

#[derive(Debug, Default)]
struct Given {
    /// The highest that was taken and is owed.
    owed: Option<u64>,
    /// What was ever taken.
    taken: BTreeSet<u64>,
    /// What may be there as well: it was not answered, or its site lost its store, or the newest part
    /// of it, and tells what it still has.
    possible: BTreeSet<u64>,
}

impl Given {
    /// Says what is wrong with what the cloud holds in peace; from then on that is owed.
    fn settle(&mut self, held: Option<u64>) -> Option<String> {
        let is_possible = held.is_some_and(|held| self.possible.contains(&held));
        let wrong = (held != self.owed && !is_possible)
            .then(|| format!("{:?} was taken, and the cloud holds {held:?}", self.owed));
        self.owed = held;
        self.taken.extend(held);
        self.possible.clear();
        wrong
    }
}

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut all: BTreeMap<Place, Given> = BTreeMap::new();
    let mut found = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::Given { node, key, value, taken } => {
                let given = all.entry(place(node, key)).or_default();
                if *taken {
                    given.owed = given.owed.max(Some(*value));
                    given.taken.insert(*value);
                } else {
                    given.possible.insert(*value);
                }
            }
            Event::Forgot { node } => {
                for (_, given) in all.iter_mut().filter(|(place, _)| place.0 == *node) {
                    given.owed = None;
                    given.possible.extend(&given.taken);
                }
            }
            Event::Peace { ends, .. } => {
                let shadows =
                    ends.iter().flat_map(|end| end.shadows.iter().map(move |it| (end, it)));
                for (end, shadow) in shadows {
                    let place = place(&end.node, &shadow.key);
                    let Some(given) = all.get_mut(&place) else { continue };
                    let held = shadow.reported_cloud.as_ref();
                    let held = held.and_then(|it| value(&shadow.key, Half::Reported, &it.document));
                    if let Some(what) = given.settle(held) {
                        let what = format!("{} {}: {what}", place.0, place.1);
                        found.push(Violation::new(Promise::NothingLost, *at_ms, what));
                    }
                }
            }
            Event::Wrote { .. }
            | Event::Seen { .. }
            | Event::Started { .. }
            | Event::Broke { .. }
            | Event::AgentEnded { .. }
            | Event::LetInAgain { .. }
            | Event::Mended { .. }
            | Event::Restored { .. }
            | Event::Unrest { .. } => {}
        }
    }
    found
}
