//! Keeps what the cluster says of this node's objects, by one list and one watch for each kind, so
//! that a look costs no request. A watch that breaks is begun anew with a list, after a pause that
//! grows; until that succeeds nothing is said to be known.

mod cache;
mod follow;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{ANSWER, K3s, K3sError, api, drift, names};
use crate::orchestrator::watch::{Hinter, Watch};

pub(super) use cache::{Cache, Kind};
pub(super) use follow::{News, Place, follow};
pub(super) use shelf::{Shelf, Sight};

/// What is known, and the watches that keep it true; they end with it.
#[derive(Debug)]
pub(super) struct Mirror {
    cache: Arc<watch::Sender<Cache>>,
    hinter: Hinter,
    tasks: Vec<AbortHandle>,
}

impl Mirror {
    /// Begins to watch; must be called inside a Tokio runtime. `k3s` must not hold the mirror.
    pub(super) fn start(k3s: &K3s) -> Self {
        let (cache, hinter) = (Arc::new(watch::Sender::new(Cache::default())), Hinter::new());
        let begin = |kind: Kind| {
            let place = Place {
                resource: api::resource(kind.api_version(), kind.name()),
                namespace: Some(k3s.settings.namespace.clone()),
                labels: names::of_node(&k3s.settings.node),
                by_name: kind.is_by_name(),
            };
            let (cache, hinter) = (Arc::clone(&cache), hinter.clone());
            let tell = move |news: News| {
                let news = news.map(|object| drift::seen(kind, object));
                let mut is_news = false;
                cache.send_modify(|cache| is_news = cache.take(kind, news));
                if is_news {
                    hinter.hint();
                }
            };
            tokio::spawn(follow(k3s.clone(), place, tell)).abort_handle()
        };
        let tasks = Kind::ALL.into_iter().map(begin).collect();
        Self { cache, hinter, tasks }
    }

    pub(super) const fn hinter(&self) -> &Hinter {
        &self.hinter
    }

    pub(super) fn hints(&self) -> Watch {
        self.hinter.watch()
    }

    /// What is known now, if all of it is; waits a while for the first lists.
    pub(super) async fn look(&self) -> Result<watch::Ref<'_, Cache>, K3sError> {
        let mut changes = self.cache.subscribe();
        let known = changes.wait_for(|cache| !matches!(cache.sight(), Sight::Unknown));
        let waited = tokio::time::timeout(ANSWER, known).await.map(drop);
        let cache = self.cache.borrow();
        match cache.sight() {
            Sight::Clear => Ok(cache),
            Sight::Broken(error) => Err(K3sError::Blind(error)),
            Sight::Unknown => {
                debug_assert!(waited.is_err(), "it was waited for");
                Err(K3sError::Slow { doing: "list what this node runs".to_owned() })
            }
        }
    }

    /// Waits until `see` has an answer, at most so long; `None`: it had none in time.
    pub(super) async fn until<T>(
        &self,
        limit: Duration,
        mut see: impl FnMut(&Cache) -> Option<T>,
    ) -> Result<Option<T>, K3sError> {
        let mut changes = self.cache.subscribe();
        let mut answer = None;
        let waited = changes.wait_for(|cache| match cache.sight() {
            Sight::Clear => {
                answer = see(cache);
                answer.is_some()
            }
            Sight::Broken(_) => true,
            Sight::Unknown => false,
        });
        let in_time = tokio::time::timeout(limit, waited).await.map(drop).is_ok();
        if in_time
            && answer.is_none()
            && let Sight::Broken(error) = self.cache.borrow().sight()
        {
            return Err(K3sError::Blind(error));
        }
        Ok(answer)
    }

    /// An object that the API server gave in answer to a write.
    pub(super) fn written(&self, object: &Value) {
        let kind = object.get("kind").and_then(Value::as_str).and_then(Kind::of);
        if let Some(kind) = kind {
            let object = drift::seen(kind, object.clone());
            self.cache.send_modify(|cache| cache.written(kind, object));
        }
    }

    /// An object that the API server does not have.
    pub(super) fn missed(&self, kind: Kind, name: &str) {
        self.cache.send_modify(|cache| cache.missed(kind, name));
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
