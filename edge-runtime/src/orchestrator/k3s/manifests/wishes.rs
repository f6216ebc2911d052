//! From the manifests of an app to the objects that the cluster shall have: with the labels by which
//! they are found again, in the order in which they are applied, and only where the node permits it.

use std::collections::BTreeMap;

use gnomon_schemas::app::{AppSpec, Manifest, Revision, ServiceSpec};
use gnomon_schemas::id::NodeName;
use serde_json::{Value, json};

use super::discovery::{self, Served};
use super::inventory::{Ref, Target, rank};
use crate::orchestrator::k3s::{K3s, K3sError, Settings, names};
use crate::reconcile::model::Slot;

/// An object as it shall be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    pub(super) of: Ref,
    pub(super) object: Value,
    /// Whether its kind is defined by the same app, and may not be there yet.
    pub(super) is_own_kind: bool,
}

/// What an app wishes, the first to be applied first.
pub(super) async fn of(
    k3s: &K3s,
    slot: &Slot,
    app: &AppSpec,
    service: &ServiceSpec,
) -> Result<Vec<Wish>, K3sError> {
    let own = discovery::defined(service.manifests.values());
    let mut wishes: Vec<Wish> = Vec::new();
    for (key, manifest) in &service.manifests {
        let id = (manifest.api_version().to_owned(), manifest.kind().to_owned());
        let served = match own.get(&id) {
            Some(served) => served.clone(),
            None => k3s.manifests.discovery.find(k3s, manifest).await?,
        };
        let target = target(&k3s.settings, manifest, &served)?;
        let secret = service.manifest_secrets.get(key).and_then(|name| app.secrets.get(name));
        let whole = manifest.whole(secret.map(|it| &it.content));
        let whole = whole.map_err(|flaw| unfitting(manifest, flaw.to_string()))?;
        let object = labelled(&k3s.settings.node, slot, whole);
        // Of a Secret not even a digest is written where others may read it.
        let wanted =
            if manifest.is_secret() { String::new() } else { Revision::of(&object).short() };
        let of = Ref { target, name: manifest.name().to_owned(), wanted, fields: String::new() };
        if wishes.iter().any(|other| other.of.is_same(&of)) {
            let why = "it is there twice, with its namespace and without".to_owned();
            return Err(unfitting(manifest, why));
        }
        wishes.push(Wish { of, object, is_own_kind: own.contains_key(&id) });
    }
    wishes.sort_by_key(|it| rank(&it.of.target));
    Ok(wishes)
}

fn unfitting(manifest: &Manifest, why: String) -> K3sError {
    K3sError::Unfitting { what: format!("{} {}", manifest.kind(), manifest.name()), why }
}

/// Where an object goes, if the node permits that.
fn target(settings: &Settings, manifest: &Manifest, served: &Served) -> Result<Target, K3sError> {
    let permitted = &settings.manifests;
    let namespace = match (manifest.namespace(), served.is_namespaced) {
        (None, true) => Some(settings.namespace.clone()),
        (Some(other), true)
            if other == settings.namespace || permitted.namespaces.contains(other) =>
        {
            Some(other.to_owned())
        }
        (Some(other), true) => {
            let why = format!(
                "this node applies nothing in the namespace {other}; `manifest_namespaces` of its agent permits it"
            );
            return Err(unfitting(manifest, why));
        }
        (Some(_), false) => {
            let why = "its kind belongs to no namespace; take `metadata.namespace` out".to_owned();
            return Err(unfitting(manifest, why));
        }
        (None, false) => {
            let kind = manifest.kind_and_group();
            if !permitted.kinds.contains(&kind) {
                let why = format!(
                    "its kind belongs to the whole cluster; `manifest_kinds` of this node's agent permits it, with {kind:?}"
                );
                return Err(unfitting(manifest, why));
            }
            None
        }
    };
    Ok(Target {
        api_version: manifest.api_version().to_owned(),
        kind: manifest.kind().to_owned(),
        plural: served.plural.clone(),
        namespace,
    })
}

fn labelled(node: &NodeName, slot: &Slot, mut object: Value) -> Value {
    let own: BTreeMap<&str, String> = names::manifest_labels(node, &slot.app);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.extend(own.into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
        }
        let own = names::about_app(node, &slot.app);
        let notes = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let (Some(notes), Some(own)) = (notes.as_object_mut(), own.as_object()) {
            notes.extend(own.clone());
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::k3s::manifests::Permitted;

    fn manifest(api_version: &str, kind: &str, namespace: Option<&str>) -> Manifest {
        let mut object =
            json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "a" } });
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        Manifest::new(object).unwrap()
    }

    fn served(is_namespaced: bool) -> Served {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "a" },
            "spec": { "group": "g", "scope": if is_namespaced { "Namespaced" } else { "Cluster" },
                "versions": [{ "name": "v1" }], "names": { "kind": "A", "plural": "as" } },
        });
        let definition = Manifest::new(definition).unwrap();
        discovery::defined(std::iter::once(&definition)).into_values().next().unwrap()
    }

    #[test]
    fn an_object_goes_where_the_node_permits_and_nowhere_else() {
        let mut settings = Settings::new("site-1".parse().unwrap());
        settings.manifests = Permitted {
            namespaces: ["monitoring".to_owned()].into(),
            kinds: ["Namespace".to_owned()].into(),
        };
        let place = |api_version, kind, namespace, is_namespaced| {
            let manifest = manifest(api_version, kind, namespace);
            target(&settings, &manifest, &served(is_namespaced))
                .map(|it| it.namespace)
                .map_err(|error| error.to_string())
        };
        assert_eq!(place("v1", "Pod", None, true).unwrap().as_deref(), Some("gnomon"));
        assert_eq!(place("v1", "Pod", Some("gnomon"), true).unwrap().as_deref(), Some("gnomon"));
        let there = place("v1", "Pod", Some("monitoring"), true).unwrap();
        assert_eq!(there.as_deref(), Some("monitoring"));
        let refused = place("v1", "Pod", Some("kube-system"), true).unwrap_err();
        assert!(refused.contains("manifest_namespaces"), "{refused}");
        assert_eq!(place("v1", "Namespace", None, false).unwrap(), None);
        // The same kind of another group is another kind.
        for api_version in ["v1", "rbac.authorization.k8s.io/v1"] {
            let refused = place(api_version, "ClusterRole", None, false).unwrap_err();
            assert!(refused.contains("manifest_kinds"), "{refused}");
        }
        assert!(place("other.io/v1", "Namespace", None, false).is_err());
        assert!(place("v1", "Namespace", Some("gnomon"), false).is_err());
    }

    #[test]
    fn labels_are_added_to_those_of_the_author() {
        let node = "site-1".parse().unwrap();
        let slot = Slot { app: "a".parse().unwrap(), service: "m".parse().unwrap(), replica: 0 };
        let object = json!({ "metadata": { "name": "a", "labels": { "team": "retail" } } });
        let object = labelled(&node, &slot, object);
        assert_eq!(object["metadata"]["labels"]["team"], "retail");
        let own = names::manifest_labels(&node, &slot.app);
        assert_eq!(names::app_label(&object), own.get(names::APP).map(String::as_str));
        assert_eq!(names::read_app(&node, &object), Some(slot.app), "also without its record");
    }
}
