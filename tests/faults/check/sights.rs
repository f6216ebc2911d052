//! Of what was seen on the way: versions and counts never go back, and a version is one document.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Promise, Violation, place};
use crate::fault::Fault;
use crate::history::{Entry, Event, Half, Holder, Outcome};

/// One half as one holder has it, within an era of the cloud.
type Line = (Holder, Half, Place, u64);

#[derive(Default)]
struct Sights {
    /// The version last seen, the count, and how often the site had forgotten everything.
    last: BTreeMap<Line, (u64, Option<u64>, u32)>,
    /// Of `desired`: what a version is, within an era.
    versions: BTreeMap<(Place, u64, u64), u64>,
    /// Of `desired`: what was ever sent to the cloud.
    written: BTreeSet<(Place, u64)>,
    /// Counts that were given and not answered: they may come after what was.
    untaken: BTreeSet<(Place, u64)>,
    forgot: BTreeMap<String, u32>,
    /// Sites that are two: each tells its own story.
    cloned: BTreeSet<String>,
    restored: u32,
    /// How often sites had forgotten everything in the last peace: what a backup knows of.
    in_peace: BTreeMap<String, u32>,
    found: Vec<Violation>,
}

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut sights = Sights::default();
    // A write can be seen before its answer is.
    for Entry { event, .. } in history {
        if let Event::Wrote { node, key, value, .. } = event {
            sights.written.insert((place(node, key), *value));
        }
        if let Event::Given { node, key, value, taken: false } = event {
            sights.untaken.insert((place(node, key), *value));
        }
    }
    let mut era = 0;
    for Entry { at_ms, event } in history {
        match event {
            Event::Wrote { node, key, value, outcome: Outcome::Answered { version }, .. } => {
                sights.is_one(*at_ms, (place(node, key), era, *version), *value);
            }
            Event::Seen { era, holder, node, key, half, version, value } => {
                let place = place(node, key);
                // A site hears of a new era when its link lets it.
                let line_era = if *holder == Holder::Cloud { *era } else { 0 };
                let line = (*holder, *half, place.clone(), line_era);
                sights.forward(*at_ms, line, *version, *value);
                if let (Half::Desired, Some(value)) = (half, value) {
                    sights.is_written(*at_ms, &place, *value);
                    if *holder == Holder::Cloud {
                        sights.is_one(*at_ms, (place, *era, *version), *value);
                    }
                }
            }
            Event::Restored { era: begun } => {
                era = *begun;
                sights.restored += 1;
            }
            Event::Peace { .. } => sights.in_peace = sights.forgot.clone(),
            Event::Forgot { node } => *sights.forgot.entry(node.clone()).or_default() += 1,
            Event::Broke { fault: Fault::Cloned, node: Some(node), .. } => {
                sights.cloned.insert(node.clone());
            }
            Event::Mended { fault: Fault::Cloned, node: Some(node) } => {
                sights.cloned.remove(node);
                *sights.forgot.entry(node.clone()).or_default() += 1;
            }
            Event::Wrote { .. }
            | Event::Given { .. }
            | Event::Started { .. }
            | Event::Broke { .. }
            | Event::AgentEnded { .. }
            | Event::Mended { .. }
            | Event::Unrest { .. } => {}
        }
    }
    sights.found
}

impl Sights {
    fn say(&mut self, promise: Promise, at_ms: u64, place: &Place, what: &str) {
        let what = format!("{} {}: {what}", place.0, place.1);
        self.found.push(Violation::new(promise, at_ms, what));
    }

    /// A site that forgot everything begins anew, and so does what the cloud has of it: once for
    /// each time. What is desired begins anew at a site when the cloud was put back, too.
    fn forward(&mut self, at_ms: u64, line: Line, version: u64, count: Option<u64>) {
        let (holder, half, place, _) = line.clone();
        let forgot = self.forgot.get(&place.0).copied().unwrap_or(0);
        let at_site = holder == Holder::Site && half == Half::Desired;
        let lost = forgot + if at_site { self.restored } else { 0 };
        let Some((before, counted, known)) = self.last.get(&line).copied() else {
            // It may be what a backup has, from before.
            let known = self.in_peace.get(&place.0).copied().unwrap_or(0);
            self.last.insert(line, (version, count, known));
            return;
        };
        let is_new = (half == Half::Reported || holder == Holder::Site) && lost > known;
        let is_late = count.is_some_and(|count| self.untaken.contains(&(place.clone(), count)));
        let is_less = half == Half::Reported && count < counted && !is_late;
        let is_back = version < before || is_less;
        if is_back && !is_new && !self.cloned.contains(&place.0) {
            let what = format!(
                "{half:?} at the {holder:?} went from {before} ({counted:?}) to {version} ({count:?})"
            );
            self.say(Promise::NeverBack, at_ms, &place, &what);
        }
        let known = if is_back { lost } else { known };
        self.last.insert(line, (version, count, known));
    }

    fn is_one(&mut self, at_ms: u64, at: (Place, u64, u64), value: u64) {
        let (place, _, version) = at.clone();
        let other = self.versions.insert(at, value).filter(|other| *other != value);
        if let Some(other) = other {
            let what = format!("version {version} is {other} and {value}");
            self.say(Promise::NoGhosts, at_ms, &place, &what);
        }
    }

    fn is_written(&mut self, at_ms: u64, place: &Place, value: u64) {
        if !self.written.contains(&(place.clone(), value)) {
            let what = format!("{value} is seen, and was never written");
            self.say(Promise::NoGhosts, at_ms, place, &what);
        }
    }
}
