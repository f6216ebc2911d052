//! Keeps what the cluster says of this node's objects, by one list and one watch for each kind, so
//! that a look costs no request. A watch that breaks is begun anew with a list, after a pause that
//! grows; until that succeeds nothing is said to be known.

mod cache;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::core::ApiResource;
use kube::runtime::watcher::{self, Config, DefaultBackoff, Event};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{ANSWER, K3s, K3sError, api, drift, names};
use crate::orchestrator::watch::{Hinter, Watch};

pub(super) use cache::{Cache, Kind, Sight};

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
        let follow = |kind| {
            let (k3s, cache, hinter) = (k3s.clone(), Arc::clone(&cache), hinter.clone());
            let follower = Follower { k3s, kind, cache, hinter, was_clear: false };
            tokio::spawn(follower.follow()).abort_handle()
        };
        let tasks = Kind::ALL.into_iter().map(follow).collect();
        Self { cache, hinter, tasks }
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

/// The watch of one kind.
struct Follower {
    k3s: K3s,
    kind: Kind,
    cache: Arc<watch::Sender<Cache>>,
    hinter: Hinter,
    /// Whether the list succeeded since the last pause.
    was_clear: bool,
}

impl Follower {
    async fn follow(mut self) {
        let mut pauses = DefaultBackoff::default();
        loop {
            let Err(error) = self.read().await;
            if std::mem::take(&mut self.was_clear) {
                pauses = DefaultBackoff::default();
            }
            tracing::debug!(%error, kind = self.kind.name(), "a watch broke");
            if error.code() == Some(401) {
                self.k3s.forget_client().await;
            }
            let (error, mut is_news) = (Arc::new(error), false);
            self.cache.send_modify(|cache| is_news = cache.broke(self.kind, error));
            if is_news {
                self.hinter.hint();
            }
            tokio::time::sleep(pauses.next().unwrap_or(ANSWER)).await;
        }
    }

    async fn read(&mut self) -> Result<Infallible, K3sError> {
        let resource: ApiResource = api::resource(self.kind.api_version(), self.kind.name());
        let (client, namespace) = (self.k3s.client().await?, &self.k3s.settings.namespace);
        let config = Config::default().labels(&names::of_node(&self.k3s.settings.node));
        if self.kind.is_by_name() {
            type Names = Api<PartialObjectMeta<DynamicObject>>;
            let api = Names::namespaced_with(client, namespace, &resource);
            self.take_each(watcher::watcher(api, config)).await
        } else {
            let api = Api::<DynamicObject>::namespaced_with(client, namespace, &resource);
            self.take_each(watcher::watcher(api, config)).await
        }
    }

    async fn take_each<T: Serialize>(
        &mut self,
        events: impl Stream<Item = Result<Event<T>, watcher::Error>>,
    ) -> Result<Infallible, K3sError> {
        let mut events = pin!(events);
        loop {
            match events.next().await {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => return Err(failure(self.kind, error)),
                None => {
                    return Err(K3sError::Slow { doing: format!("watch {}s", self.kind.name()) });
                }
            }
        }
    }

    fn take<T: Serialize>(&mut self, event: Event<T>) {
        let kind = self.kind;
        let seen = |it: T| drift::seen(kind, serde_json::to_value(it).unwrap_or_default());
        let is_news = !matches!(event, Event::Init | Event::InitApply(_));
        self.was_clear |= matches!(event, Event::InitDone);
        self.cache.send_modify(|cache| match event {
            Event::Init => cache.list_begins(kind),
            Event::InitApply(it) => cache.listed(kind, seen(it)),
            Event::InitDone => cache.list_ends(kind),
            Event::Apply(it) => cache.changed(kind, seen(it)),
            Event::Delete(it) => cache.deleted(kind, &seen(it)),
        });
        if is_news {
            self.hinter.hint();
        }
    }
}

fn failure(kind: Kind, error: watcher::Error) -> K3sError {
    let doing = |what: &str| format!("{what} {}s", kind.name());
    match error {
        watcher::Error::InitialListFailed(error) => K3sError::from_client(doing("list"), error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            K3sError::from_client(doing("watch"), error)
        }
        watcher::Error::WatchError(status) => {
            K3sError::Refused { doing: doing("watch"), code: status.code, message: status.message }
        }
        watcher::Error::NoResourceVersion => K3sError::Refused {
            doing: doing("watch"),
            code: 0,
            message: "its list has no version".to_owned(),
        },
    }
}
