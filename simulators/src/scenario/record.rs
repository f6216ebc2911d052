//! What was seen of a scenario while it was played. Pure: whoever plays it writes it down here.

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_edge::reconcile::model::{Slot, Step};
use gnomon_schemas::app::Revision;

/// What was seen of all sites.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// In the order of their numbers.
    pub sites: Vec<SiteRecord>,
    /// When the record ends.
    pub end: Duration,
    /// Promises of the system that were broken, and answers that were not kept.
    pub broken: Vec<String>,
}

/// What was seen of one site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteRecord {
    /// Whether it was as desired, and the cloud knew it.
    pub converged: Switch,
    /// Whether it ran what it knew should run.
    pub runs: Switch,
    /// Why it is not converged, when it was looked at last.
    pub ill: Option<String>,
    /// Starts of what had been started before in the same revision.
    pub restarts: Vec<String>,
    /// What its link has carried.
    pub bytes: u64,
}

/// Something that is so or not, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switch(Vec<(Duration, bool)>);

impl Record {
    /// A record of so many sites.
    pub fn new(sites: u16) -> Self {
        Self { sites: vec![SiteRecord::default(); usize::from(sites)], ..Self::default() }
    }

    /// The record of one.
    pub fn site(&mut self, number: u16) -> Option<&mut SiteRecord> {
        self.sites.get_mut(usize::from(number))
    }
}

impl Switch {
    /// From now on it is so, or not.
    pub fn set(&mut self, now: Duration, is: bool) {
        if self.is_on() == is {
            return;
        }
        match self.0.last_mut() {
            Some((since, was)) if *since == now => *was = is,
            Some(_) | None => self.0.push((now, is)),
        }
    }

    /// It is not so from that time on, which may be a little before what was seen last.
    pub fn off_from(&mut self, at: Duration) {
        self.0.retain(|(since, _)| *since < at);
        self.set(at, false);
    }

    /// Whether it is so now.
    pub fn is_on(&self) -> bool {
        self.0.last().is_some_and(|(_, is)| *is)
    }

    /// Whether it was so at a time.
    pub fn was_on(&self, at: Duration) -> bool {
        self.0.iter().take_while(|(since, _)| *since <= at).last().is_some_and(|(_, is)| *is)
    }

    /// When it was so first, from a time on.
    pub fn first_on(&self, from: Duration) -> Option<Duration> {
        if self.was_on(from) {
            return Some(from);
        }
        self.0.iter().find(|(since, is)| *is && *since >= from).map(|(since, _)| *since)
    }

    /// When it was not so first, from a time on.
    pub fn first_off(&self, from: Duration) -> Option<Duration> {
        if !self.was_on(from) {
            return Some(from);
        }
        self.0.iter().find(|(since, is)| !*is && *since >= from).map(|(since, _)| *since)
    }
}

/// What was started a second time in the same revision, from the steps that an orchestrator did.
pub fn restarts(steps: &[Step]) -> Vec<String> {
    let mut made: BTreeMap<&Slot, Revision> = BTreeMap::new();
    let mut started: BTreeMap<&Slot, Revision> = BTreeMap::new();
    let mut again = Vec::new();
    for step in steps {
        match step {
            Step::Create { slot, spec } => drop(made.insert(slot, spec.revision())),
            Step::Start { slot, .. } => {
                let Some(now) = made.get(slot) else { continue };
                if started.insert(slot, *now).is_some_and(|before| before == *now) {
                    again.push(slot.to_string());
                }
            }
            Step::Pull { .. }
            | Step::Stop { .. }
            | Step::Remove { .. }
            | Step::RemoveApp { .. } => {}
        }
    }
    again
}
