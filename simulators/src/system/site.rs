//! A site: the real core of its agent, its disk, a fake orchestrator, and everything that the core
//! waits for.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt as _;
use gnomon_edge::core::{Budgets, Core, CoreConfig, Effect, Input, StepFailure, Ticket};
use gnomon_edge::local::{Request, Response, Status};
use gnomon_edge::orchestrator::fake::Fake;
use gnomon_edge::orchestrator::{Capabilities, Orchestrator};
use gnomon_edge::reconcile::model::{Health, InstanceState, Observed, Slot, Step};
use gnomon_edge::store::memory::MemoryDisk;
use gnomon_edge::store::{Contents, Op, Store as _};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::Topic;
use gnomon_schemas::wire::Message;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::wishes::BAD_IMAGE;
use super::{DATE, clock};

pub(super) fn name(number: u16) -> NodeName {
    format!("site-{number}").parse().expect("a well-formed name")
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: NodeName,
    core: Core,
    disk: MemoryDisk,
    pub(super) fake: Fake,
    /// What is being written.
    writing: Option<Vec<Op>>,
    /// What the core has asked for and gets when it is time.
    pub(super) answers: VecDeque<Input>,
    /// The steps under way.
    pub(super) steps: Vec<Step>,
    started: u64,
    starts: u64,
    seed: u64,
    status: Option<Status>,
}

impl Site {
    pub(super) fn new(number: u16, seed: u64) -> Self {
        let (name, fake) = (name(number), Fake::new());
        let capabilities = Capabilities { images: true, ..fake.capabilities() };
        fake.set_capabilities(capabilities);
        let seed = seed ^ (u64::from(number + 1) << 48);
        Self {
            core: core(&name, &fake, seed),
            name,
            disk: MemoryDisk::new(),
            fake,
            writing: None,
            answers: VecDeque::new(),
            steps: Vec::new(),
            started: 0,
            starts: 0,
            seed,
            status: None,
        }
    }

    /// Gives the core an input; gives back what it wants sent.
    pub(super) fn input(&mut self, now: u64, input: Input) -> Vec<(Topic, Message)> {
        self.core.handle(clock(now, self.started), input);
        self.drive(now)
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// When the next timer is due, in the time of the system.
    pub(super) fn due(&self) -> Option<u64> {
        self.core.poll_timeout().map(|(at, _)| at.as_millis() + self.started)
    }

    pub(super) fn set_full(&self, full: bool) {
        self.disk.set_full(full);
    }

    /// What is being written gets durable, or is refused by a full disk.
    pub(super) fn written(&mut self, now: u64) -> Vec<(Topic, Message)> {
        let Some(ops) = self.writing.take() else { return Vec::new() };
        let answer = match self.disk.open().commit(&ops) {
            Ok(()) => Input::Committed,
            Err(error) => Input::StoreFailed { full: error.is_full(), reason: error.to_string() },
        };
        self.input(now, answer)
    }

    /// The agent dies; `durable`: what was being written is on the disk. Of the steps under way
    /// every other one gets done. With `power`, all that runs dies too.
    pub(super) fn crash(&mut self, now: u64, durable: bool, power: bool) -> Vec<(Topic, Message)> {
        if let Some(ops) = self.writing.take().filter(|_| durable) {
            // A full disk refuses this write as well; nobody is there to hear it.
            drop(self.disk.open().commit(&ops));
        }
        for step in std::mem::take(&mut self.steps).into_iter().step_by(2) {
            drop(self.apply(&step));
        }
        if power {
            for (slot, state) in self.instances() {
                if state.is_running() {
                    self.fake.set_state(&slot, InstanceState::Exited { code: 137 });
                }
            }
        }
        self.answers.clear();
        self.started = now;
        self.starts += 1;
        self.core = core(&self.name, &self.fake, self.seed ^ self.starts);
        self.drive(now)
    }

    /// A step under way ends; gives back what the core wants sent.
    pub(super) fn end_step(&mut self, now: u64, at: u8, fails: bool) -> Vec<(Topic, Message)> {
        if self.steps.is_empty() {
            return Vec::new();
        }
        let step = self.steps.remove(usize::from(at) % self.steps.len());
        let failure = StepFailure {
            reason: "it did not work".to_owned(),
            transient: true,
            is_disk_full: false,
        };
        let new = if let Step::Pull { image, .. } = &step { self.missing(image) } else { None };
        let outcome = if fails { Err(failure) } else { self.apply(&step) };
        let mut sent = Vec::new();
        if let Some((image, id)) = new.filter(|_| outcome.is_ok()) {
            sent = self.input(now, Input::Fetched { image, id });
        }
        sent.extend(self.input(now, Input::Done { step, outcome }));
        sent
    }

    /// Every instance: where it belongs, and what it does.
    pub(super) fn instances(&self) -> Vec<(Slot, InstanceState)> {
        let observed = self.observe().unwrap_or_default();
        observed.instances.into_values().map(|it| (it.slot, it.state)).collect()
    }

    pub(super) fn status(&mut self, now: u64) -> Option<Status> {
        drop(self.input(now, Input::Asked(Ticket(0), Request::Status)));
        self.status.take()
    }

    fn drive(&mut self, now: u64) -> Vec<(Topic, Message)> {
        let mut sent = Vec::new();
        let at = clock(now, self.started);
        while let Some(effect) = self.core.poll_effect(at) {
            match effect {
                Effect::Load => {
                    let contents = self.read();
                    self.core.handle(at, Input::Loaded(contents));
                }
                Effect::Commit(ops) => self.writing = Some(ops),
                Effect::Publish(topic, message) => sent.push((topic, message)),
                Effect::Observe { version } => {
                    let answer = match self.observe() {
                        Ok(observed) => {
                            let version = version.then(|| "1.0".to_owned());
                            let wall_s = (DATE + now) / 1_000;
                            Input::Observed { observed, version, wall_s }
                        }
                        Err(reason) => Input::Unreachable { reason },
                    };
                    self.answers.push_back(answer);
                }
                Effect::Find { image } => {
                    let found = self.orchestrator().has_image(&image).now_or_never();
                    let is_here = matches!(found, Some(Ok(true)));
                    self.answers.push_back(Input::Found { image, is_here });
                }
                Effect::Configure(settings) => self.orchestrator().configure(settings),
                Effect::Survey => {
                    let seen = self.orchestrator().survey_images().now_or_never();
                    let seen = seen.expect("a fake answers at once");
                    let seen = seen.map_err(|error| error.to_string());
                    self.answers.push_back(Input::Surveyed(seen));
                }
                Effect::Clear { image, id } => {
                    assert!(!self.core.needed_images().contains(&image), "{image} is needed");
                    let outcome = self.orchestrator().clear_image(&image, &id).now_or_never();
                    let outcome = outcome.expect("a fake answers at once");
                    let outcome = outcome.map_err(|error| error.to_string());
                    self.answers.push_back(Input::Cleared { image, outcome });
                }
                Effect::Apply(step) => self.steps.push(step),
                Effect::GiveUp { image } => {
                    let is_it =
                        |it: &Step| matches!(it, Step::Pull { image: of, .. } if *of == image);
                    self.steps.retain(|step| !is_it(step));
                }
                Effect::Answer(_, Response::Status(status)) => self.status = Some(*status),
                Effect::Answer(..)
                | Effect::Logs { .. }
                | Effect::RemoveVolumes { .. }
                | Effect::Exec { .. }
                | Effect::AgentDesired(_) => {}
            }
        }
        sent
    }

    fn read(&self) -> Contents {
        let (mut store, mut entries) = (self.disk.open(), Vec::new());
        store
            .scan(b"", &mut |key, value| entries.push((key.to_vec(), value.to_vec())))
            .expect("a disk in memory can be read");
        let went_back = store.went_back().expect("a disk in memory can be read");
        Contents { entries, went_back }
    }

    fn orchestrator(&self) -> Orchestrator {
        Orchestrator::Fake(self.fake.clone())
    }

    fn observe(&self) -> Result<Observed, String> {
        let seen = self.orchestrator().observe().now_or_never();
        seen.expect("a fake answers at once").map_err(|error| error.to_string())
    }

    /// The image and its id, if it is not here yet.
    fn missing(&self, image: &str) -> Option<(String, String)> {
        let here = self.orchestrator().has_image(image).now_or_never();
        matches!(here, Some(Ok(false))).then(|| (image.to_owned(), format!("sha256:{image}")))
    }

    fn apply(&self, step: &Step) -> Result<(), StepFailure> {
        if matches!(step, Step::Pull { image, .. } if image == BAD_IMAGE) {
            let reason = "there is no such image".to_owned();
            return Err(StepFailure { reason, transient: true, is_disk_full: false });
        }
        let done = self.orchestrator().apply(step).now_or_never();
        done.expect("a fake answers at once").map_err(|error| StepFailure {
            transient: error.is_transient(),
            is_disk_full: error.is_disk_full(),
            reason: error.to_string(),
        })
    }
}

fn core(name: &NodeName, fake: &Fake, seed: u64) -> Core {
    let config = CoreConfig {
        node: name.clone(),
        capabilities: fake.capabilities(),
        observe_every: Duration::from_secs(30),
        budgets: Budgets::default(),
        image_grace: Duration::from_mins(1),
    };
    Core::new(config, StdRng::seed_from_u64(seed))
}

/// Whether an instance does what it should.
pub(super) const fn is_well(state: InstanceState) -> bool {
    matches!(state, InstanceState::Running(Health::Unchecked | Health::Healthy))
}
