//! The second witness of what an app of manifests has in the cluster, beside its record: the labels of the
//! objects themselves. It is heard only where a record is missing, because it has to be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use gnomon_schemas::app::{PRUNE, Revision};
use gnomon_schemas::compose::kubernetes::SERVICE;
use gnomon_schemas::id::{AppName, NodeName};
use kube::runtime::watcher::DefaultBackoff;
use serde_json::Value;
use tokio::task::AbortHandle;

use super::inventory::{Record, Ref, Target, rank};
use super::{calls, fields};
use crate::orchestrator::k3s::observe::text;
use crate::orchestrator::k3s::{ANSWER, K3s, K3sError, Settings, names};
use crate::reconcile::model::Slot;

/// The kinds that are looked through in every namespace, beside those of which apps have something. Claims
/// are none of them: they stay when their app goes.
const KINDS: [(&str, &str, &str); 16] = [
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Pod", "pods"),
    ("v1", "Secret", "secrets"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("apps/v1", "DaemonSet", "daemonsets"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("batch/v1", "CronJob", "cronjobs"),
    ("batch/v1", "Job", "jobs"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io/v1", "Role", "roles"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
];

/// Those of the whole cluster, where the node permits them.
const WIDE: [(&str, &str, &str); 6] = [
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"),
    ("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses"),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses"),
    ("v1", "Namespace", "namespaces"),
];

/// Notices that a record is missing.
#[derive(Debug, Default)]
pub(super) struct Witness(
    /// Touched for moments, by looks.
    Mutex<Attention>,
);

#[derive(Debug, Default)]
struct Attention {
    /// The records of the last look; `None` before the first.
    known: Option<BTreeSet<String>>,
    search: Option<AbortHandle>,
}

impl Attention {
    /// Takes the records that are there, with those of them whose app is gone; says whether one went
    /// that was not given up, or might have gone before this is looked at for the first time.
    fn misses(&mut self, all: &BTreeSet<String>, given_up: &BTreeSet<String>) -> bool {
        let misses = self.known.as_ref().is_none_or(|known| !known.is_subset(all));
        self.known = Some(all.difference(given_up).cloned().collect());
        misses
    }
}

impl Witness {
    /// Looks for objects without a record, if there may be some; must be called inside a Tokio runtime.
    pub(super) fn attend(&self, k3s: &K3s, records: &[Record]) {
        let all = records.iter().map(|it| it.name.clone()).collect();
        let gone = records.iter().filter(|it| it.is_removed());
        let gone = gone.map(|it| it.name.clone()).collect();
        let mut attention = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !attention.misses(&all, &gone) {
            return;
        }
        let (own, targets) = (k3s.alone(), records.iter().flat_map(Record::targets).collect());
        let search = tokio::spawn(async move {
            let mut pauses = DefaultBackoff::default();
            while let Err(error) = restore(&own, &all, &targets).await {
                tracing::debug!(%error, "objects without a record are not looked for yet");
                tokio::time::sleep(pauses.next().unwrap_or(ANSWER)).await;
            }
        });
        if let Some(before) = attention.search.replace(search.abort_handle()) {
            before.abort();
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let attention = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(search) = &attention.search {
            search.abort();
        }
    }
}

/// Writes a record for each app that has objects and none, so that the planner sees it.
async fn restore(
    k3s: &K3s,
    there: &BTreeSet<String>,
    targets: &BTreeSet<Target>,
) -> Result<(), K3sError> {
    let node = &k3s.settings.node;
    let found = search(k3s, &names::of_manifests(node), targets).await?;
    let mut apps: BTreeMap<AppName, Vec<Ref>> = BTreeMap::new();
    for (app, of) in found.into_iter().filter_map(|(app, of)| Some((app?, of))) {
        apps.entry(app).or_default().push(of);
    }
    for (app, refs) in apps {
        let Some(mut record) = blank(node, &app) else { continue };
        if there.contains(&record.name) {
            continue;
        }
        tracing::warn!(%app, objects = refs.len(), "the list of its objects is gone; writing it anew");
        record.refs = refs;
        calls::create_record(k3s, &record).await?;
    }
    Ok(())
}

/// What is written down of an app of which only its objects are known: no revision is this one.
fn blank(node: &NodeName, app: &AppName) -> Option<Record> {
    let slot = Slot { app: app.clone(), service: SERVICE.parse().ok()?, replica: 0 };
    Some(Record::new(node, &slot, Revision::from_bytes([0; 16])))
}

/// The objects of an app that has no record, by their labels.
pub(super) async fn of_app(
    k3s: &K3s,
    app: &AppName,
    targets: &BTreeSet<Target>,
) -> Result<Vec<Ref>, K3sError> {
    let labels = names::manifest_labels(&k3s.settings.node, app);
    let labels: Vec<_> =
        labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let found = search(k3s, &labels.join(","), targets).await?;
    Ok(found.into_iter().map(|(_, of)| of).collect())
}

/// What has these labels and fields that are Gnomon's, the first to be applied first.
async fn search(
    k3s: &K3s,
    labels: &str,
    targets: &BTreeSet<Target>,
) -> Result<Vec<(Option<AppName>, Ref)>, K3sError> {
    let node = &k3s.settings.node;
    let mut found = Vec::new();
    for target in places(&k3s.settings, targets) {
        let objects = match calls::list(k3s, &target, labels).await {
            // Where it may not look it has made nothing.
            Err(error) if matches!(error.code(), Some(403..=405)) => continue,
            objects => objects?,
        };
        let own = objects.iter().filter(|it| is_own(it));
        found.extend(own.filter_map(|it| {
            let name = text(it, "/metadata/name")?.to_owned();
            let (target, wanted, fields) = (target.clone(), String::new(), String::new());
            Some((names::read_app(node, it), Ref { target, name, wanted, fields }))
        }));
    }
    found.sort_by_key(|(_, of)| rank(&of.target));
    Ok(found)
}

/// Whether Gnomon applied an object, and removes it with its app. A copy that somebody made of one
/// has its labels, too.
fn is_own(object: &Value) -> bool {
    fields::is_known(object)
        && names::annotation(object, PRUNE) != Some("never")
        && object.pointer("/metadata/deletionTimestamp").is_none()
}

fn places(settings: &Settings, targets: &BTreeSet<Target>) -> BTreeSet<Target> {
    let one =
        |(api_version, kind, plural): (&str, &str, &str), namespace: Option<&String>| Target {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.cloned(),
        };
    let namespaces = || settings.manifests.namespaces.iter().chain([&settings.namespace]);
    let near = KINDS.into_iter().flat_map(|kind| namespaces().map(move |it| one(kind, Some(it))));
    let wide = WIDE.into_iter().map(|kind| one(kind, None));
    let wide = wide.filter(|it| settings.manifests.kinds.contains(&it.kind_and_group()));
    let others = targets.iter().filter(|it| it.kind_and_group() != "PersistentVolumeClaim");
    near.chain(wide).chain(others.cloned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::orchestrator::k3s::manifests::Permitted;

    #[test]
    fn a_record_that_went_without_being_given_up_is_missed_once() {
        let set = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
        let mut attention = Attention::default();
        assert!(attention.misses(&set(&["a", "b"]), &set(&[])), "one may be missing from before");
        assert!(!attention.misses(&set(&["a", "b"]), &set(&["b"])));
        assert!(!attention.misses(&set(&["a"]), &set(&[])), "it was given up");
        assert!(attention.misses(&set(&[]), &set(&[])));
        assert!(!attention.misses(&set(&[]), &set(&[])));
    }

    #[test]
    fn only_what_gnomon_applied_and_would_remove_is_taken_for_its_own() {
        let object = |manager: &str, more: Value| {
            let fields = [json!({ "manager": manager, "operation": "Apply", "fieldsV1": {} })];
            let mut metadata = json!({ "name": "a", "managedFields": fields });
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "metadata": metadata })
        };
        assert!(is_own(&object("gnomon", json!({}))));
        assert!(!is_own(&object("kubectl", json!({}))), "a copy by hand has the labels, too");
        assert!(!is_own(&object(
            "gnomon",
            json!({ "annotations": { "io.gnomon/prune": "never" } })
        )));
        assert!(!is_own(&object("gnomon", json!({ "deletionTimestamp": "2027-01-15T08:00:00Z" }))));
    }

    #[test]
    fn it_is_looked_where_the_node_may_have_made_something() {
        let mut settings = Settings::new("site-1".parse().unwrap());
        settings.manifests = Permitted {
            namespaces: ["monitoring".to_owned()].into(),
            kinds: ["Namespace".to_owned()].into(),
        };
        let places = places(&settings, &BTreeSet::new());
        let wide: Vec<_> = places.iter().filter(|it| it.namespace.is_none()).collect();
        assert_eq!(wide.len(), 1);
        assert_eq!(wide[0].kind, "Namespace");
        assert_eq!(places.len(), 1 + 2 * KINDS.len());
        assert!(places.iter().all(|it| it.kind != "PersistentVolumeClaim"), "they stay");
    }
}
