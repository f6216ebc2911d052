//! One app with its instances sorted into the slots that they fill.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::app::{AppSpec, Revision, ServiceSpec};
use gnomon_schemas::id::{AppName, ServiceName};

use super::attempts::vigour;
use super::desired::Facts;
use super::images::Images;
use super::memory::Memory;
use super::model::{Instance, Slot};
use super::order;

/// An app that is desired and can run here.
#[derive(Debug)]
pub(super) struct App<'a> {
    pub(super) spec: &'a Arc<AppSpec>,
    pub(super) facts: &'a Facts,
    pub(super) memory: Memory<'a>,
    /// The images that this revision needs and that are not here yet.
    pub(super) images: Images<'a>,
    pub(super) services: BTreeMap<&'a ServiceName, Service<'a>>,
    /// Instances of copies and services that are not wanted any more.
    pub(super) surplus: Vec<&'a Instance>,
    /// Why a service may not start yet; see [`order::unmet`].
    pub(super) unmet: BTreeMap<&'a ServiceName, String>,
    /// Whether this revision may be older than what runs; see [`super::doubt`].
    pub(super) is_doubted: bool,
    /// Whether it may not take over at this time of the day.
    is_postponed: bool,
}

/// What is said of an app from outside of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) runs_images: bool,
    pub(super) is_doubted: bool,
    pub(super) is_postponed: bool,
}

/// One service and its wanted copies.
#[derive(Debug)]
pub(super) struct Service<'a> {
    pub(super) name: &'a ServiceName,
    pub(super) spec: &'a ServiceSpec,
    /// The digest that its instances should have.
    pub(super) digest: Revision,
    pub(super) copies: Vec<Copy<'a>>,
}

/// One wanted copy of a service and every instance that is in its place.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    pub(super) slot: Slot,
    /// The best instance that has the wanted digest.
    pub(super) current: Option<&'a Instance>,
    /// All others, best first: outdated or double.
    pub(super) others: Vec<&'a Instance>,
}

impl<'a> App<'a> {
    pub(super) fn new(
        name: &'a AppName,
        spec: &'a Arc<AppSpec>,
        facts: &'a Facts,
        instances: &[&'a Instance],
        memory: Memory<'a>,
        Place { runs_images, is_doubted, is_postponed }: Place,
    ) -> Self {
        let mut by_slot: BTreeMap<&Slot, Vec<&Instance>> = BTreeMap::new();
        for instance in instances {
            by_slot.entry(&instance.slot).or_default().push(instance);
        }
        let mut services = BTreeMap::new();
        for (service, digest) in &facts.digests {
            let Some(service_spec) = spec.services.get(service) else { continue };
            let copies = (0..service_spec.replicas)
                .filter_map(|replica| u16::try_from(replica).ok())
                .map(|replica| Slot { app: name.clone(), service: service.clone(), replica })
                .map(|slot| Copy::new(by_slot.remove(&slot).unwrap_or_default(), slot, *digest));
            let copies = copies.collect();
            let service_view =
                Service { name: service, spec: service_spec, digest: *digest, copies };
            services.insert(service, service_view);
        }
        let surplus: Vec<_> = by_slot.into_values().flatten().collect();
        let may_make = !is_doubted || !surplus.iter().any(|it| it.state.is_running());
        let needed = services.values().filter(|service| service.needs_image(is_doubted));
        let needed = needed.filter_map(|it| it.spec.image.as_deref());
        let needed = needed.filter(|_| runs_images && may_make);
        let images = Images::missing(name, needed, memory);
        let unmet = BTreeMap::new();
        let mut app = Self {
            spec,
            facts,
            memory,
            images,
            services,
            surplus,
            unmet,
            is_doubted,
            is_postponed,
        };
        app.unmet = order::unmet(&app);
        app
    }

    /// Whether what is outdated or surplus may give way to this revision.
    pub(super) fn may_replace(&self) -> bool {
        self.images.are_complete() && !self.is_doubted && !self.is_postponed
    }

    /// What outdated and surplus instances wait for, besides what is told with the images.
    pub(super) fn waits_for(&self) -> String {
        match self.spec.trial.update_window.filter(|_| self.is_postponed) {
            Some(window) => format!("waits for its window of updates, {window} UTC"),
            None => "waits for the other images of the revision".to_owned(),
        }
    }

    /// The services, each after those that it depends on.
    pub(super) fn in_start_order(&self) -> impl Iterator<Item = &Service<'a>> {
        self.facts.order.iter().filter_map(|name| self.services.get(name))
    }
}

impl Service<'_> {
    pub(super) fn grace(&self) -> Duration {
        grace(self.spec)
    }

    /// Whether a copy must be made. Of a revision in doubt only those of which nothing is there.
    fn needs_image(&self, is_doubted: bool) -> bool {
        let lacks =
            |copy: &Copy<'_>| copy.current.is_none() && (copy.others.is_empty() || !is_doubted);
        self.copies.iter().any(lacks)
    }
}

impl<'a> Copy<'a> {
    fn new(mut instances: Vec<&'a Instance>, slot: Slot, digest: Revision) -> Self {
        instances.sort_by(|a, b| {
            let rank = |it: &Instance| (it.service_digest == digest, vigour(it.state));
            rank(b).cmp(&rank(a)).then_with(|| a.id.cmp(&b.id))
        });
        let has_current = instances.first().is_some_and(|best| best.service_digest == digest);
        let current = has_current.then(|| instances.remove(0));
        Self { slot, current, others: instances }
    }
}

/// How long a copy of the service may take to stop.
pub(super) const fn grace(spec: &ServiceSpec) -> Duration {
    Duration::from_millis(spec.stop_grace_period_ms)
}
