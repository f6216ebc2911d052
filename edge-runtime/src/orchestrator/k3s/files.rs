//! Makes the objects of an instance, sets right what somebody changed of them, and removes what an
//! app leaves. The workload is made first, without a pod; what belongs to it names it as its owner,
//! so that it goes with it also when the agent is not there.

#![expect(clippy::indexing_slicing, reason = "what is indexed was made as an object here")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gnomon_schemas::app::AppSpec;
use gnomon_schemas::id::AppName;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::mirror::{Cache, Kind};
use super::names::Workload;
use super::observe::text;
use super::{K3s, K3sError, WORK, drift, manifests, names, objects, registries};
use crate::reconcile::model::Slot;

pub(super) async fn create(k3s: &K3s, slot: &Slot, app: &AppSpec) -> Result<(), K3sError> {
    k3s.capabilities().check(app).map_err(Box::new)?;
    let node = &k3s.settings.node;
    let service = app.services.get(&slot.service);
    let service = service.ok_or_else(|| K3sError::NoSuchService(slot.service.clone()))?;
    if service.has_manifests() {
        return Box::pin(manifests::create(k3s, slot, app, service)).await;
    }
    let mut objects = objects::of(node, slot, app, service)
        .map_err(|what| K3sError::Unfit { service: slot.service.clone(), what })?;
    let (kind, name) = (objects.kind, &objects.name);
    let there = k3s.get(kind, name).await?;
    if let Some(there) = &there {
        if !names::is_own(node, there)
            && names::read_instance(node, there).is_none_or(|(of, _)| of != *slot)
        {
            return Err(K3sError::Foreign(format!("{} {name}", kind.kind())));
        }
        take_over(kind, &mut objects.workload, there)?;
    }
    registries::write(k3s).await?;
    prune(k3s, slot, app).await?;
    for shared in &objects.shared {
        put(k3s, shared).await?;
    }
    let workload = k3s.put(&objects.workload, there.is_some()).await?;
    let uid = workload.pointer("/metadata/uid").cloned().unwrap_or_default();
    for mut file in objects.files {
        if let Some(metadata) = file.get_mut("metadata") {
            metadata["ownerReferences"] = json!([{
                "apiVersion": kind.api_version(), "kind": kind.kind(), "name": name, "uid": uid,
            }]);
        }
        put(k3s, &file).await?;
    }
    Ok(())
}

/// Removes the names in the cluster of services that the app has not or that do not listen any
/// more. It comes before what is made, so that it is done again if it was broken off.
async fn prune(k3s: &K3s, slot: &Slot, app: &AppSpec) -> Result<(), K3sError> {
    let node = &k3s.settings.node;
    let listens = app.services.iter().filter(|(_, service)| !service.ports.is_empty());
    let wanted: BTreeSet<_> = listens
        .map(|(service, _)| {
            names::address(node, &Slot { service: service.clone(), ..slot.clone() })
        })
        .collect();
    let mut left = services(k3s, &slot.app).await?;
    left.retain(|name| !wanted.contains(name));
    remove_services(k3s, &left).await
}

/// The names in the cluster of an app's services.
async fn services(k3s: &K3s, app: &AppName) -> Result<Vec<String>, K3sError> {
    let node = &k3s.settings.node;
    let cache = k3s.mirror().look().await?;
    let own = cache.all(Kind::Service).filter(|it| names::read_app(node, it).as_ref() == Some(app));
    let name = |it: &Arc<Value>| it.pointer("/metadata/name")?.as_str().map(ToOwned::to_owned);
    Ok(own.filter_map(name).collect())
}

/// Of what is ours already, all that was ours is taken back.
async fn put(k3s: &K3s, object: &Value) -> Result<(), K3sError> {
    let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let kind = Kind::of(text("/kind"));
    let is_ours = {
        let cache = k3s.mirror().look().await?;
        kind.is_some_and(|kind| cache.get(kind, text("/metadata/name")).is_some())
    };
    k3s.put(object, is_ours).await.map(drop)
}

/// Makes the wanted workload one for that which is there: it goes on to run or to be stopped. Who
/// changes it again and again is not fought but reported.
fn take_over(kind: Workload, wanted: &mut Value, there: &Value) -> Result<(), K3sError> {
    if names::annotation(there, names::ASKED) == Some("started") {
        match kind {
            Workload::Deployment => wanted["spec"]["replicas"] = json!(1),
            Workload::Job => wanted["spec"]["suspend"] = json!(false),
        }
    }
    let mended = names::annotation(there, names::MENDED);
    let Some(what) = drift::altered(there) else {
        if let Some(mended) = mended {
            wanted["metadata"]["annotations"][names::MENDED] = json!(mended);
        }
        return Ok(());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let next = next_mend(mended, now).ok_or(K3sError::Contested { what })?;
    wanted["metadata"]["annotations"][names::MENDED] = json!(next);
    Ok(())
}

/// What is noted of a repair that is made now, at `now` seconds; `None`: it is too soon after the
/// last ones, as "how many in a row" and "when the last" are noted.
pub(super) fn next_mend(noted: Option<&str>, now: u64) -> Option<String> {
    const CALM: u64 = 600;
    let noted = noted.and_then(|text| text.split_once(' '));
    let parsed = noted.and_then(|(count, at)| Some((count.parse().ok()?, at.parse().ok()?)));
    let (count, at): (u32, u64) = parsed.unwrap_or_default();
    let since = now.saturating_sub(at);
    if since >= CALM {
        return Some(format!("1 {now}"));
    }
    let pause = 1_u64.checked_shl(count).unwrap_or(u64::MAX).min(CALM);
    (since >= pause).then(|| format!("{} {now}", count.saturating_add(1)))
}

/// Removes the name in the cluster of a service whose last workload goes; another makes it again.
pub(super) async fn remove_lonely_service(
    k3s: &K3s,
    slot: &Slot,
    workload: &str,
) -> Result<(), K3sError> {
    let node = &k3s.settings.node;
    let name = names::address(node, slot);
    let is_lonely = {
        let cache = k3s.mirror().look().await?;
        let workloads = [Kind::Deployment, Kind::Job].into_iter().flat_map(|kind| cache.all(kind));
        let mut others = workloads.filter(|it| {
            let is_peer = names::read_instance(node, it)
                .is_some_and(|(of, _)| (&of.app, &of.service) == (&slot.app, &slot.service));
            is_peer && text(it, "/metadata/name") != Some(workload)
        });
        cache.get(Kind::Service, &name).is_some() && others.next().is_none()
    };
    if is_lonely { remove_services(k3s, &[name]).await } else { Ok(()) }
}

/// Removes the names of an app's services in the cluster; its volumes stay.
pub(super) async fn remove_app(k3s: &K3s, app: &AppName) -> Result<(), K3sError> {
    let left = services(k3s, app).await?;
    remove_services(k3s, &left).await
}

async fn remove_services(k3s: &K3s, names: &[String]) -> Result<(), K3sError> {
    for name in names {
        k3s.delete("v1", "Service", name, &DeleteParams::default()).await?;
        let is_gone = |cache: &Cache| cache.get(Kind::Service, name).is_none().then_some(());
        k3s.mirror().until(WORK, is_gone).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_waits_ever_longer_while_somebody_undoes_it() {
        assert_eq!(next_mend(None, 1000).as_deref(), Some("1 1000"));
        assert_eq!(next_mend(Some("1 1000"), 1001), None);
        assert_eq!(next_mend(Some("1 1000"), 1002).as_deref(), Some("2 1002"));
        assert_eq!(next_mend(Some("5 1000"), 1031), None);
        assert_eq!(next_mend(Some("5 1000"), 1032).as_deref(), Some("6 1032"));
        assert_eq!(next_mend(Some("60 1000"), 1599), None);
        assert_eq!(next_mend(Some("60 1000"), 1600).as_deref(), Some("1 1600"), "it is calm");
        assert_eq!(next_mend(Some("nonsense"), 1000).as_deref(), Some("1 1000"));
    }
}
