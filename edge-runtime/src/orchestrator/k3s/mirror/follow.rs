//! One list and one watch of the objects of one kind, begun anew with a list whenever the watch
//! breaks, after a pause that grows. It tells what it hears and keeps nothing.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::core::ApiResource;
use kube::runtime::watcher::{self, Config, DefaultBackoff, Event};
use serde::Serialize;
use serde_json::Value;

use crate::orchestrator::k3s::{ANSWER, K3s, K3sError};

/// What is followed.
#[derive(Debug, Clone)]
pub(in crate::orchestrator::k3s) struct Place {
    pub(in crate::orchestrator::k3s) resource: ApiResource,
    /// `None`: the kind belongs to no namespace.
    pub(in crate::orchestrator::k3s) namespace: Option<String>,
    /// The labels that select the objects.
    pub(in crate::orchestrator::k3s) labels: String,
    /// Whether what the objects hold is not fetched.
    pub(in crate::orchestrator::k3s) by_name: bool,
}

/// What is told of a kind.
#[derive(Debug)]
pub(in crate::orchestrator::k3s) enum News {
    ListBegins,
    Listed(Value),
    ListEnds,
    Changed(Value),
    Deleted(Value),
    Broke(Arc<K3sError>),
}

impl News {
    /// The same news, with another view of the object.
    pub(in crate::orchestrator::k3s) fn map(self, view: impl FnOnce(Value) -> Value) -> Self {
        match self {
            Self::Listed(object) => Self::Listed(view(object)),
            Self::Changed(object) => Self::Changed(view(object)),
            Self::Deleted(object) => Self::Deleted(view(object)),
            Self::ListBegins | Self::ListEnds | Self::Broke(_) => self,
        }
    }
}

/// Follows without end. `k3s` must not hold what holds this task.
pub(in crate::orchestrator::k3s) async fn follow(k3s: K3s, place: Place, tell: impl Fn(News)) {
    let mut pauses = DefaultBackoff::default();
    loop {
        let mut was_clear = false;
        let told = |news: News| {
            was_clear |= matches!(news, News::ListEnds);
            tell(news);
        };
        let Err(error) = read(&k3s, &place, told).await;
        if was_clear {
            pauses = DefaultBackoff::default();
        }
        tracing::debug!(%error, kind = place.resource.kind, "a watch broke");
        if error.code() == Some(401) {
            k3s.forget_client().await;
        }
        tell(News::Broke(Arc::new(error)));
        tokio::time::sleep(pauses.next().unwrap_or(ANSWER)).await;
    }
}

async fn read(k3s: &K3s, place: &Place, tell: impl FnMut(News)) -> Result<Infallible, K3sError> {
    let client = k3s.client().await?;
    let config = Config::default().labels(&place.labels);
    let Place { resource, namespace, .. } = place;
    if place.by_name {
        type Names = Api<PartialObjectMeta<DynamicObject>>;
        let api = match namespace {
            Some(namespace) => Names::namespaced_with(client, namespace, resource),
            None => Names::all_with(client, resource),
        };
        take_each(place, watcher::watcher(api, config), tell).await
    } else {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        };
        take_each(place, watcher::watcher(api, config), tell).await
    }
}

async fn take_each<T: Serialize>(
    place: &Place,
    events: impl Stream<Item = Result<Event<T>, watcher::Error>>,
    mut tell: impl FnMut(News),
) -> Result<Infallible, K3sError> {
    let value = |it: T| serde_json::to_value(it).unwrap_or_default();
    let mut events = pin!(events);
    loop {
        match events.next().await {
            Some(Ok(Event::Init)) => tell(News::ListBegins),
            Some(Ok(Event::InitApply(it))) => tell(News::Listed(value(it))),
            Some(Ok(Event::InitDone)) => tell(News::ListEnds),
            Some(Ok(Event::Apply(it))) => tell(News::Changed(value(it))),
            Some(Ok(Event::Delete(it))) => tell(News::Deleted(value(it))),
            Some(Err(error)) => return Err(failure(&place.resource.kind, error)),
            None => {
                return Err(K3sError::Slow { doing: format!("watch {}s", place.resource.kind) });
            }
        }
    }
}

fn failure(kind: &str, error: watcher::Error) -> K3sError {
    let doing = |what: &str| format!("{what} {kind}s");
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
