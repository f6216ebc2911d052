//! Makes the objects of an instance, and removes what an app leaves. The workload is made first,
//! without a pod; what belongs to it names it as its owner, so that it goes with it also when
//! the agent is not there.

use gnomon_schemas::app::AppSpec;
use gnomon_schemas::id::AppName;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{K3s, K3sError, names, objects};
use crate::reconcile::model::Slot;

pub(super) async fn create(k3s: &K3s, slot: &Slot, app: &AppSpec) -> Result<(), K3sError> {
    k3s.capabilities().check(app).map_err(Box::new)?;
    let node = &k3s.settings.node;
    let service = app.services.get(&slot.service);
    let service = service.ok_or_else(|| K3sError::NoSuchService(slot.service.clone()))?;
    let objects = objects::of(node, slot, app, service)
        .map_err(|what| K3sError::Unfit { service: slot.service.clone(), what })?;
    let (kind, name) = (objects.kind, &objects.name);
    let there = match k3s.get(kind, name).await? {
        Some(found) if names::read_instance(node, &found).is_some_and(|(of, _)| of == *slot) => {
            found
        }
        Some(_) => return Err(K3sError::Foreign(format!("{} {name}", kind.kind()))),
        None => {
            for shared in &objects.shared {
                k3s.put(shared).await?;
            }
            k3s.put(&objects.workload).await?
        }
    };
    let uid = there.pointer("/metadata/uid").cloned().unwrap_or_default();
    for mut file in objects.files {
        if let Some(metadata) = file.get_mut("metadata") {
            metadata["ownerReferences"] = json!([{
                "apiVersion": kind.api_version(), "kind": kind.kind(), "name": name, "uid": uid,
            }]);
        }
        k3s.put(&file).await?;
    }
    Ok(())
}

/// Removes the names of an app's services in the cluster; its volumes stay.
pub(super) async fn remove_app(k3s: &K3s, app: &AppName) -> Result<(), K3sError> {
    let node = &k3s.settings.node;
    for found in k3s.list("v1", "Service", &names::of_node(node)).await? {
        let name = found.pointer("/metadata/name").and_then(Value::as_str);
        if let Some(name) = name.filter(|_| names::read_app(node, &found).as_ref() == Some(app)) {
            k3s.delete("v1", "Service", name, &DeleteParams::default()).await?;
        }
    }
    Ok(())
}
