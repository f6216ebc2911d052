//! Follows workloads and pods, to give a hint when one of this node changes.

use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{WatchEvent, WatchParams};

use super::{K3s, K3sError, names};
use crate::orchestrator::watch::{Hinter, Watch};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The API server ends a watch after at most this long.
const LONGEST: u32 = 290;

pub(super) fn watch(k3s: &K3s) -> Watch {
    let hinter = Hinter::new();
    let watch = hinter.watch();
    let k3s = k3s.clone();
    let task = tokio::spawn(async move {
        let follow = |api_version, kind| follow(&k3s, &hinter, api_version, kind);
        tokio::join!(
            follow("v1", "Pod"),
            follow("apps/v1", "Deployment"),
            follow("batch/v1", "Job")
        );
    });
    watch.until_dropped(task.abort_handle())
}

/// A watch that ends in time goes on where it was; one that breaks begins anew after a pause.
async fn follow(k3s: &K3s, hinter: &Hinter, api_version: &str, kind: &str) {
    let (mut pause, mut version) = (FIRST_PAUSE, "0".to_owned());
    loop {
        match read(k3s, hinter, api_version, kind, &mut version).await {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                tracing::debug!(%error, kind, "a watch broke");
                "0".clone_into(&mut version);
                pause = (pause * 2).min(LONGEST_PAUSE);
                // What happened while nobody listened shows with an observation only.
                hinter.hint();
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn read(
    k3s: &K3s,
    hinter: &Hinter,
    api_version: &str,
    kind: &str,
    version: &mut String,
) -> Result<(), K3sError> {
    let params =
        WatchParams::default().labels(&names::of_node(&k3s.settings.node)).timeout(LONGEST);
    let api = k3s.objects(api_version, kind).await?;
    let failed = |error| K3sError::from_client(format!("watch {kind}s"), error);
    let mut events = std::pin::pin!(api.watch(&params, version).await.map_err(failed)?);
    while let Some(event) = events.next().await {
        match event.map_err(failed)? {
            WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it) => {
                *version = it.metadata.resource_version.unwrap_or_else(|| version.clone());
                hinter.hint();
            }
            WatchEvent::Bookmark(it) => *version = it.metadata.resource_version,
            WatchEvent::Error(status) => return Err(failed(kube::Error::Api(status))),
        }
    }
    Ok(())
}
