//! Of instances: one starts for a revision that it has not run yet, or because a fault ended the one
//! before. Each such fault excuses one start of each service that it touches.

use std::collections::{BTreeMap, BTreeSet};

use super::{Promise, Violation};
use crate::fault::Restarts;
use crate::history::{Entry, Event};

#[derive(Debug, Default)]
struct Ran {
    revisions: BTreeSet<String>,
    instances: BTreeSet<String>,
    excused: u32,
}

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut ran: BTreeMap<(String, String), Ran> = BTreeMap::new();
    let mut found = Vec::new();
    for Entry { at_ms, event } in history {
        match event {
            Event::Started { node, service, revision, instance } => {
                let ran = ran.entry((node.clone(), service.clone())).or_default();
                if !ran.instances.insert(instance.clone()) || ran.revisions.insert(revision.clone())
                {
                    continue;
                }
                if ran.excused == 0 {
                    let what =
                        format!("{node}: {service} was started again, nothing had ended it");
                    found.push(Violation::new(Promise::NoNeedlessStart, *at_ms, what));
                }
                ran.excused = ran.excused.saturating_sub(1);
            }
            Event::Broke { fault, node: Some(node), service } => {
                let restarts = fault.facts().restarts;
                for ((at, name), ran) in &mut ran {
                    let touched = match restarts {
                        Restarts::Nothing => false,
                        Restarts::OneService => service.as_ref() == Some(name),
                        Restarts::All => true,
                    };
                    ran.excused += u32::from(touched && at == node);
                }
            }
            // The revisions of before are new again, and those of later too.
            Event::Restored { .. } => ran.values_mut().for_each(|ran| ran.revisions.clear()),
            // Who has come through is not excused for later.
            Event::Peace { .. } => ran.values_mut().for_each(|ran| ran.excused = 0),
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
