//! A whole world around one core: a disk, a fake orchestrator, a cloud that runs the other ends of
//! both streams, and a link that is up or down. Time moves only when a test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::FutureExt as _;
use gnomon_schemas::app::AppStatus;
use gnomon_schemas::document::Document;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Output, Reader, ReaderConfig, Writer, WriterConfig};
use serde_json::{Value, json};

use super::super::*;
use crate::link::{Quality, Traffic};
use crate::local::{Request, Response};
use crate::orchestrator::Orchestrator;
use crate::orchestrator::fake::Fake;
use crate::reconcile::model::Step;
use crate::store::Store as _;
use crate::store::memory::MemoryDisk;

pub(super) struct World {
    pub(super) core: Core,
    pub(super) disk: MemoryDisk,
    pub(super) fake: Fake,
    pub(super) now: Moment,
    pub(super) cloud_down: Writer,
    pub(super) cloud_up: Reader,
    pub(super) link_up: bool,
    /// Effects that are left before the power goes.
    pub(super) power: Option<u32>,
    /// Every effect that was carried out, shortly.
    pub(super) log: Vec<String>,
    /// Everything that the cloud sent, for replays.
    pub(super) sent: Vec<(Stream, Message)>,
    pub(super) answers: Vec<Response>,
    inputs: VecDeque<Input>,
    /// Apps of which a step was begun whose end the core has not heard of.
    busy: BTreeSet<AppName>,
    /// Whether pulls take for ever, until [`Self::end_pulls`].
    pub(super) is_link_slow: bool,
    /// What the clock said when the world began.
    pub(super) clock_s: u64,
    /// What the core is allowed from the next start on.
    pub(super) budgets: Budgets,
    /// What the link has carried since the agent started.
    pub(super) carried: u64,
    pub(super) quality: Quality,
    /// Whether stops take for ever, until [`Self::end_stops`].
    pub(super) are_stops_slow: bool,
    slow_stops: Vec<Step>,
    /// The images that are being fetched, and for which app the step is.
    pub(super) slow: BTreeMap<String, AppName>,
    seed: u64,
}

pub(super) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub(super) fn app(text: &str) -> AppName {
    text.parse().unwrap()
}

pub(super) fn key(text: &str) -> ShadowKey {
    ShadowKey::App(app(text))
}

fn spec(image: &str) -> Document {
    let services = json!({ "main": { "image": image, "restart": "always" } });
    Document::from_value(json!({ "services": services })).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let fake = Fake::new();
        fake.set_capabilities(Capabilities { images: true, ..fake.capabilities() });
        Self {
            core: core(&fake, 1, Budgets::default()),
            budgets: Budgets::default(),
            carried: 0,
            quality: Quality::default(),
            disk: MemoryDisk::new(),
            fake,
            now: Moment::from_millis(1000),
            cloud_down: Writer::new(Epoch(77), WriterConfig::default(), rng(2)),
            cloud_up: Reader::new(ReaderConfig::default()),
            link_up: false,
            power: None,
            log: Vec::new(),
            sent: Vec::new(),
            answers: Vec::new(),
            inputs: VecDeque::new(),
            busy: BTreeSet::new(),
            is_link_slow: false,
            clock_s: 1_767_225_600,
            are_stops_slow: false,
            slow_stops: Vec::new(),
            slow: BTreeMap::new(),
            seed: 1,
        }
    }

    /// The agent dies and starts again; the disk, the apps and the cloud stay.
    pub(super) fn restart(&mut self) {
        self.seed += 1;
        self.power = None;
        self.inputs.clear();
        self.busy.clear();
        self.slow.clear();
        self.slow_stops.clear();
        self.carried = 0;
        self.core = core(&self.fake, self.seed, self.budgets.clone());
        self.cloud_down.link_down();
        self.cloud_up.link_down();
        self.link_up = false;
    }

    /// The disk loses what the cloud ever desired, and nothing else.
    pub(super) fn forget_desired(&self) {
        let mut store = self.disk.open();
        let mut rows = Vec::new();
        store.scan(b"down/", &mut |key, _| rows.push((key.to_vec(), None))).unwrap();
        assert!(!rows.is_empty());
        store.commit(&rows).unwrap();
    }

    /// The cloud wishes an app of one service with this image.
    pub(super) fn put(&mut self, name: &str, image: &str) {
        self.cloud_down.put(self.now, &key(name), spec(image));
    }

    /// The cloud wishes an app with a service for each of the images.
    pub(super) fn put_all(&mut self, name: &str, images: &[(&str, &str)]) {
        let service = |image: &str| json!({ "image": image, "restart": "always" });
        let services = images.iter().map(|(name, image)| ((*name).to_owned(), service(image)));
        let services: serde_json::Map<_, _> = services.collect();
        let spec = Document::from_value(json!({ "services": services })).unwrap();
        self.cloud_down.put(self.now, &key(name), spec);
    }

    /// The cloud desires something of the node itself.
    pub(super) fn put_node(&mut self, desired: Value) {
        let desired = Document::from_value(desired).unwrap();
        self.cloud_down.put(self.now, &ShadowKey::Node, desired);
    }

    /// What the clock says: midnight of 2026-01-01 when the world begins.
    pub(super) fn wall_s(&self) -> u64 {
        self.clock_s + self.now.as_millis() / 1000
    }

    /// The cloud wishes an app that is given as JSON.
    pub(super) fn put_spec(&mut self, name: &str, spec: Value) {
        self.cloud_down.put(self.now, &key(name), Document::from_value(spec).unwrap());
    }

    /// The ids and images of all instances of an app that run.
    pub(super) fn instances(&self, name: &str) -> Vec<(String, String)> {
        let observed = self.orchestrator().observe().now_or_never().unwrap().unwrap();
        let own = observed.instances.into_values().filter(|it| it.slot.app == app(name));
        own.filter(|it| it.state.is_running())
            .map(|it| (it.id.to_string(), it.image.unwrap_or_default().into()))
            .collect()
    }

    /// The images of an app that run.
    pub(super) fn images(&self, name: &str) -> Vec<String> {
        self.instances(name).into_iter().map(|(_, image)| image).collect()
    }

    /// The link is fast again: what is being fetched comes.
    pub(super) fn end_pulls(&mut self) {
        self.is_link_slow = false;
        for (image, app) in std::mem::take(&mut self.slow) {
            let pulled =
                self.orchestrator().pull(&app, &image, &|_| {}).now_or_never().unwrap().unwrap();
            self.hear_of(&image, pulled);
            let step = Step::Pull { app, image };
            self.input(Input::Done { step, outcome: Ok(()) });
        }
    }

    /// What was asked to stop stops.
    pub(super) fn end_stops(&mut self) {
        self.are_stops_slow = false;
        for step in std::mem::take(&mut self.slow_stops) {
            self.orchestrator().apply(&step).now_or_never().unwrap().unwrap();
            self.input(Input::Done { step, outcome: Ok(()) });
        }
    }

    /// The cloud does not wish an app any more.
    pub(super) fn delete(&mut self, name: &str) {
        self.cloud_down.delete(self.now, &key(name));
    }

    pub(super) fn connect(&mut self) {
        self.link_up = true;
        self.cloud_down.link_up(self.now);
        self.cloud_up.link_up(self.now);
        self.input(Input::LinkUp);
    }

    pub(super) fn disconnect(&mut self) {
        self.link_up = false;
        self.cloud_down.link_down();
        self.cloud_up.link_down();
        self.input(Input::LinkDown { reason: "cut".to_owned() });
    }

    pub(super) fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.settle();
    }

    /// Lets time pass, with everything that falls due in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.core.poll_timeout().map(|(at, _)| at);
            let cloud = self.cloud_down.poll_timeout().map(|(at, _)| at);
            let next = due.into_iter().chain(cloud).min().filter(|at| *at <= end);
            self.now = next.map_or(end, |at| at.max(self.now));
            self.cloud_down.handle_timeout(self.now);
            self.input(Input::Woken);
            if next.is_none() || self.power == Some(0) {
                return;
            }
            self.now = self.now + Duration::from_millis(1);
        }
    }

    /// Carries out everything that can be done now; false if the power went.
    pub(super) fn settle(&mut self) {
        loop {
            self.take_from_cloud();
            while let Some(effect) = self.core.poll_effect(self.now) {
                if !self.spend() {
                    return;
                }
                self.carry_out(effect);
                self.take_from_cloud();
            }
            let Some(input) = self.inputs.pop_front() else { return };
            if let Input::Done { step, .. } = &input
                && !matches!(step, Step::Pull { .. } | Step::Stop { .. })
            {
                self.busy.remove(step.app());
            }
            self.core.handle(self.now, input);
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.power == Some(0)
    }

    pub(super) fn reported(&self, name: &str) -> Option<AppStatus> {
        let held = self.cloud_up.get(&key(name))?;
        Some(AppStatus::from_document(&held.document.to_value()).unwrap())
    }

    pub(super) fn node_report(&self) -> Option<Value> {
        Some(self.cloud_up.get(&ShadowKey::Node)?.document.to_value())
    }

    /// The images' services that run, and how many instances there are at all.
    pub(super) fn running(&self) -> (usize, usize) {
        let observed = self.orchestrator().observe().now_or_never().unwrap().unwrap();
        let states = observed.instances.values();
        (states.filter(|it| it.state.is_running()).count(), observed.instances.len())
    }

    pub(super) fn count(&self, word: &str) -> usize {
        self.log.iter().filter(|line| line.starts_with(word)).count()
    }

    pub(super) fn status(&mut self) -> crate::local::Status {
        self.input(Input::Asked(Ticket(0), Request::Status));
        match self.answers.pop() {
            Some(Response::Status(status)) => *status,
            other => panic!("{other:?} is no status"),
        }
    }

    /// Sends everything again that the cloud ever sent.
    pub(super) fn replay(&mut self) {
        for (stream, message) in self.sent.clone() {
            self.core.handle(self.now, Input::Received(stream, message));
        }
        self.settle();
    }

    fn orchestrator(&self) -> Orchestrator {
        Orchestrator::Fake(self.fake.clone())
    }

    fn spend(&mut self) -> bool {
        match &mut self.power {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                *left > 0
            }
            None => true,
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let mut store = self.disk.open();
        match effect {
            Effect::Load => {
                self.log.push("load".to_owned());
                let mut entries = Vec::new();
                store.scan(b"", &mut |k, v| entries.push((k.to_vec(), v.to_vec()))).unwrap();
                let went_back = store.went_back().unwrap();
                self.core.handle(self.now, Input::Loaded(Contents { entries, went_back }));
            }
            Effect::Commit(ops) => {
                self.log.push("commit".to_owned());
                let input = match store.commit(&ops) {
                    Ok(()) => Input::Committed,
                    Err(error) => {
                        Input::StoreFailed { full: error.is_full(), reason: error.to_string() }
                    }
                };
                self.core.handle(self.now, input);
            }
            Effect::Publish(topic, message) => self.publish(&topic, &message),
            Effect::AgentDesired(agent) => self.log.push(format!("agent {agent}")),
            Effect::Observe { version } => {
                self.log.push("observe".to_owned());
                let traffic = Traffic { bytes_out: self.carried, ..Traffic::default() };
                let (quality, wall_s) = (self.quality, self.wall_s());
                let carried = Input::Carried { traffic, quality, wall_s };
                self.core.handle(self.now, carried);
                let seen = self.orchestrator().observe().now_or_never().unwrap();
                self.inputs.push_back(match seen {
                    Ok(observed) => {
                        let version = version.then(|| "1.0".to_owned());
                        let wall_s = self.wall_s();
                        Input::Observed { observed, version, wall_s }
                    }
                    Err(error) => Input::Unreachable { reason: error.to_string() },
                });
            }
            Effect::Find { image } => {
                let found = self.orchestrator().has_image(&image).now_or_never().unwrap();
                let is_here = found.unwrap_or(false);
                self.inputs.push_back(Input::Found { image, is_here });
            }
            Effect::GiveUp { image } => {
                self.log.push(format!("give up {image}"));
                let was_slow = self.slow.remove(&image).is_some();
                assert!(was_slow || !self.is_link_slow, "{image} is not being fetched");
            }
            Effect::Configure(settings) => self.orchestrator().configure(settings),
            Effect::Survey => self.survey(),
            Effect::Clear { image, id } => self.clear(image, &id),
            Effect::Apply(step) => self.apply(step),
            Effect::Answer(_, response) => self.answers.push(response),
            Effect::Exec { slot, command, .. } => {
                self.log.push(format!("exec {slot} {}", command.join(" ")));
            }
            Effect::RemoveVolumes { app, .. } => self.log.push(format!("remove volumes of {app}")),
            Effect::Logs { slots, .. } => self.log.push(format!("logs {}", slots.len())),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Pull { app, image } if self.is_link_slow => {
                self.log.push(format!("step slow pull {image}"));
                let old = self.slow.insert(image, app);
                assert!(old.is_none() && self.slow.len() <= 2, "too many pulls: {:?}", self.slow);
            }
            step @ Step::Stop { .. } if self.are_stops_slow => {
                self.log.push(format!("step slow {step}"));
                assert!(!self.slow_stops.contains(&step), "{step} is done twice");
                self.slow_stops.push(step);
            }
            step @ (Step::Pull { .. }
            | Step::Create { .. }
            | Step::Start { .. }
            | Step::Stop { .. }
            | Step::Remove { .. }
            | Step::RemoveApp { .. }) => {
                self.log.push(format!("step {step}"));
                let is_apart = matches!(step, Step::Pull { .. } | Step::Stop { .. });
                let is_free = is_apart || self.busy.insert(step.app().clone());
                assert!(is_free, "two steps of one app at once");
                let outcome = if let Step::Pull { app, image } = &step {
                    let pulled =
                        self.orchestrator().pull(app, image, &|_| {}).now_or_never().unwrap();
                    pulled.map(|id| self.hear_of(image, id))
                } else {
                    self.orchestrator().apply(&step).now_or_never().unwrap()
                };
                let outcome = outcome.map_err(|error| StepFailure {
                    transient: error.is_transient(),
                    is_disk_full: error.to_string().contains("no space left"),
                    reason: error.to_string(),
                });
                self.inputs.push_back(Input::Done { step, outcome });
            }
        }
    }

    fn survey(&mut self) {
        self.log.push("survey".to_owned());
        let seen = self.orchestrator().survey_images().now_or_never().unwrap();
        self.inputs.push_back(Input::Surveyed(seen.map_err(|error| error.to_string())));
    }

    fn clear(&mut self, image: String, id: &str) {
        self.log.push(format!("clear {image}"));
        let outcome = self.orchestrator().clear_image(&image, id).now_or_never().unwrap();
        let outcome = outcome.map_err(|error| error.to_string());
        self.inputs.push_back(Input::Cleared { image, outcome });
    }

    fn hear_of(&mut self, image: &str, id: Option<String>) {
        let image = image.to_owned();
        self.inputs.extend(id.map(|id| Input::Fetched { image, id }));
    }

    fn publish(&mut self, topic: &Topic, message: &Message) {
        self.log.push(format!("publish {topic}"));
        if !self.link_up {
            return;
        }
        self.carried += u64::try_from(message.encode().len()).unwrap();
        match topic.stream() {
            Stream::Down => self.cloud_down.receive(self.now, message),
            Stream::Up => self.cloud_up.receive(self.now, message),
        }
    }

    fn take_from_cloud(&mut self) {
        let mut messages = Vec::new();
        while let Some(output) = self.cloud_down.poll_output() {
            if let Output::Send(message) = output {
                messages.push((Stream::Down, message));
            }
        }
        while let Some(output) = self.cloud_up.poll_output() {
            if let Output::Send(message) = output {
                messages.push((Stream::Up, message));
            }
        }
        if !self.link_up {
            return;
        }
        for (stream, message) in messages {
            self.sent.push((stream, message.clone()));
            self.inputs.push_back(Input::Received(stream, message));
        }
    }
}

fn core(fake: &Fake, seed: u64, budgets: Budgets) -> Core {
    let config = CoreConfig {
        node: "site-1".parse().unwrap(),
        capabilities: fake.capabilities(),
        observe_every: Duration::from_secs(30),
        budgets,
        image_grace: Duration::from_hours(24),
    };
    Core::new(config, rng(seed))
}
