//! What the cluster last said of the objects of this node: what watches tell, and what own writes
//! were answered. Pure. Between the two the newer one counts, so that a look after a step sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{News, Shelf, Sight};
use crate::orchestrator::k3s::names;

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
    /// Takes what is told of a kind; says whether a look may find something else than before.
    pub(in crate::orchestrator::k3s) fn take(&mut self, kind: Kind, news: News) -> bool {
        if let News::Deleted(object) = &news
            && kind == Kind::Pod
            && let (Some(instance), Some(code)) = (names::instance_of(object), exit_code(object))
        {
            self.ended.insert(instance.to_owned(), code);
        }
        let may_forget = matches!(news, News::ListEnds | News::Deleted(_));
        let is_news = self.shelf(kind).take(news);
        if may_forget {
            self.forget_ends();
        }
        is_news
    }

    /// The answer to a write of our own, unless the watch has told something newer.
    pub(super) fn written(&mut self, kind: Kind, object: Value) {
        self.shelf(kind).written(object);
    }

    /// It was asked for and is not there.
    pub(super) fn missed(&mut self, kind: Kind, name: &str) {
        self.shelf(kind).missed(name);
    }

    /// Whether everything is seen; an error when something is not and will not be soon.
    pub(in crate::orchestrator::k3s) fn sight(&self) -> Sight {
        let sights = || Kind::ALL.iter().map(|kind| self.shelves.get(kind).map(Shelf::sight));
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
        self.shelves.get(&kind).into_iter().flat_map(Shelf::all)
    }

    pub(in crate::orchestrator::k3s) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Value>> {
        self.shelves.get(&kind)?.get(name)
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
            shelves.get(&kind).is_some_and(|place: &Shelf| place.get(name).is_some())
        };
        ended.retain(|name, _| has(Kind::Deployment, name) || has(Kind::Job, name));
    }
}

fn exit_code(pod: &Value) -> Option<i64> {
    pod.pointer("/status/containerStatuses/0/state/terminated/exitCode")?.as_i64()
}

#[cfg(test)]
mod tests;
