//! A pure simulator of an orchestrator and of the shell around the planner, for tests: it does
//! steps, fails when told, and refuses to do what no orchestrator should ever be asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gnomon_schemas::app::{Port, Revision, ServiceSpec, UpdateOrder};
use gnomon_schemas::document::Document;
use gnomon_schemas::id::AppName;
use gnomon_schemas::version::Version;
use gnomon_sync::Moment;

use super::model::{Health, Instance, InstanceId, InstanceState, Observed, Slot, Step};
use super::{Attempts, Desired, Plan, plan};
use crate::orchestrator::{Capabilities, Kind, LimitKinds};

/// What an orchestrator holds.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    pub(super) resources: BTreeSet<AppName>,
    pub(super) images: BTreeSet<String>,
    pub(super) taken_ports: Vec<Port>,
    services: BTreeMap<InstanceId, ServiceSpec>,
    made: u32,
}

/// A site: the planner's inputs and a world to act on.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) desired: Desired,
    pub(super) world: World,
    pub(super) attempts: Attempts,
    pub(super) capabilities: Capabilities,
    pub(super) now: Moment,
    /// How the next steps fail: the reason, and whether it may pass.
    pub(super) faults: VecDeque<(&'static str, bool)>,
}

impl World {
    pub(super) fn observe(&self) -> Observed {
        Observed {
            instances: self.instances.clone(),
            app_resources: self.resources.iter().cloned().collect(),
            taken_ports: self.taken_ports.clone(),
        }
    }

    pub(super) fn apply(&mut self, step: &Step, runs_images: bool) {
        match step {
            Step::Pull { image, .. } => {
                self.images.insert(image.clone());
            }
            Step::Create { slot, spec } => {
                let service = &spec.services[&slot.service];
                let digest = spec.service_digest(&slot.service).unwrap();
                let mut in_place = self.instances.values_mut().filter(|_| service.has_manifests());
                let outdated = |it: &&mut Instance| it.slot == *slot && it.service_digest != digest;
                if let Some(there) = in_place.find(outdated) {
                    there.service_digest = digest;
                    return;
                }
                let is_it = |it: &&mut Instance| it.slot == *slot && it.service_digest == digest;
                if let Some(there) = self.instances.values_mut().find(is_it) {
                    assert!(there.altered.take().is_some(), "{slot} is made twice");
                    return;
                }
                let starts_first = service.update == UpdateOrder::StartFirst;
                let is_beside = |it: &Instance| {
                    starts_first && it.state.is_running() && it.service_digest != digest
                };
                assert!(self.of(slot).all(is_beside), "{slot} is made twice");
                let image = service.image.as_ref();
                let is_here = image.is_some_and(|image| self.images.contains(image));
                assert!(
                    is_here || !runs_images || service.has_manifests(),
                    "{slot} is made without its image"
                );
                self.resources.insert(slot.app.clone());
                let id = self.put(slot.clone(), digest, InstanceState::Created);
                self.services.insert(id, service.clone());
            }
            Step::Start { id, slot } => {
                let running = self.of(slot).filter(|it| it.state.is_running()).count();
                let starts_first = self.services[id].update == UpdateOrder::StartFirst;
                assert!(running <= usize::from(starts_first), "{slot} runs twice");
                let health = match self.services[id].healthcheck {
                    Some(_) => Health::Starting,
                    None => Health::Unchecked,
                };
                self.own(id, slot).state = InstanceState::Running(health);
            }
            Step::Stop { id, slot, .. } => {
                self.own(id, slot).state = InstanceState::Exited { code: 143 };
            }
            Step::Remove { id, slot } => {
                assert!(!self.own(id, slot).state.is_running(), "{slot} is removed while it runs");
                self.instances.remove(id);
            }
            Step::RemoveApp { app } => {
                let mut left = self.instances.values().filter(|it| it.slot.app == *app);
                assert!(left.next().is_none(), "{app} is removed before its instances");
                self.resources.remove(app);
            }
        }
    }

    fn put(&mut self, slot: Slot, service_digest: Revision, state: InstanceState) -> InstanceId {
        self.made += 1;
        let id = InstanceId(format!("i{}", self.made).into());
        let instance = Instance {
            id: id.clone(),
            slot,
            service_digest,
            image: None,
            state,
            note: None,
            altered: None,
        };
        self.instances.insert(id.clone(), instance);
        id
    }

    /// Puts an ended instance beside another in its place.
    pub(super) fn double(&mut self, id: &InstanceId) {
        let Instance { slot, service_digest, .. } = self.instances[id].clone();
        let service = self.services[id].clone();
        let id = self.put(slot, service_digest, InstanceState::Exited { code: 0 });
        self.services.insert(id, service);
    }

    /// Health checks pass and jobs end; whether anything changed.
    pub(super) fn settle(&mut self) -> bool {
        let mut changed = false;
        for (id, instance) in &mut self.instances {
            let is_job = self.services[id].is_job();
            let next = match instance.state {
                InstanceState::Running(Health::Starting) => InstanceState::Running(Health::Healthy),
                InstanceState::Running(Health::Unchecked) if is_job => {
                    InstanceState::Exited { code: 0 }
                }
                InstanceState::Created
                | InstanceState::Running(_)
                | InstanceState::Exited { .. }
                | InstanceState::Stuck => instance.state,
            };
            changed |= next != instance.state;
            instance.state = next;
        }
        changed
    }

    fn of<'a>(&'a self, slot: &'a Slot) -> impl Iterator<Item = &'a Instance> {
        self.instances.values().filter(move |it| it.slot == *slot)
    }

    fn own(&mut self, id: &InstanceId, slot: &Slot) -> &mut Instance {
        let instance = self.instances.get_mut(id).expect("a step names an instance that exists");
        assert_eq!(instance.slot, *slot, "a step names the slot of its instance");
        instance
    }
}

impl Site {
    pub(super) fn new() -> Self {
        Self {
            desired: Desired::default(),
            world: World::default(),
            attempts: Attempts::default(),
            capabilities: Capabilities {
                kind: Kind::Fake,
                images: true,
                tmpfs: true,
                limits: LimitKinds::ALL,
                confines: true,
                hardens: true,
                users: true,
                nested_mounts: true,
                bind_prefixes: Vec::new(),
                device_prefixes: Vec::new(),
            },
            now: Moment::from_millis(0),
            faults: VecDeque::new(),
        }
    }

    pub(super) fn want(&mut self, name: &str, version: u64, services: &str) {
        let text = format!(r#"{{"services": {services}}}"#);
        let document = Document::parse(text.as_bytes()).unwrap();
        self.desired.insert(app(name), Version(version), &document);
    }

    pub(super) fn look(&mut self) {
        let observed = self.world.observe();
        self.desired.observed(&observed);
        self.attempts.observed(&observed, self.now);
        self.attempts.retain(&self.desired, &observed);
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&self.desired, &self.world.observe(), &self.attempts, &self.capabilities, self.now)
    }

    /// Does one step, or fails it if there is a fault left.
    pub(super) fn execute(&mut self, step: &Step) {
        if let Some((reason, transient)) = self.faults.pop_front() {
            self.attempts.failed(step, reason.to_owned(), transient, self.now);
        } else {
            self.world.apply(step, self.capabilities.images);
            self.attempts.succeeded(step, self.now);
        }
    }

    /// Looks, plans and does it; the plan that was done.
    pub(super) fn round(&mut self) -> Plan {
        self.look();
        let plan = self.plan();
        for step in &plan.steps {
            self.execute(step);
        }
        self.look();
        plan
    }

    /// Rounds until nothing is left to do, with time passing and services settling in between.
    pub(super) fn converge(&mut self) -> Plan {
        for _ in 0..2_000 {
            let plan = self.round();
            if !plan.steps.is_empty() || self.world.settle() {
                continue;
            }
            match plan.wake_at {
                Some((at, why)) => {
                    assert!(at > self.now, "woken for the past: {why}");
                    self.now = at;
                }
                None => return plan,
            }
        }
        panic!("the plan never ends:\n{}", self.plan());
    }

    /// The steps of each round until the site rests, without time passing.
    pub(super) fn trace(&mut self) -> String {
        let mut lines = Vec::new();
        for _ in 0..200 {
            let plan = self.round();
            if !plan.steps.is_empty() {
                let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
                lines.push(steps.join(", "));
            } else if !self.world.settle() {
                return lines.join("\n");
            }
        }
        panic!("the plan never ends:\n{}", lines.join("\n"));
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// The only instance of a slot such as `shop/web.0`.
    pub(super) fn instance(&mut self, slot: &str) -> &mut Instance {
        let mut found = self.world.instances.values_mut().filter(|it| it.slot.to_string() == slot);
        let instance = found.next().unwrap_or_else(|| panic!("no instance in {slot}"));
        assert!(found.next().is_none(), "more than one instance in {slot}");
        instance
    }

    /// Something befalls an instance, and the agent sees it.
    pub(super) fn befall(&mut self, slot: &str, state: InstanceState) {
        self.instance(slot).state = state;
        self.look();
    }

    /// Somebody removes an instance, and the agent sees it.
    pub(super) fn vanish(&mut self, slot: &str) {
        let id = self.instance(slot).id.clone();
        self.world.instances.remove(&id);
        self.look();
    }
}

pub(super) fn app(name: &str) -> AppName {
    name.parse().unwrap()
}
