//! What the planner remembers: which images are here, what failed, how each copy lived. Only for
//! back-off and for explaining; what is true comes from the orchestrator, so forgetting all of it
//! (a restart of the agent) costs nothing but a retry.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::desired::Desired;
use super::lives::Lives;
use super::model::{Instance, InstanceState, Observed, Slot, Step};
use key::Key;
use life::Life;

mod failure;
mod key;
mod life;

pub(super) use failure::Failure;
pub(super) use key::Key as StepKey;
pub(super) use life::Life as SlotLife;

/// The planner's memory of this run of the agent.
///
/// Tell it of every step that ended ([`Self::succeeded`], [`Self::failed`]) and of every
/// observation ([`Self::observed`]); an observation that was begun before a step ended should be
/// dropped, not told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attempts {
    /// The images that were pulled for each app.
    pulled: BTreeSet<(AppName, String)>,
    /// The images that are known not to be here.
    absent: BTreeSet<String>,
    failures: BTreeMap<Key, Failure>,
    lives: BTreeMap<Slot, Life>,
    /// The scheduled slots whose run is due and not begun.
    due: BTreeSet<Slot>,
    /// Which of two instances that run side by side in a slot is the wanted one.
    wanted: BTreeMap<Slot, Revision>,
}

impl Attempts {
    /// A step was done.
    pub fn succeeded(&mut self, step: &Step, _now: Moment) {
        self.failures.remove(&Key::of(step));
        match step {
            Step::Pull { app, image } => {
                self.absent.remove(image);
                self.pulled.insert((app.clone(), image.clone()));
            }
            Step::Create { slot, spec } => {
                let used: BTreeSet<_> =
                    spec.services.values().filter_map(|service| service.image.as_ref()).collect();
                self.pulled.retain(|(app, image)| *app != slot.app || used.contains(image));
            }
            Step::Start { slot, .. } if self.due.remove(slot) => {
                self.with_life(slot, Life::was_run);
            }
            Step::Start { slot, .. } => self.with_life(slot, Life::was_started),
            Step::Stop { slot, .. } => self.with_life(slot, Life::was_stopped),
            Step::Remove { slot, .. } => self.with_life(slot, Life::was_removed),
            Step::RemoveApp { app } => self.forget(|other| other == app),
        }
    }

    /// A step failed; `transient`: it may pass by itself.
    pub fn failed(&mut self, step: &Step, reason: String, transient: bool, now: Moment) {
        let key = Key::of(step);
        if let Step::Create { slot, spec } = step {
            // The image may have been removed since it was pulled, and an older digest of the
            // same slot is not wanted any more.
            let image = spec.services.get(&slot.service).and_then(|service| service.image.clone());
            if let Some(image) = image {
                self.pulled.remove(&(slot.app.clone(), image));
            }
            self.failures.retain(|other, _| *other == key || !other.creates(slot));
        }
        self.failures.entry(key).or_default().again(reason, transient, now);
    }

    /// An image was looked for and is not here.
    pub fn looked_in_vain(&mut self, image: &str) {
        self.absent.insert(image.to_owned());
    }

    /// The orchestrator was asked what there is.
    pub fn observed(&mut self, observed: &Observed, now: Moment) {
        let mut slots: BTreeMap<&Slot, &Instance> = BTreeMap::new();
        for instance in observed.instances.values() {
            let wanted = self.wanted.get(&instance.slot).copied();
            let known = wanted.or_else(|| self.lives.get(&instance.slot).map(|life| life.digest));
            let rank = |it: &Instance| (Some(it.service_digest) == known, vigour(it.state));
            let best = slots.entry(&instance.slot).or_insert(instance);
            if rank(instance) > rank(best) {
                *best = instance;
            }
        }
        for (slot, life) in &mut self.lives {
            if !slots.contains_key(slot) {
                life.is_absent(now);
            }
        }
        for (slot, instance) in slots {
            let life = self.lives.entry(slot.clone()).or_insert_with(|| Life::new(instance));
            if life.digest != instance.service_digest {
                *life = Life::new(instance);
            }
            life.is(instance.state, now);
        }
        self.failures
            .retain(|key, _| key.instance().is_none_or(|id| observed.instances.contains_key(id)));
    }

    /// The link is back: what could not be fetched without it is tried again at once.
    pub fn link_came_back(&mut self, now: Moment) {
        let waits = |key: &Key, it: &Failure| matches!(key, Key::Pull(..)) && it.transient;
        let pulls = self.failures.iter_mut().filter(|(key, it)| waits(key, it));
        pulls.for_each(|(_, failure)| failure.hurry(now));
    }

    /// There are other credentials: what could not be fetched is tried again at once.
    pub fn ask_to_pull_again(&mut self, now: Moment) {
        let pulls = self.failures.iter_mut().filter(|(key, _)| matches!(key, Key::Pull(..)));
        pulls.for_each(|(_, failure)| failure.hurry(now));
    }

    /// Somebody at the node asks for another attempt: no back-off holds it up.
    pub fn ask_again(&mut self, asked: &AppName, now: Moment) {
        let of_app = self.failures.iter_mut().filter(|(key, _)| key.app() == asked);
        of_app.for_each(|(_, failure)| failure.hurry(now));
        let own = self.lives.iter_mut().filter(|(slot, _)| slot.app == *asked);
        own.for_each(|(_, life)| life.begins_anew());
    }

    /// Somebody at the node asks to start a copy again, if it has ended, whatever its policy.
    pub fn ask_to_start(&mut self, slot: &Slot) {
        self.with_life(slot, Life::is_asked_to_start);
    }

    /// A scheduled job shall run.
    pub fn run_is_due(&mut self, slot: &Slot) {
        self.due.insert(slot.clone());
    }

    pub(super) fn is_due(&self, slot: &Slot) -> bool {
        self.due.contains(slot)
    }

    /// Forgets the apps that are neither desired nor on this node any more.
    pub fn retain(&mut self, desired: &Desired, observed: &Observed) {
        let left: BTreeSet<_> = desired.apps.keys().chain(observed.apps()).cloned().collect();
        self.forget(|app| !left.contains(app));
        if !self.absent.is_empty() {
            let images: BTreeSet<_> = desired.images().collect();
            self.absent.retain(|image| images.contains(image.as_str()));
        }
        self.wanted.clear();
        for Instance { slot, service_digest: digest, .. } in observed.instances.values() {
            let wanted = desired.apps.get(&slot.app).and_then(|it| it.digest(&slot.service));
            let lives = self.lives.get(slot).is_none_or(|life| Some(life.digest) != wanted);
            if let Some(wanted) = wanted.filter(|wanted| wanted == digest && lives) {
                self.wanted.insert(slot.clone(), wanted);
            }
        }
    }

    pub(super) fn has_pulled(&self, app: &AppName, image: &str) -> bool {
        self.pulled.contains(&(app.clone(), image.to_owned()))
    }

    pub(super) fn has_looked_for(&self, app: &AppName, image: &str) -> bool {
        let pull = || Key::Pull(app.clone(), image.to_owned());
        self.absent.contains(image)
            || self.has_pulled(app, image)
            || self.failure(&pull()).is_some()
    }

    pub(super) fn failure(&self, key: &Key) -> Option<&Failure> {
        self.failures.get(key)
    }

    /// How the copies of this slot that have this digest lived so far.
    pub(super) fn life(&self, slot: &Slot, digest: Revision) -> Option<&Life> {
        self.lives.get(slot).filter(|life| life.digest == digest)
    }

    /// How all copies lived so far, to be walked.
    pub(super) fn lives(&self) -> Lives<'_> {
        Lives::of(&self.lives)
    }

    /// Whether there was a copy in this slot, of whatever digest.
    pub(super) fn has_lived(&self, slot: &Slot) -> bool {
        self.lives.contains_key(slot)
    }

    fn with_life(&mut self, slot: &Slot, tell: impl FnOnce(&mut Life)) {
        if let Some(life) = self.lives.get_mut(slot) {
            tell(life);
        }
    }

    fn forget(&mut self, goes: impl Fn(&AppName) -> bool) {
        self.pulled.retain(|(app, _)| !goes(app));
        self.failures.retain(|key, _| !goes(key.app()));
        self.lives.retain(|slot, _| !goes(&slot.app));
        self.due.retain(|slot| !goes(&slot.app));
    }
}

/// Which of several instances of one slot speaks for it.
pub(super) const fn vigour(state: InstanceState) -> u8 {
    use super::model::Health;
    match state {
        InstanceState::Running(Health::Healthy | Health::Unchecked) => 5,
        InstanceState::Running(Health::Starting) => 4,
        InstanceState::Running(Health::Unhealthy) => 3,
        InstanceState::Exited { .. } => 2,
        InstanceState::Created => 1,
        InstanceState::Stuck => 0,
    }
}

#[cfg(test)]
mod tests;
