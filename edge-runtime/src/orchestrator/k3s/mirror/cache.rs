//! What the cluster last said of the objects of this node: what watches tell, and what own writes
//! were answered. Pure. Between the two the newer one counts, so that a look after a step sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::orchestrator::k3s::K3sError;
use crate::orchestrator::k3s::names;
use crate::orchestrator::k3s::observe::text;

/// The kinds that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::orchestrator::k3s) enum Kind {
    Service,
    ConfigMap,
    Secret,
    Claim,
    Deployment,
    Job,
    Pod,
}

/// All that is known.
#[derive(Debug, Default)]
pub(in crate::orchestrator::k3s) struct Cache {
    shelves: BTreeMap<Kind, Shelf>,
    /// How the last pod of an instance ended; kept while the instance is there.
    ended: BTreeMap<String, i64>,
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<String, Arc<Value>>,
    /// The objects of a list that is being read.
    listing: Option<BTreeMap<String, Arc<Value>>>,
    /// The newest version that the watch has told.
    seen: u64,
    sight: Sight,
}

/// Whether a kind is seen.
#[derive(Debug, Default, Clone)]
pub(in crate::orchestrator::k3s) enum Sight {
    /// It was not listed yet.
    #[default]
    Unknown,
    /// Its watch tells every change.
    Clear,
    /// Its watch broke and could not be begun anew yet.
    Broken(Arc<K3sError>),
}

impl Kind {
    pub(in crate::orchestrator::k3s) const ALL: [Self; 7] = [
        Self::Service,
        Self::ConfigMap,
        Self::Secret,
        Self::Claim,
        Self::Deployment,
        Self::Job,
        Self::Pod,
    ];

    pub(in crate::orchestrator::k3s) const fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Claim => "PersistentVolumeClaim",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::Pod => "Pod",
        }
    }

    pub(in crate::orchestrator::k3s) const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment => "apps/v1",
            Self::Job => "batch/v1",
            Self::Service | Self::ConfigMap | Self::Secret | Self::Claim | Self::Pod => "v1",
        }
    }

    /// Whether only the existence of its objects matters; what they hold is not fetched.
    pub(in crate::orchestrator::k3s) const fn is_by_name(self) -> bool {
        matches!(self, Self::ConfigMap | Self::Secret | Self::Claim)
    }

    pub(in crate::orchestrator::k3s) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Cache {
    pub(super) fn list_begins(&mut self, kind: Kind) {
        self.shelf(kind).listing = Some(BTreeMap::new());
    }

    pub(super) fn listed(&mut self, kind: Kind, object: Value) {
        let place = self.shelf(kind);
        let listing = place.listing.get_or_insert_default();
        keep_newer(listing, object);
    }

    pub(super) fn list_ends(&mut self, kind: Kind) {
        let place = self.shelf(kind);
        place.objects = place.listing.take().unwrap_or_default();
        place.seen = place.objects.values().map(|it| version(it)).max().unwrap_or_default();
        place.sight = Sight::Clear;
        self.forget_ends();
    }

    pub(super) fn changed(&mut self, kind: Kind, object: Value) {
        let place = self.shelf(kind);
        place.seen = place.seen.max(version(&object));
        keep_newer(&mut place.objects, object);
    }

    pub(super) fn deleted(&mut self, kind: Kind, object: &Value) {
        if kind == Kind::Pod
            && let (Some(instance), Some(code)) = (names::instance_of(object), exit_code(object))
        {
            self.ended.insert(instance.to_owned(), code);
        }
        let place = self.shelf(kind);
        place.seen = place.seen.max(version(object));
        if let Some(name) = text(object, "/metadata/name") {
            place.objects.remove(name);
        }
        self.forget_ends();
    }

    /// The watch of a kind broke; says whether that is news.
    pub(super) fn broke(&mut self, kind: Kind, error: Arc<K3sError>) -> bool {
        let place = self.shelf(kind);
        let is_news = !matches!(place.sight, Sight::Broken(_));
        place.sight = Sight::Broken(error);
        place.listing = None;
        is_news
    }

    /// The answer to a write of our own, unless the watch has told something newer.
    pub(super) fn written(&mut self, kind: Kind, object: Value) {
        let place = self.shelf(kind);
        if version(&object) <= place.seen {
            return;
        }
        if let Some(listing) = &mut place.listing {
            keep_newer(listing, object.clone());
        }
        keep_newer(&mut place.objects, object);
    }

    /// It was asked for and is not there.
    pub(super) fn missed(&mut self, kind: Kind, name: &str) {
        self.shelf(kind).objects.remove(name);
    }

    /// Whether everything is seen; an error when something is not and will not be soon.
    pub(in crate::orchestrator::k3s) fn sight(&self) -> Sight {
        let sights = || Kind::ALL.iter().map(|kind| self.shelves.get(kind).map(|it| &it.sight));
        let broken = sights().flatten().find(|it| matches!(it, Sight::Broken(_)));
        if let Some(broken) = broken {
            return broken.clone();
        }
        let clear = sights().all(|it| matches!(it, Some(Sight::Clear)));
        if clear { Sight::Clear } else { Sight::Unknown }
    }

    pub(in crate::orchestrator::k3s) fn all(
        &self,
        kind: Kind,
    ) -> impl Iterator<Item = &Arc<Value>> {
        self.shelves.get(&kind).into_iter().flat_map(|place| place.objects.values())
    }

    pub(in crate::orchestrator::k3s) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Value>> {
        self.shelves.get(&kind)?.objects.get(name)
    }

    /// The pods of a workload.
    pub(in crate::orchestrator::k3s) fn pods<'a>(
        &'a self,
        instance: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        self.all(Kind::Pod).filter(move |pod| names::instance_of(pod) == Some(instance))
    }

    /// With which code the last pod of a workload ended, if that was seen.
    pub(in crate::orchestrator::k3s) fn ended(&self, instance: &str) -> Option<i64> {
        self.ended.get(instance).copied()
    }

    fn shelf(&mut self, kind: Kind) -> &mut Shelf {
        self.shelves.entry(kind).or_default()
    }

    fn forget_ends(&mut self) {
        let Self { shelves, ended } = self;
        let has = |kind, name: &str| {
            shelves.get(&kind).is_some_and(|place: &Shelf| place.objects.contains_key(name))
        };
        ended.retain(|name, _| has(Kind::Deployment, name) || has(Kind::Job, name));
    }
}

fn keep_newer(objects: &mut BTreeMap<String, Arc<Value>>, object: Value) {
    let Some(name) = text(&object, "/metadata/name").map(ToOwned::to_owned) else { return };
    if objects.get(&name).is_none_or(|old| version(old) <= version(&object)) {
        objects.insert(name, Arc::new(object));
    }
}

/// The resource version, which grows with each change of anything.
fn version(object: &Value) -> u64 {
    let version = text(object, "/metadata/resourceVersion");
    version.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn exit_code(pod: &Value) -> Option<i64> {
    pod.pointer("/status/containerStatuses/0/state/terminated/exitCode")?.as_i64()
}

#[cfg(test)]
mod tests;
