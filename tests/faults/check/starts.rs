//! Of instances: one starts for a revision that it has not run yet, or because a fault ended the one
//! before. Each such fault excuses one start of each service that it touches. An agent that was ended
//! between the old instance and the new one keeps the old one alive until it is sure of the new
//! one's image: that start is no needless one if the next is that of the new revision. A damaged
//! store may have lost its end: what is left of it counts until the cloud is asked.

use std::collections::{BTreeMap, BTreeSet};

use super::{Promise, Violation};
use crate::fault::{Fault, Restarts};
use crate::history::{Entry, Event};

#[derive(Debug, Default)]
struct Ran {
    revisions: BTreeSet<String>,
    instances: BTreeSet<String>,
    excused: u32,
    /// Its site may have gone back to an older desire, and forward again.
    may_go_back: bool,
    /// The agent was ended since the last start.
    was_interrupted: bool,
    /// When an old instance was kept alive, for a new one that is still to come.
    kept_alive: Option<u64>,
}

impl Ran {
    /// Something started; gives back when a start was needless.
    fn started(&mut self, at_ms: u64, revision: &str) -> Option<u64> {
        if self.revisions.insert(revision.to_owned()) || self.may_go_back {
            self.kept_alive = None;
            self.was_interrupted = false;
            return None;
        }
        if self.excused > 0 {
            self.excused -= 1;
            return None;
        }
        if self.was_interrupted {
            self.was_interrupted = false;
            self.kept_alive.get_or_insert(at_ms);
            return None;
        }
        Some(self.kept_alive.take().unwrap_or(at_ms))
    }
}

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut all: BTreeMap<(String, String), Ran> = BTreeMap::new();
    let mut found = Vec::new();
    let mut needless = |at_ms, (node, service): &(String, String)| {
        let what = format!("{node}: {service} was started again, nothing had ended it");
        found.push(Violation::new(Promise::NoNeedlessStart, at_ms, what));
    };
    for Entry { at_ms, event } in history {
        match event {
            Event::Started { node, service, revision, instance } => {
                let place = (node.clone(), service.clone());
                let ran = all.entry(place.clone()).or_default();
                if ran.instances.insert(instance.clone())
                    && let Some(at_ms) = ran.started(*at_ms, revision)
                {
                    needless(at_ms, &place);
                }
            }
            Event::Broke { fault, node: Some(node), service } => {
                let of_node = all.iter_mut().filter(|((at, _), _)| at == node);
                of_node.for_each(|((_, name), ran)| broke(ran, *fault, service.as_ref(), name));
            }
            Event::AgentEnded { node } => {
                let of_node = all.iter_mut().filter(|((at, _), _)| at == node);
                of_node.for_each(|(_, ran)| ran.was_interrupted = true);
            }
            // The revisions of before are new again, and those of later too.
            Event::Restored { .. } => all.values_mut().for_each(|ran| ran.revisions.clear()),
            // Who has come through is not excused for later.
            Event::Peace { .. } => {
                for (place, ran) in &mut all {
                    if let Some(at_ms) = ran.kept_alive.take() {
                        needless(at_ms, place);
                    }
                    (ran.excused, ran.was_interrupted, ran.may_go_back) = (0, false, false);
                }
            }
            Event::Broke { .. }
            | Event::Wrote { .. }
            | Event::Given { .. }
            | Event::Seen { .. }
            | Event::Mended { .. }
            | Event::Forgot { .. }
            | Event::Unrest { .. } => {}
        }
    }
    found
}

fn broke(ran: &mut Ran, fault: Fault, touched: Option<&String>, service: &str) {
    let facts = fault.facts();
    let is_touched = match facts.restarts {
        Restarts::Nothing => false,
        Restarts::OneService => touched.is_some_and(|touched| touched == service),
        Restarts::All => true,
    };
    ran.excused += u32::from(is_touched);
    ran.may_go_back |= fault.may_go_back();
}
