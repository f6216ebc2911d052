//! An orchestrator with a node of its own, and the means to watch and disturb what runs on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::orchestrator::docker::{self, Docker};
use gnomon_edge::orchestrator::fake::Fake;
use gnomon_edge::orchestrator::k3s::{self, K3s};
use gnomon_edge::orchestrator::process::{self, Process};
use gnomon_edge::reconcile::model::{Health, Instance, InstanceState, Slot, Step};
use gnomon_schemas::app::{AppSpec, HealthCheck, HealthTest, ServiceSpec};
use gnomon_schemas::id::NodeName;
use tempfile::TempDir;

use crate::daemon;

/// How long anything may take until a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends at once with code 0 when asked to; without the trap, process 1 of a container would not.
pub(crate) const POLITE: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

pub(crate) struct Bench {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) node: NodeName,
    pub(crate) dir: TempDir,
    backend: Backend,
}

enum Backend {
    Fake(Fake),
    Process(process::Settings),
    Docker(docker::Settings),
    K3s(k3s::Settings),
}

impl Bench {
    pub(crate) fn fake() -> Self {
        Self::new(Backend::Fake(Fake::new()), new_node(), tempfile::tempdir().unwrap())
    }

    pub(crate) fn process() -> Self {
        let (node, dir) = (new_node(), tempfile::tempdir().unwrap());
        let settings = process_settings(node.clone(), dir.path());
        Self::new(Backend::Process(settings), node, dir)
    }

    pub(crate) fn docker() -> Self {
        Self::docker_at(daemon::socket())
    }

    /// On another daemon than that of the other tests.
    pub(crate) fn docker_at(socket: &std::path::Path) -> Self {
        let (node, dir) = (new_node(), tempfile::tempdir().unwrap());
        let files = dir.path().join("files");
        let settings = docker::Settings {
            socket: socket.to_owned(),
            secrets_dir: dir.path().join("secrets"),
            bind_prefixes: vec![dir.path().join("shared")],
            device_prefixes: vec!["/dev/zero".into(), dir.path().join("devices")],
            certs_dir: dir.path().join("certs.d"),
            ..docker::Settings::new(node.clone(), files)
        };
        Self::new(Backend::Docker(settings), node, dir)
    }

    pub(crate) fn k3s() -> Self {
        Self::k3s_with(|_| {})
    }

    /// On the cluster, with a setup of its own.
    pub(crate) fn k3s_with(change: impl FnOnce(&mut k3s::Settings)) -> Self {
        let (node, dir) = (new_node(), tempfile::tempdir().unwrap());
        let kubeconfig = Some(crate::kubernetes::kubeconfig().to_owned());
        let mut settings = k3s::Settings { kubeconfig, ..k3s::Settings::new(node.clone()) };
        change(&mut settings);
        Self::new(Backend::K3s(settings), node, dir)
    }

    fn new(backend: Backend, node: NodeName, dir: TempDir) -> Self {
        Self { orchestrator: open(&backend), node, dir, backend }
    }

    /// A second agent for the same node, as after a restart.
    pub(crate) fn reopen(&self) -> Orchestrator {
        open(&self.backend)
    }

    /// An agent for another node that shares the daemon; for the fake, and for processes, which
    /// share a directory only by mistake, with all else the same.
    pub(crate) fn neighbour(&self) -> Self {
        let node = new_node();
        let dir = tempfile::tempdir().unwrap();
        let backend = match &self.backend {
            Backend::Fake(_) => Backend::Fake(Fake::new()),
            Backend::Process(settings) => {
                Backend::Process(process::Settings { node: node.clone(), ..settings.clone() })
            }
            Backend::K3s(settings) => {
                Backend::K3s(k3s::Settings { node: node.clone(), ..settings.clone() })
            }
            Backend::Docker(settings) => {
                let (files_dir, secrets_dir) =
                    (dir.path().join("files"), dir.path().join("secrets"));
                let settings = settings.clone();
                let node = node.clone();
                Backend::Docker(docker::Settings { node, files_dir, secrets_dir, ..settings })
            }
        };
        Self::new(backend, node, dir)
    }

    /// On host processes, with a setup of its own.
    pub(crate) fn process_with(change: impl FnOnce(&mut process::Settings)) -> Self {
        let (node, dir) = (new_node(), tempfile::tempdir().unwrap());
        let mut settings = process_settings(node.clone(), dir.path());
        change(&mut settings);
        Self::new(Backend::Process(settings), node, dir)
    }

    pub(crate) const fn docker_settings(&self) -> &docker::Settings {
        match &self.backend {
            Backend::Docker(settings) => settings,
            Backend::Fake(_) | Backend::Process(_) | Backend::K3s(_) => panic!("this is no Docker"),
        }
    }

    /// Says how the fake behaves where a real service behaves by its script.
    pub(crate) fn script(&self, slot: &Slot, after_start: InstanceState) {
        if let Backend::Fake(fake) = &self.backend {
            fake.when_started(slot, after_start);
        }
    }

    /// Changes what the fake shows where a real service changes by itself.
    pub(crate) fn change(&self, slot: &Slot, state: InstanceState) {
        if let Backend::Fake(fake) = &self.backend {
            fake.set_state(slot, state);
        }
    }

    /// Kills the one instance of a slot behind the orchestrator's back.
    pub(crate) async fn kill(&self, slot: &Slot) {
        match &self.backend {
            Backend::Fake(fake) => fake.set_state(slot, InstanceState::Exited { code: 137 }),
            Backend::Process(_) => crate::process::kill_9(self.pid(slot).await),
            Backend::K3s(_) => crate::kubernetes::kill_9(&self.instance(slot).await.id),
            Backend::Docker(_) => {
                daemon::docker(&["kill", &self.instance(slot).await.id.0]);
            }
        }
    }

    /// The number of the process of the one instance of a slot.
    pub(crate) async fn pid(&self, slot: &Slot) -> i32 {
        let home = self.home(slot).await;
        let run = std::fs::read(home.join("run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
        i32::try_from(run["process"]["pid"].as_i64().unwrap()).unwrap()
    }

    /// The directory of the one instance of a slot.
    pub(crate) async fn home(&self, slot: &Slot) -> std::path::PathBuf {
        let id = self.instance(slot).await.id;
        self.dir.path().join("instances").join(&*id.0)
    }

    pub(crate) async fn apply(&self, step: Step) {
        self.orchestrator.apply(&step).await.unwrap_or_else(|error| {
            panic!("{step:?}: {}", gnomon_edge::chain(&error));
        });
    }

    pub(crate) async fn all(&self) -> Vec<Instance> {
        self.orchestrator.observe().await.unwrap().instances.into_values().collect()
    }

    pub(crate) async fn find(&self, slot: &Slot) -> Option<Instance> {
        let mut found: Vec<_> = self.all().await;
        found.retain(|instance| instance.slot == *slot);
        assert!(found.len() < 2, "{slot:?} has {} instances", found.len());
        found.pop()
    }

    pub(crate) async fn instance(&self, slot: &Slot) -> Instance {
        self.find(slot).await.expect("the slot has an instance")
    }

    pub(crate) async fn create(&self, slot: &Slot, spec: &Arc<AppSpec>) -> Instance {
        self.apply(Step::Create { slot: slot.clone(), spec: Arc::clone(spec) }).await;
        self.instance(slot).await
    }

    pub(crate) async fn start(&self, slot: &Slot) {
        let id = self.instance(slot).await.id;
        self.apply(Step::Start { id, slot: slot.clone() }).await;
    }

    pub(crate) async fn stop(&self, slot: &Slot, grace: Duration) {
        let id = self.instance(slot).await.id;
        self.apply(Step::Stop { id, slot: slot.clone(), grace }).await;
    }

    pub(crate) async fn remove(&self, slot: &Slot) {
        let id = self.instance(slot).await.id;
        self.apply(Step::Remove { id, slot: slot.clone() }).await;
    }

    /// Creates and starts a service.
    pub(crate) async fn up(&self, slot: &Slot, spec: &Arc<AppSpec>) {
        self.create(slot, spec).await;
        self.start(slot).await;
    }

    /// Waits until the one instance of a slot does this.
    pub(crate) async fn until(&self, slot: &Slot, state: InstanceState) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.instance(slot).await.state;
            if found == state {
                return;
            }
            assert!(Instant::now() < deadline, "{slot:?} is {found:?}, not {state:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the log of a slot contains a text, and gives back the log.
    pub(crate) async fn until_logged(&self, slot: &Slot, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.orchestrator.logs(slot, 1000).await.unwrap();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < deadline, "{text:?} is not in the log:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn open(backend: &Backend) -> Orchestrator {
    match backend {
        Backend::Fake(fake) => Orchestrator::Fake(fake.clone()),
        Backend::Process(settings) => {
            Orchestrator::Process(Process::open(settings.clone()).unwrap())
        }
        Backend::K3s(settings) => Orchestrator::K3s(K3s::new(settings.clone())),
        Backend::Docker(settings) => Orchestrator::Docker(Docker::new(settings.clone())),
    }
}

pub(crate) fn process_settings(node: NodeName, dir: &std::path::Path) -> process::Settings {
    process::Settings {
        shim: env!("CARGO_BIN_EXE_gnomon-edge").into(),
        bind_prefixes: vec![dir.join("shared")],
        ..process::Settings::new(node, dir)
    }
}

fn new_node() -> NodeName {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{count}", std::process::id()).parse().unwrap()
}

pub(crate) fn slot(service: &str) -> Slot {
    Slot { app: "shop".parse().unwrap(), service: service.parse().unwrap(), replica: 0 }
}

/// A service that runs a script of `sh`.
pub(crate) fn service(script: &str) -> ServiceSpec {
    let command = ["sh", "-c", script].map(ToOwned::to_owned).to_vec();
    let image = Some(daemon::IMAGE.to_owned());
    ServiceSpec { image, command: Some(command), ..ServiceSpec::default() }
}

pub(crate) fn check(script: &str) -> HealthCheck {
    let test = HealthTest::Shell(script.to_owned());
    HealthCheck { interval_ms: 150, timeout_ms: 5000, retries: 1, ..HealthCheck::new(test) }
}

/// An app of one service, named `web`.
pub(crate) fn app(service: ServiceSpec) -> Arc<AppSpec> {
    app_of([("web", service)])
}

pub(crate) fn app_of<const N: usize>(services: [(&str, ServiceSpec); N]) -> Arc<AppSpec> {
    let services: BTreeMap<_, _> =
        services.into_iter().map(|(name, service)| (name.parse().unwrap(), service)).collect();
    Arc::new(AppSpec { services, ..AppSpec::default() })
}

pub(crate) const RUNNING: InstanceState = InstanceState::Running(Health::Unchecked);

pub(crate) const fn exited(code: i64) -> InstanceState {
    InstanceState::Exited { code }
}

/// Clears away what a test left, also one that failed.
impl Drop for Bench {
    fn drop(&mut self) {
        let clear = async {
            let Ok(observed) = self.orchestrator.observe().await else { return };
            for Instance { id, slot, .. } in observed.instances.into_values() {
                let grace = Duration::ZERO;
                let stop = Step::Stop { id: id.clone(), slot: slot.clone(), grace };
                for step in [stop, Step::Remove { id, slot }] {
                    self.orchestrator.apply(&step).await.ok();
                }
            }
            for app in observed.app_resources {
                self.orchestrator.apply(&Step::RemoveApp { app }).await.ok();
            }
        };
        let runtime = || tokio::runtime::Runtime::new().unwrap();
        std::thread::scope(|scope| scope.spawn(|| runtime().block_on(clear)).join().ok());
        if matches!(self.backend, Backend::Docker(_)) {
            let label = format!("label=io.gnomon.node={}", self.node);
            for volume in daemon::docker(&["volume", "ls", "-q", "-f", &label]).lines() {
                daemon::docker(&["volume", "rm", volume]);
            }
        }
    }
}
