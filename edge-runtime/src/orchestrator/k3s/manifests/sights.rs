//! Follows the kinds that apps of manifests consist of, as long as an app has objects of them: one
//! list and one watch for each kind and namespace, of the objects with this node's label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::inventory::{Ref, Target};
use super::seen;
use crate::orchestrator::k3s::mirror::{News, Place, Shelf, Sight, follow};
use crate::orchestrator::k3s::{K3s, K3sError, names};

/// What is seen of each target.
pub(super) type Shelves = BTreeMap<Target, Shelf>;

/// What is seen, and the watches that keep it true; they end with it.
#[derive(Debug)]
pub(super) struct Sights {
    shelves: Arc<watch::Sender<Shelves>>,
    /// Touched for moments, by looks and by steps.
    tasks: Mutex<BTreeMap<Target, AbortHandle>>,
}

impl Default for Sights {
    fn default() -> Self {
        Self { shelves: Arc::new(watch::Sender::new(Shelves::new())), tasks: Mutex::default() }
    }
}

impl Target {
    pub(super) fn resource(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        let kind = GroupVersionKind::gvk(group, version, &self.kind);
        ApiResource::from_gvk_with_plural(&kind, &self.plural)
    }

    /// Whether what its objects hold is not looked at.
    fn is_by_name(&self) -> bool {
        self.api_version == "v1" && matches!(self.kind.as_str(), "Secret" | "ConfigMap")
    }
}

impl Sights {
    /// Begins to follow what is not followed yet; must be called inside a Tokio runtime.
    pub(super) fn follow(&self, k3s: &K3s, targets: &BTreeSet<Target>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for target in targets {
            if !tasks.contains_key(target) {
                tasks.insert(target.clone(), self.begin(k3s, target));
            }
        }
    }

    /// Ends to follow all but these.
    pub(super) fn only(&self, targets: &BTreeSet<Target>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|target, task| {
            let stays = targets.contains(target);
            if !stays {
                task.abort();
                self.shelves.send_modify(|shelves| drop(shelves.remove(target)));
            }
            stays
        });
    }

    fn begin(&self, k3s: &K3s, target: &Target) -> AbortHandle {
        let place = Place {
            resource: target.resource(),
            namespace: target.namespace.clone(),
            labels: names::of_manifests(&k3s.settings.node),
            by_name: target.is_by_name(),
        };
        let (shelves, own) = (Arc::clone(&self.shelves), target.clone());
        let hinter = k3s.mirror().hinter().clone();
        let tell = move |news: News| {
            let mut is_news = false;
            shelves.send_modify(|shelves| {
                is_news = take(shelves.entry(own.clone()).or_default(), news);
            });
            if is_news {
                hinter.hint();
            }
        };
        self.shelves.send_modify(|shelves| {
            shelves.entry(target.clone()).or_default();
        });
        tokio::spawn(follow(k3s.alone(), place, tell)).abort_handle()
    }

    pub(super) fn see<T>(&self, look: impl FnOnce(&Shelves) -> T) -> T {
        look(&self.shelves.borrow())
    }

    /// What is kept of an object that carries this node's label.
    pub(super) fn find(&self, of: &Ref) -> Option<Arc<Value>> {
        self.see(|shelves| shelves.get(&of.target)?.get(&of.name).cloned())
    }

    /// The answer to a write of our own.
    pub(super) fn written(&self, target: &Target, object: &Value) {
        let kept = seen::of(object);
        self.shelves.send_modify(|shelves| {
            if let Some(shelf) = shelves.get_mut(target) {
                shelf.written(kept);
            }
        });
    }

    /// Waits until `look` has an answer, at most so long; `None`: it had none in time.
    pub(super) async fn until<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&Shelves) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.shelves.subscribe();
        let mut answer = None;
        let waited = changes.wait_for(|shelves| {
            answer = look(shelves);
            answer.is_some()
        });
        // Whether it came in time shows in the answer.
        tokio::time::timeout(limit, waited).await.map(drop).ok();
        answer
    }

    /// Waits until these are seen. A kind that was defined just now cannot be listed at once.
    pub(super) async fn clear(
        &self,
        limit: Duration,
        targets: &BTreeSet<Target>,
    ) -> Result<(), K3sError> {
        let sight = |shelves: &Shelves| {
            let sights = || targets.iter().filter_map(|it| shelves.get(it)).map(Shelf::sight);
            let broken = sights().find_map(|it| match it {
                Sight::Broken(error) if error.code() != Some(429) => Some(Arc::clone(error)),
                Sight::Broken(_) | Sight::Unknown | Sight::Clear => None,
            });
            let is_clear = sights().all(|it| matches!(it, Sight::Clear));
            broken.map(Err).or_else(|| is_clear.then_some(Ok(())))
        };
        let seen = self.until(limit, sight).await;
        let slow = || K3sError::Slow { doing: "list the objects of an app".to_owned() };
        seen.ok_or_else(slow)?.map_err(K3sError::Blind)
    }
}

impl Drop for Sights {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.values().for_each(AbortHandle::abort);
    }
}

/// A kind that the API server does not serve (any more) has no objects.
fn take(shelf: &mut Shelf, news: News) -> bool {
    if let News::Broke(error) = &news
        && error.code() == Some(404)
    {
        shelf.take(News::ListBegins);
        return shelf.take(News::ListEnds);
    }
    shelf.take(news.map(|object| seen::of(&object)))
}
