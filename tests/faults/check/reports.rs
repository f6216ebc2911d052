//! Of what devices report: a value that the site took is at the cloud in peace, unless a later one
//! is.

use std::collections::BTreeMap;

use super::{Place, Promise, Violation, place};
use crate::history::{Entry, Event, Half, value};

#[derive(Debug, Default)]
struct Given {
    /// The highest that was taken and is owed.
    taken: Option<u64>,
    /// The highest that was ever given.
    given: Option<u64>,
}

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut all: BTreeMap<Place, Given> = BTreeMap::new();
    let mut found = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::Given { node, key, value, taken } => {
                let given = all.entry(place(node, key)).or_default();
                given.given = given.given.max(Some(*value));
                if *taken {
                    given.taken = given.taken.max(Some(*value));
                }
            }
            Event::Forgot { node } => {
                for (_, given) in all.iter_mut().filter(|(place, _)| place.0 == *node) {
                    given.taken = None;
                }
            }
            Event::Peace { ends, .. } => {
                for end in ends {
                    for shadow in &end.shadows {
                        let Some(given) = all.get(&place(&end.node, &shadow.key)) else { continue };
                        let held = shadow.reported_cloud.as_ref();
                        let held = held
                            .and_then(|it| value(&shadow.key, Half::Reported, &it.document));
                        if held < given.taken || held > given.given {
                            let what = format!(
                                "{} {}: {given:?}, and the cloud holds {held:?}",
                                end.node, shadow.key
                            );
                            found.push(Violation::new(Promise::NothingLost, *at_ms, what));
                        }
                    }
                }
            }
            Event::Wrote { .. }
            | Event::Seen { .. }
            | Event::Started { .. }
            | Event::Broke { .. }
            | Event::Mended { .. }
            | Event::Restored { .. }
            | Event::Unrest { .. } => {}
        }
    }
    found
}
