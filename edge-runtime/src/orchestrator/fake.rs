//! An orchestrator in memory that behaves as a test says. It keeps the same rules as the real
//! ones: idempotent steps, foreign slots refused, running instances not removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gnomon_schemas::app::{AppSpec, Revision};
use gnomon_schemas::id::AppName;
use gnomon_schemas::node::NodeSettings;

use super::images::{Cleared, Disk, FoundImage, ImageSurvey, canonical};
use super::watch::{Hinter, Watch};
use super::{Capabilities, Kind, LimitKinds, Unsupported};
use crate::local::ExecOutput;
use crate::reconcile::model::{Health, Instance, InstanceId, InstanceState, Observed, Slot, Step};

/// Why a fake step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FakeError {
    /// The test wanted it so.
    #[error("{reason}")]
    Scripted {
        /// What the test gave as the reason.
        reason: String,
        /// Whether the same step may succeed later.
        transient: bool,
    },
    /// The service asks for what [`Fake::set_capabilities`] denies.
    #[error(transparent)]
    Unsupported(#[from] Box<Unsupported>),
    /// The app has no such service.
    #[error("the app has no service {0}")]
    NoSuchService(gnomon_schemas::id::ServiceName),
    /// The image was not pulled.
    #[error("there is no image {0} on this node")]
    NoImage(String),
    /// No instance of the slot runs.
    #[error("no instance of {0} runs")]
    NotRunning(Slot),
    /// The instance is gone.
    #[error("instance {0} is gone")]
    Gone(InstanceId),
    /// The instance is not of the slot that the step names.
    #[error("instance {0} belongs to another slot")]
    AnotherSlot(InstanceId),
    /// A running instance cannot be removed.
    #[error("instance {0} still runs")]
    StillRuns(InstanceId),
}

impl FakeError {
    /// Whether the same step may succeed later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Scripted { transient, .. } => *transient,
            Self::NoImage(_) | Self::NotRunning(_) | Self::Gone(_) | Self::StillRuns(_) => true,
            Self::Unsupported(_) | Self::NoSuchService(_) | Self::AnotherSlot(_) => false,
        }
    }
}

/// The steps that a scripted failure applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// [`Step::Pull`].
    Pull,
    /// [`Step::Create`].
    Create,
    /// [`Step::Start`].
    Start,
    /// [`Step::Stop`].
    Stop,
    /// [`Step::Remove`].
    Remove,
    /// [`Step::RemoveApp`].
    RemoveApp,
}

impl StepKind {
    /// The kind of a step.
    pub const fn of(step: &Step) -> Self {
        match step {
            Step::Pull { .. } => Self::Pull,
            Step::Create { .. } => Self::Create,
            Step::Start { .. } => Self::Start,
            Step::Stop { .. } => Self::Stop,
            Step::Remove { .. } => Self::Remove,
            Step::RemoveApp { .. } => Self::RemoveApp,
        }
    }
}

/// The fake; its clones share one world, as orchestrators share a daemon.
#[derive(Debug, Clone)]
pub struct Fake {
    world: Arc<Mutex<World>>,
    hinter: Hinter,
}

#[derive(Debug)]
struct World {
    capabilities: Capabilities,
    instances: BTreeMap<InstanceId, Held>,
    resources: BTreeSet<AppName>,
    images: BTreeSet<String>,
    disk: Option<Disk>,
    settings: NodeSettings,
    after_start: BTreeMap<Slot, InstanceState>,
    image_starts: BTreeMap<String, InstanceState>,
    failures: VecDeque<Failure>,
    outage: Option<FakeError>,
    steps: Vec<Step>,
    made: u64,
}

#[derive(Debug)]
struct Held {
    instance: Instance,
    has_check: bool,
    log: String,
}

#[derive(Debug)]
struct Failure {
    kind: StepKind,
    app: AppName,
    error: FakeError,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// A fake that can do everything and on which every start leads to a running instance, and
    /// to a healthy one where there is a health check.
    pub fn new() -> Self {
        let capabilities = Capabilities {
            kind: Kind::Fake,
            images: false,
            tmpfs: true,
            limits: LimitKinds::ALL,
            confines: true,
            hardens: true,
            nested_mounts: true,
            users: true,
            bind_prefixes: vec!["/".into()],
            device_prefixes: vec!["/dev".into()],
        };
        let world = World {
            capabilities,
            instances: BTreeMap::new(),
            resources: BTreeSet::new(),
            images: BTreeSet::new(),
            disk: None,
            settings: NodeSettings::default(),
            after_start: BTreeMap::new(),
            image_starts: BTreeMap::new(),
            failures: VecDeque::new(),
            outage: None,
            steps: Vec::new(),
            made: 0,
        };
        Self { world: Arc::new(Mutex::new(world)), hinter: Hinter::new() }
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        self.world().capabilities.clone()
    }

    /// Changes what it can do. With `images`, a service needs its image pulled before.
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        self.world().capabilities = capabilities;
    }

    /// Lets the next step of a kind for an app fail; several calls line up.
    pub fn fail_next(&self, kind: StepKind, app: &AppName, reason: &str, transient: bool) {
        let error = FakeError::Scripted { reason: reason.to_owned(), transient };
        self.world().failures.push_back(Failure { kind, app: app.clone(), error });
    }

    /// Lets every call fail, as when the daemon is down, until [`Self::recover`].
    pub fn break_down(&self, reason: &str) {
        let reason = reason.to_owned();
        self.world().outage = Some(FakeError::Scripted { reason, transient: true });
    }

    /// Ends what [`Self::break_down`] began.
    pub fn recover(&self) {
        self.world().outage = None;
        self.hinter.hint();
    }

    /// Says what the instances of a slot do right after each start from now on: health that stays
    /// at `Starting`, an exit at once.
    pub fn when_started(&self, slot: &Slot, state: InstanceState) {
        self.world().after_start.insert(slot.clone(), state);
    }

    /// Says what the instances of an image do right after each start from now on.
    pub fn when_image_starts(&self, image: &str, state: InstanceState) {
        self.world().image_starts.insert(image_id(image), state);
    }

    /// Lets every instance of a slot do something else, as if by itself, and hints.
    pub fn set_state(&self, slot: &Slot, state: InstanceState) {
        for held in self.world().of_slot(slot) {
            held.instance.state = state;
        }
        self.hinter.hint();
    }

    /// Lets every instance of a slot vanish, as if a person had removed it, and hints.
    pub fn vanish(&self, slot: &Slot) {
        self.world().instances.retain(|_, held| held.instance.slot != *slot);
        self.hinter.hint();
    }

    /// Adds to what the instances of a slot wrote.
    pub fn write_log(&self, slot: &Slot, text: &str) {
        for held in self.world().of_slot(slot) {
            held.log.push_str(text);
        }
    }

    /// Puts an image on the node as a person would.
    pub fn bring_image(&self, image: &str) {
        self.world().images.insert(image.to_owned());
    }

    /// The images on the node.
    pub fn images(&self) -> BTreeSet<String> {
        self.world().images.clone()
    }

    /// Says how much room there is for images.
    pub fn set_disk(&self, disk: Disk) {
        self.world().disk = Some(disk);
    }

    /// What the node was told last.
    pub fn settings(&self) -> NodeSettings {
        self.world().settings.clone()
    }

    /// Forgets what the node was told, as a new process would.
    pub fn forget_settings(&self) {
        self.world().settings = NodeSettings::default();
    }

    pub(super) fn configure(&self, settings: NodeSettings) {
        self.world().settings = settings;
    }

    /// The steps that were applied and succeeded, oldest first.
    pub fn steps(&self) -> Vec<Step> {
        self.world().steps.clone()
    }

    pub(super) fn observe(&self) -> Result<Observed, FakeError> {
        let world = self.world();
        if let Some(outage) = &world.outage {
            return Err(outage.clone());
        }
        let instances =
            world.instances.iter().map(|(id, held)| (id.clone(), held.instance.clone()));
        Ok(Observed {
            instances: instances.collect(),
            app_resources: world.resources.iter().cloned().collect(),
            ..Observed::default()
        })
    }

    pub(super) fn has_image(&self, image: &str) -> Result<bool, FakeError> {
        let world = self.world();
        world.outage.clone().map_or_else(|| Ok(world.images.contains(image)), Err)
    }

    pub(super) fn pull(&self, app: &AppName, image: &str) -> Result<Option<String>, FakeError> {
        let is_here = self.has_image(image)?;
        self.apply(&Step::Pull { app: app.clone(), image: image.to_owned() })?;
        Ok((!is_here).then(|| image_id(image)))
    }

    pub(super) fn survey_images(&self) -> Result<ImageSurvey, FakeError> {
        let world = self.world();
        if let Some(outage) = &world.outage {
            return Err(outage.clone());
        }
        let images = world.images.iter().map(|image| FoundImage {
            id: image_id(image),
            names: [canonical(image)].into(),
            in_use: world.uses(image),
        });
        Ok(ImageSurvey { images: images.collect(), disk: world.disk })
    }

    pub(super) fn clear_image(&self, image: &str, id: &str) -> Result<Cleared, FakeError> {
        let mut world = self.world();
        if let Some(outage) = &world.outage {
            return Err(outage.clone());
        }
        if image_id(image) != id {
            return Ok(Cleared::Another);
        }
        if world.uses(image) {
            return Ok(Cleared::InUse);
        }
        world.images.remove(image);
        Ok(Cleared::Gone)
    }

    pub(super) fn apply(&self, step: &Step) -> Result<(), FakeError> {
        let mut world = self.world();
        world.fail_if_scripted(step)?;
        match step {
            Step::Pull { image, .. } => {
                world.images.insert(image.clone());
            }
            Step::Create { slot, spec } => world.create(slot, spec)?,
            Step::Start { id, slot } => world.start(id, slot)?,
            Step::Stop { id, slot, .. } => world.stop(id, slot)?,
            Step::Remove { id, slot } => world.remove(id, slot)?,
            Step::RemoveApp { app } => {
                world.resources.remove(app);
            }
        }
        world.steps.push(step.clone());
        drop(world);
        self.hinter.hint();
        Ok(())
    }

    pub(super) fn watch(&self) -> Watch {
        self.hinter.watch()
    }

    pub(super) fn logs(&self, slot: &Slot, tail: usize) -> Result<String, FakeError> {
        let mut world = self.world();
        if let Some(outage) = &world.outage {
            return Err(outage.clone());
        }
        let mut kept = super::tail::Tail::new(tail);
        if let Some(held) = world.of_slot(slot).last() {
            kept.push(held.log.as_bytes());
        }
        Ok(kept.into_text())
    }

    pub(super) fn exec(&self, slot: &Slot, command: &[String]) -> Result<ExecOutput, FakeError> {
        let mut world = self.world();
        let running = world.of_slot(slot).find(|held| held.instance.state.is_running());
        let held = running.ok_or_else(|| FakeError::NotRunning(slot.clone()))?;
        let stdout = format!("{}: {}\n", held.instance.id, command.join(" "));
        Ok(ExecOutput { code: 0, stdout, stderr: String::new() })
    }

    /// Locked because the clones of a fake share it; never held while awaiting.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id that the fake gives to an image.
fn image_id(image: &str) -> String {
    format!("sha256:{image}")
}

impl World {
    fn uses(&self, image: &str) -> bool {
        let id = image_id(image);
        self.instances.values().any(|held| held.instance.image.as_deref() == Some(&*id))
    }

    fn of_slot(&mut self, slot: &Slot) -> impl Iterator<Item = &mut Held> {
        self.instances.values_mut().filter(move |held| held.instance.slot == *slot)
    }

    fn fail_if_scripted(&mut self, step: &Step) -> Result<(), FakeError> {
        if let Some(outage) = &self.outage {
            return Err(outage.clone());
        }
        let app = match step {
            Step::Pull { app, .. } | Step::RemoveApp { app } => app,
            Step::Create { slot, .. }
            | Step::Start { slot, .. }
            | Step::Stop { slot, .. }
            | Step::Remove { slot, .. } => &slot.app,
        };
        let is_meant =
            |failure: &Failure| failure.kind == StepKind::of(step) && failure.app == *app;
        let at = self.failures.iter().position(is_meant);
        match at.and_then(|at| self.failures.remove(at)) {
            Some(failure) => Err(failure.error),
            None => Ok(()),
        }
    }

    fn create(&mut self, slot: &Slot, app: &Arc<AppSpec>) -> Result<(), FakeError> {
        self.capabilities.check(app).map_err(Box::new)?;
        let service = app.services.get(&slot.service);
        let service = service.ok_or_else(|| FakeError::NoSuchService(slot.service.clone()))?;
        if let Some(image) = service.image.as_ref().filter(|_| self.capabilities.images)
            && !self.images.contains(image)
        {
            return Err(FakeError::NoImage(image.clone()));
        }
        let digest: Revision = service.digest(app);
        if self.of_slot(slot).any(|held| held.instance.service_digest == digest) {
            return Ok(());
        }
        self.made += 1;
        let Slot { app: app_name, service: name, replica } = slot;
        let id = InstanceId(format!("{app_name}.{name}.{replica}.{:06}", self.made).into());
        let instance = Instance {
            id: id.clone(),
            slot: slot.clone(),
            service_digest: digest,
            image: service.image.as_deref().map(|image| image_id(image).into()),
            state: InstanceState::Created,
            note: None,
            altered: None,
        };
        let has_check = service.healthcheck.is_some();
        self.resources.insert(slot.app.clone());
        self.instances.insert(id, Held { instance, has_check, log: String::new() });
        Ok(())
    }

    fn start(&mut self, id: &InstanceId, slot: &Slot) -> Result<(), FakeError> {
        let of_slot = self.after_start.get(slot).copied();
        let of_images = self.image_starts.clone();
        let held = self.find(id, slot)?.ok_or_else(|| FakeError::Gone(id.clone()))?;
        if matches!(held.instance.state, InstanceState::Running(_)) {
            return Ok(());
        }
        let health = if held.has_check { Health::Healthy } else { Health::Unchecked };
        let of_image = held.instance.image.as_deref().and_then(|id| of_images.get(id));
        held.instance.state =
            of_slot.or(of_image.copied()).unwrap_or(InstanceState::Running(health));
        Ok(())
    }

    fn stop(&mut self, id: &InstanceId, slot: &Slot) -> Result<(), FakeError> {
        if let Some(held) = self.find(id, slot)?
            && matches!(held.instance.state, InstanceState::Running(_) | InstanceState::Stuck)
        {
            held.instance.state = InstanceState::Exited { code: 128 + 15 };
        }
        Ok(())
    }

    fn remove(&mut self, id: &InstanceId, slot: &Slot) -> Result<(), FakeError> {
        match self.find(id, slot)? {
            Some(held) if matches!(held.instance.state, InstanceState::Running(_)) => {
                return Err(FakeError::StillRuns(id.clone()));
            }
            Some(_) | None => {}
        }
        self.instances.remove(id);
        Ok(())
    }

    fn find(&mut self, id: &InstanceId, slot: &Slot) -> Result<Option<&mut Held>, FakeError> {
        match self.instances.get_mut(id) {
            Some(held) if held.instance.slot != *slot => Err(FakeError::AnotherSlot(id.clone())),
            found => Ok(found),
        }
    }
}
