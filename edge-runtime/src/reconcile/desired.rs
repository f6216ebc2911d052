//! What should run, read from the shadows once, when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gnomon_schemas::app::{AppSpec, Port, Revision};
use gnomon_schemas::document::Document;
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_schemas::version::Version;

use super::model::Observed;

/// Every app that should run on this node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// The apps.
    pub apps: BTreeMap<AppName, DesiredApp>,
    /// The last specs of apps that are not desired any more, for the order and the grace with
    /// which they stop. After a restart they are unknown: then all stop at once.
    leaving: BTreeMap<AppName, Arc<AppSpec>>,
    /// The turn in which each app asked for its fixed ports of the node.
    turns: BTreeMap<AppName, u64>,
    next_turn: u64,
    /// The apps whose desired state may be older than what runs of them.
    doubted: BTreeSet<AppName>,
    /// The apps that may not be changed at this time of the day.
    postponed: BTreeSet<AppName>,
}

/// One app that should run; made by [`Desired::insert`].
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredApp {
    /// The app, or why its document is refused.
    pub spec: Result<Arc<AppSpec>, String>,
    /// The version of the desired half.
    pub version: Version,
    facts: Facts,
}

/// What follows from a spec and is too dear to compute for each plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    /// The revision of the app.
    pub(super) revision: Option<Revision>,
    /// The digest of each service.
    pub(super) digests: BTreeMap<ServiceName, Revision>,
    /// The services, each after those that it depends on.
    pub(super) order: Vec<ServiceName>,
    /// The fixed ports of the node that its services ask for.
    pub(super) ports: Vec<(ServiceName, Port)>,
}

impl Desired {
    /// Takes the desired half of an app's shadow; an invalid one is kept as a refusal.
    pub fn insert(&mut self, app: AppName, version: Version, document: &Document) {
        self.put(app, DesiredApp::read(version, document));
    }

    /// Takes what should run as an app.
    pub fn put(&mut self, app: AppName, wanted: DesiredApp) {
        self.leaving.remove(&app);
        let before = self.apps.get(&app).map_or(&[][..], |before| &before.facts.ports);
        let had_them = wanted
            .facts
            .ports
            .iter()
            .any(|(_, port)| before.iter().any(|(_, before)| before.collides(port)));
        if !had_them && !wanted.facts.ports.is_empty() {
            self.turns.insert(app.clone(), self.next_turn);
            self.next_turn = self.next_turn.saturating_add(1);
        }
        self.apps.insert(app, wanted);
    }

    /// Says which apps may not be changed at this time of the day.
    pub fn postpone(&mut self, apps: BTreeSet<AppName>) {
        self.postponed = apps;
    }

    /// Whether an app may not be changed at this time of the day.
    pub fn is_postponed(&self, app: &AppName) -> bool {
        self.postponed.contains(app)
    }

    /// The images of all apps, some more than once.
    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        let specs = self.apps.values().filter_map(|app| app.spec.as_ref().ok());
        let services = specs.flat_map(|spec| spec.services.values());
        services.filter_map(|service| service.image.as_deref())
    }

    /// The lower, the earlier the app asked for its ports.
    pub(super) fn turn(&self, app: &AppName) -> u64 {
        self.turns.get(app).copied().unwrap_or(u64::MAX)
    }

    /// The app's shadow was deleted: what runs of it shall go.
    pub fn remove(&mut self, app: &AppName) {
        self.turns.remove(app);
        if let Some(DesiredApp { spec: Ok(spec), .. }) = self.apps.remove(app) {
            self.leaving.insert(app.clone(), spec);
        }
    }

    /// Says of which apps what is desired may be older than what runs of them, since the store went
    /// back and the cloud has not spoken yet; gives back whether that changed.
    pub fn doubt(&mut self, apps: BTreeSet<AppName>) -> bool {
        let changed = self.doubted != apps;
        self.doubted = apps;
        changed
    }

    /// Whether what is desired of an app may be older than what runs of it.
    pub fn is_doubted(&self, app: &AppName) -> bool {
        self.doubted.contains(app)
    }

    /// Forgets the specs of apps that were removed and of which nothing is left.
    pub fn observed(&mut self, observed: &Observed) {
        if !self.leaving.is_empty() {
            let left: BTreeSet<_> = observed.apps().collect();
            self.leaving.retain(|app, _| left.contains(app));
        }
    }

    /// The last spec of an app that is not desired any more.
    pub(super) fn leaving(&self, app: &AppName) -> Option<&AppSpec> {
        self.leaving.get(app).map(Arc::as_ref)
    }
}

impl DesiredApp {
    /// The desired half of an app's shadow.
    pub fn read(version: Version, document: &Document) -> Self {
        match AppSpec::from_document(&document.to_value()) {
            Ok(spec) => Self::new(version, Arc::new(spec)),
            Err(error) => Self { spec: Err(error.to_string()), version, facts: Facts::default() },
        }
    }

    /// An app that is valid.
    pub fn new(version: Version, spec: Arc<AppSpec>) -> Self {
        let facts = Facts::of(&spec);
        Self { spec: Ok(spec), version, facts }
    }

    /// The same app as that of another version of the desired half.
    #[must_use]
    pub fn at(&self, version: Version) -> Self {
        Self { version, ..self.clone() }
    }

    /// The revision; `None` if the document is refused.
    pub const fn revision(&self) -> Option<Revision> {
        self.facts.revision
    }

    /// The digest that the instances of a service should have.
    pub fn digest(&self, service: &ServiceName) -> Option<Revision> {
        self.facts.digests.get(service).copied()
    }

    pub(super) const fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Facts {
    fn of(spec: &AppSpec) -> Self {
        Self {
            revision: Some(spec.revision()),
            digests: spec
                .services
                .iter()
                .map(|(name, it)| (name.clone(), it.digest(spec)))
                .collect(),
            order: spec.start_order().into_iter().cloned().collect(),
            ports: spec
                .services
                .iter()
                .flat_map(|(name, it)| it.ports.iter().map(|port| (name.clone(), *port)))
                .filter(|(_, port)| port.host.is_some())
                .collect(),
        }
    }
}
