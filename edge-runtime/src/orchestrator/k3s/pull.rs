//! Fetches an image before anything is stopped for it: a pod that names it and has nothing to run.
//! The kubelet fetches the image, then says that the program is not there, and that is all that is
//! wanted. What nothing needs any more the kubelet removes by itself.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::mirror::{Cache, Kind};
use super::{BELIEVED, K3s, K3sError, names, observe, registries};
use crate::orchestrator::images::canonical;

/// A slow link and a large image: as long as the kubelet is at it and says nothing else.
const LONGEST: Duration = Duration::from_hours(2);
/// No image has this program.
const NOTHING: &str = "/gnomon-fetches-this-image";

pub(super) async fn has(k3s: &K3s, image: &str) -> Result<bool, K3sError> {
    let name = canonical(image);
    let cache = k3s.mirror().look().await?;
    Ok(cache.all(Kind::Pod).any(|pod| {
        let of = observe::text(pod, "/status/containerStatuses/0/image");
        is_here(pod) && of.is_some_and(|of| canonical(of) == name)
    }))
}

pub(super) async fn pull(k3s: &K3s, image: &str) -> Result<(), K3sError> {
    if has(k3s, image).await? {
        return Ok(());
    }
    registries::write(k3s).await?;
    sweep(k3s).await?;
    let node = &k3s.settings.node;
    let name = names::pull(node, image);
    k3s.put(&pod(k3s, &name, image), false).await?;
    let fetched = fetched(k3s, &name).await?;
    k3s.delete("v1", "Pod", &name, &DeleteParams::default().grace_period(0)).await?;
    fetched.unwrap_or_else(|| {
        let reason = format!("{image} was not fetched in time");
        Err(K3sError::NotStarting { reason, transient: true })
    })
}

async fn fetched(k3s: &K3s, name: &str) -> Result<Option<Result<(), K3sError>>, K3sError> {
    loop {
        let outcome = k3s.mirror().until(LONGEST, |cache| outcome(cache, name)).await?;
        if !may_pass(outcome.as_ref()) {
            return Ok(outcome);
        }
        let passed = |cache: &Cache| {
            let now = self::outcome(cache, name);
            (!may_pass(now.as_ref())).then_some(())
        };
        if k3s.mirror().until(BELIEVED, passed).await?.is_none() {
            return Ok(outcome);
        }
    }
}

fn may_pass(outcome: Option<&Result<(), K3sError>>) -> bool {
    matches!(outcome, Some(Err(K3sError::NotStarting { reason, .. })) if observe::may_pass(reason))
}

fn outcome(cache: &Cache, name: &str) -> Option<Result<(), K3sError>> {
    let Some(pod) = cache.get(Kind::Pod, name) else {
        let reason = "the pod that fetches the image was removed".to_owned();
        return Some(Err(K3sError::NotStarting { reason, transient: true }));
    };
    if is_here(pod) {
        return Some(Ok(()));
    }
    if has_failed(pod) {
        let why = observe::text(pod, "/status/reason").unwrap_or("it failed");
        let reason = format!("the pod that fetches the image has ended: {why}");
        return Some(Err(K3sError::NotStarting { reason, transient: true }));
    }
    let (reason, transient) = observe::trouble(pod)?;
    Some(Err(K3sError::NotStarting { reason, transient }))
}

/// Whether the image of a pod is on its node.
fn is_here(pod: &Value) -> bool {
    let id = observe::text(pod, "/status/containerStatuses/0/imageID");
    let ended = pod.pointer("/status/containerStatuses/0/state/terminated").is_some();
    id.is_some_and(|id| !id.is_empty()) || (ended && observe::text(pod, "/status/phase").is_some())
}

/// Whether it has ended in another way than by its missing program, as when its node needs room.
fn has_failed(pod: &Value) -> bool {
    observe::text(pod, "/status/phase") == Some("Failed")
}

/// Removes what fetches that were broken off have left.
async fn sweep(k3s: &K3s) -> Result<(), K3sError> {
    let left: Vec<_> = {
        let cache = k3s.mirror().look().await?;
        let left = cache
            .all(Kind::Pod)
            .filter(|pod| names::is_pull(pod) && (is_here(pod) || has_failed(pod)));
        left.filter_map(|pod| observe::text(pod, "/metadata/name").map(ToOwned::to_owned)).collect()
    };
    for name in left {
        k3s.delete("v1", "Pod", &name, &DeleteParams::default().grace_period(0)).await?;
    }
    Ok(())
}

fn pod(k3s: &K3s, name: &str, image: &str) -> Value {
    let node = &k3s.settings.node;
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": names::pull_labels(node) },
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "activeDeadlineSeconds": LONGEST.as_secs(), "enableServiceLinks": false,
            "imagePullSecrets": [{ "name": names::registries(node) }],
            "containers": [{
                "name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                "command": [NOTHING],
                // Enough for any quota to count, and for any policy to permit.
                "resources": {
                    "limits": { "cpu": "10m", "memory": "16Mi" },
                    "requests": { "cpu": "10m", "memory": "16Mi" },
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                    "runAsNonRoot": true, "runAsUser": 65534,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::mirror::News;
    use super::*;

    #[test]
    fn a_pod_that_was_evicted_while_it_fetched_is_not_waited_for() {
        let with = |status: Value| {
            let mut cache = Cache::default();
            let pod =
                json!({ "metadata": { "name": "a", "resourceVersion": "1" }, "status": status });
            cache.take(Kind::Pod, News::Changed(pod));
            outcome(&cache, "a")
        };
        assert!(with(json!({ "phase": "Pending" })).is_none());
        let evicted = with(json!({ "phase": "Failed", "reason": "Evicted" })).unwrap().unwrap_err();
        assert!(evicted.is_transient() && evicted.to_string().contains("Evicted"), "{evicted}");
        // Fetched: its program is not there, and that ends it.
        let ended = json!({ "phase": "Failed", "containerStatuses": [{ "imageID": "sha256:1",
            "state": { "terminated": { "exitCode": 128, "reason": "StartError" } } }] });
        assert!(with(ended).unwrap().is_ok());
    }
}
