//! Of what operators write: an answered write is there or was overwritten, a condition holds, a
//! version has one writer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Promise, Violation, place};
use crate::history::{End, Entry, Event, Half, Outcome, Shadow, value};

/// What is known of one `desired`.
#[derive(Clone, Debug, Default)]
struct Written {
    /// What was answered, by version.
    answered: BTreeMap<u64, u64>,
    /// What may have been accepted or not.
    unknown: BTreeSet<u64>,
}

#[derive(Default)]
struct Book {
    now: BTreeMap<Place, Written>,
    /// As it was in the last peace: what a backup holds.
    then: BTreeMap<Place, Written>,
    found: Vec<Violation>,
}

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut book = Book::default();
    for Entry { at_ms, event } in history {
        match event {
            Event::Wrote { node, key, value, condition, outcome } => {
                book.wrote(*at_ms, &place(node, key), *value, *condition, *outcome);
            }
            Event::Restored { .. } => book.go_back(),
            Event::Peace { ends, .. } => {
                for end in ends {
                    book.holds(*at_ms, end);
                }
                book.then = book.now.clone();
            }
            Event::Given { .. }
            | Event::Seen { .. }
            | Event::Started { .. }
            | Event::Broke { .. }
            | Event::AgentEnded { .. }
            | Event::Mended { .. }
            | Event::Forgot { .. }
            | Event::Unrest { .. } => {}
        }
    }
    book.found
}

impl Book {
    fn wrote(
        &mut self,
        at_ms: u64,
        place: &Place,
        value: u64,
        condition: Option<u64>,
        outcome: Outcome,
    ) {
        let mut say = |promise, what: String| {
            let what = format!("{} {}: {what}", place.0, place.1);
            self.found.push(Violation::new(promise, at_ms, what));
        };
        let written = self.now.entry(place.clone()).or_default();
        match outcome {
            Outcome::Answered { version } => {
                if let Some(other) = written.answered.insert(version, value) {
                    say(
                        Promise::OneWinner,
                        format!("{other} and {value} were both accepted as version {version}"),
                    );
                }
                if let Some(condition) = condition.filter(|condition| condition + 1 != version) {
                    say(
                        Promise::OneWinner,
                        format!("{value} if version {condition} was accepted as {version}"),
                    );
                }
            }
            Outcome::Unknown => {
                written.unknown.insert(value);
            }
            Outcome::Refused { .. } => {}
        }
    }

    /// A backup was put back: what came after it need not be there, but some of it may have been
    /// written again by a request that nobody saw answered.
    fn go_back(&mut self) {
        for (place, written) in &mut self.now {
            let then = self.then.get(place).cloned().unwrap_or_default();
            written.answered = then.answered;
        }
    }

    fn holds(&mut self, at_ms: u64, end: &End) {
        for shadow in &end.shadows {
            let place = place(&end.node, &shadow.key);
            let Some(written) = self.now.get(&place) else { continue };
            if let Some((promise, what)) = judged(written, shadow) {
                let what = format!("{} {}: {what}", place.0, place.1);
                self.found.push(Violation::new(promise, at_ms, what));
            }
        }
    }
}

/// What is wrong with what the cloud holds in peace.
fn judged(written: &Written, shadow: &Shadow) -> Option<(Promise, String)> {
    let held = shadow.desired_cloud.as_ref();
    let version = held.map_or(0, |held| held.version);
    let held = held.and_then(|held| value(&shadow.key, Half::Desired, &held.document));
    let Some((newest, wanted)) = written.answered.last_key_value() else {
        let is_known = held.is_none_or(|held| written.unknown.contains(&held));
        return (!is_known && version > 1)
            .then(|| (Promise::NoGhosts, format!("{held:?} was never written")));
    };
    if version < *newest {
        let what = format!("{wanted} was answered as version {newest}; the cloud is at {version}");
        return Some((Promise::NothingLost, what));
    }
    if version == *newest {
        return (held != Some(*wanted)).then(|| {
            let what = format!("{wanted} was answered as version {newest}, which is {held:?}");
            (Promise::NothingLost, what)
        });
    }
    let is_known = held.is_some_and(|held| written.unknown.contains(&held));
    (!is_known).then(|| {
        (Promise::NoGhosts, format!("version {version} holds {held:?}, which nobody wrote there"))
    })
}
