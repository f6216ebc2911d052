//! Fetches an image before anything is stopped for it: a pod that names it and has nothing to run.
//! The kubelet fetches the image, then says that the program is not there, and that is all that is
//! wanted. What nothing needs any more the kubelet removes by itself.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::mirror::{Cache, Kind};
use super::{K3s, K3sError, names, observe, registries};
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
    let fetched = k3s.mirror().until(LONGEST, |cache| outcome(cache, &name)).await?;
    k3s.delete("v1", "Pod", &name, &DeleteParams::default().grace_period(0)).await?;
    fetched.unwrap_or_else(|| {
        let reason = format!("{image} was not fetched in time");
        Err(K3sError::NotStarting { reason, transient: true })
    })
}

fn outcome(cache: &Cache, name: &str) -> Option<Result<(), K3sError>> {
    let Some(pod) = cache.get(Kind::Pod, name) else {
        let reason = "the pod that fetches the image was removed".to_owned();
        return Some(Err(K3sError::NotStarting { reason, transient: true }));
    };
    if is_here(pod) {
        return Some(Ok(()));
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

/// Removes what fetches that were broken off have left.
async fn sweep(k3s: &K3s) -> Result<(), K3sError> {
    let left: Vec<_> = {
        let cache = k3s.mirror().look().await?;
        let left = cache.all(Kind::Pod).filter(|pod| names::is_pull(pod) && is_here(pod));
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
