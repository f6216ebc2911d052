//! What must hold at any time.

use std::collections::BTreeMap;

use gnomon_edge::reconcile::model::{Slot, Step};
use gnomon_schemas::key::ShadowKey;

use super::{Place, System, wishes};
use crate::world::{Invariant, Violation, ensure};

impl System {
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        self.places.iter().try_for_each(|place| {
            self.check_answered(place)?;
            check_steps(place)?;
            check_instances(place)
        })?;
        // While a write is under way, the domain is ahead of what it may promise.
        if self.cloud.is_writing() { Ok(()) } else { self.check_reported() }
    }

    /// What a site reported never goes back, and one version of it is one document.
    fn check_reported(&mut self) -> Result<(), Violation> {
        for place in &mut self.places {
            let Some(node) = self.cloud.domain.node(&place.site.name) else { continue };
            for app in 0..u8::try_from(wishes::APPS.len()).unwrap_or(0) {
                let key = wishes::key(app);
                let Some(half) = node.shadow(&key).reported else { continue };
                let new = (half.version, half.document.digest());
                let Some(old) = place.reported.insert(key, new) else { continue };
                let name = &place.site.name;
                ensure(new.0 >= old.0, Invariant::Monotonic, || {
                    format!("{name}: the report of {app} went from v{} to v{}", old.0, new.0)
                })?;
                ensure(new.0 > old.0 || new == old, Invariant::NoGhosts, || {
                    format!("{name}: v{} of the report of {app} is two documents", new.0)
                })?;
            }
        }
        Ok(())
    }

    /// What was answered is there, or what was asked for after it.
    fn check_answered(&self, place: &Place) -> Result<(), Violation> {
        let name = &place.site.name;
        let node = self.cloud.domain.node(name);
        ensure(node.is_some(), Invariant::NoLoss, || format!("the cloud has forgotten {name}"))?;
        let desired = |key: &ShadowKey| Some(node?.shadow(key).desired?.document.tree().clone());
        let lost = place.ledger.lost(desired);
        ensure(lost.is_none(), Invariant::NoLoss, || {
            format!("{name}: of {lost:?} there is not what was answered: {:?}", lost.map(desired))
        })
    }
}

/// To one slot one thing is done at a time, and no image is fetched twice at once.
fn check_steps(place: &Place) -> Result<(), Violation> {
    let mut busy: BTreeMap<String, usize> = BTreeMap::new();
    for step in &place.site.steps {
        let of = match step {
            Step::Pull { image, .. } => format!("image {image}"),
            Step::RemoveApp { app } => format!("app {app}"),
            Step::Create { slot, .. }
            | Step::Start { slot, .. }
            | Step::Stop { slot, .. }
            | Step::Remove { slot, .. } => format!("slot {slot:?}"),
        };
        *busy.entry(of).or_default() += 1;
    }
    let twice = busy.iter().find(|(_, count)| **count > 1);
    ensure(twice.is_none(), Invariant::ExactlyOnce, || {
        format!("{}: two steps at once for {twice:?}", place.site.name)
    })
}

/// Of each slot at most one instance runs: no app has an update that starts first.
fn check_instances(place: &Place) -> Result<(), Violation> {
    let mut running: BTreeMap<Slot, usize> = BTreeMap::new();
    for (slot, state) in place.site.instances() {
        *running.entry(slot).or_default() += usize::from(state.is_running());
    }
    let twice = running.iter().find(|(_, count)| **count > 1);
    ensure(twice.is_none(), Invariant::ExactlyOnce, || {
        format!("{}: two instances run of {twice:?}", place.site.name)
    })
}
