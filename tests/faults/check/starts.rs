//! Of instances: one starts for a revision that it has not run yet, or because a fault ended the one
//! before. Each such fault excuses one start of each service that it touches. A damaged store may
//! have lost its end: what does not run then is started once as it was desired before.

use std::collections::{BTreeMap, BTreeSet};

use super::{Promise, Violation};
use crate::fault::{Fault, Restarts};
use crate::history::{Entry, Event};

#[derive(Debug, Default)]
struct Ran {
    revisions: BTreeSet<String>,
    instances: BTreeSet<String>,
    excused: u32,
}

impl Ran {
    /// Something started; whether that was needless.
    fn started(&mut self, revision: &str) -> bool {
        if self.revisions.insert(revision.to_owned()) {
            return false;
        }
        let is_excused = self.excused > 0;
        self.excused = self.excused.saturating_sub(1);
        !is_excused
    }
}

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut all: BTreeMap<(String, String), Ran> = BTreeMap::new();
    let mut found = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::Started { node, service, revision, instance } => {
                let place = (node.clone(), service.clone());
                let ran = all.entry(place).or_default();
                if ran.instances.insert(instance.clone()) && ran.started(revision) {
                    let what = format!("{node}: {service} was started again, nothing had ended it");
                    found.push(Violation::new(Promise::NoNeedlessStart, *at_ms, what));
                }
            }
            Event::Broke { fault, node: Some(node), service } => {
                let of_node = all.iter_mut().filter(|((at, _), _)| at == node);
                of_node.for_each(|((_, name), ran)| broke(ran, *fault, service.as_ref(), name));
            }
            // The revisions of before are new again, and those of later too.
            Event::Restored { .. } => all.values_mut().for_each(|ran| ran.revisions.clear()),
            // Who has come through is not excused for later.
            Event::Peace { .. } => all.values_mut().for_each(|ran| ran.excused = 0),
            Event::AgentEnded { .. }
            | Event::Broke { .. }
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
    ran.excused += u32::from(is_touched) + u32::from(fault.may_go_back());
}
