//! The names, labels and annotations of Kubernetes objects, both ways. Pure.
//!
//! A label holds at most 63 characters, so labels hold digests, to select by, and annotations hold
//! the truth.

use std::collections::BTreeMap;

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::{AppName, NodeName};
use serde_json::{Value, json};

use super::mirror::Kind;
use crate::reconcile::model::{InstanceId, Slot};

/// Who owns the fields that Gnomon sets.
pub(super) const MANAGER: &str = "gnomon";
const OWNER: &str = "io.gnomon/owner";
pub(super) const INSTANCE: &str = "io.gnomon/instance";
const SERVICE: &str = "io.gnomon/service";
/// The label of what apps of manifests consist of: whose node.
const MANIFEST: &str = "io.gnomon/manifest";
/// The label that says of which app it is.
pub(super) const APP: &str = "io.gnomon/app";
const PULL: &str = "io.gnomon/pull";
const NODE: &str = "io.gnomon/node";
const ABOUT: &str = "io.gnomon/about";
/// What was last asked of a workload: absent, `started`, or `stopped` with the code of the end, if
/// that was seen.
pub(super) const ASKED: &str = "io.gnomon/asked";
/// What was applied to an object, as JSON.
pub(super) const APPLIED: &str = "io.gnomon/applied";
/// The Service by which a workload is reached.
pub(super) const ADDRESS: &str = "io.gnomon/address";
/// How often lately, and when last, changes by others were taken back.
pub(super) const MENDED: &str = "io.gnomon/mended";
/// How long a health check may fail after the start, in milliseconds.
pub(super) const WINDOW: &str = "io.gnomon/health-window-ms";

/// The kinds of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    Deployment,
    Job,
}

impl Workload {
    pub(super) const ALL: [Self; 2] = [Self::Deployment, Self::Job];

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Job => "Job",
        }
    }

    pub(super) const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment => "apps/v1",
            Self::Job => "batch/v1",
        }
    }

    pub(super) const fn followed(self) -> Kind {
        match self {
            Self::Deployment => Kind::Deployment,
            Self::Job => Kind::Job,
        }
    }

    pub(super) fn id(self, name: &str) -> InstanceId {
        InstanceId(format!("{}/{name}", self.kind().to_lowercase()).into())
    }

    pub(super) fn of(id: &InstanceId) -> Option<(Self, &str)> {
        let (kind, name) = id.0.split_once('/')?;
        let kind = Self::ALL.into_iter().find(|it| it.kind().eq_ignore_ascii_case(kind))?;
        Some((kind, name))
    }
}

/// The name of what runs in a slot in a revision; different for different nodes.
pub(super) fn instance(node: &NodeName, slot: &Slot, digest: Revision) -> String {
    let Slot { app, service, replica } = slot;
    let all = json!([node.as_str(), app.as_str(), service.as_str(), replica, digest.to_string()]);
    format!("{}-{}-{replica}-{}", plain(app.as_str()), plain(service.as_str()), short(&all))
}

/// The name of something that an app has beside its workloads.
pub(super) fn part(node: &NodeName, app: &AppName, what: &str, name: &str) -> String {
    let all = json!([node.as_str(), app.as_str(), what, name]);
    format!("{}-{}-{}", plain(app.as_str()), plain(name), short(&all))
}

/// The name by which a service is reached in the cluster.
pub(super) fn address(node: &NodeName, slot: &Slot) -> String {
    part(node, &slot.app, "service", slot.service.as_str())
}

/// The labels of everything.
pub(super) fn labels(node: &NodeName) -> Value {
    json!({ OWNER: owner(node), "app.kubernetes.io/managed-by": "gnomon" })
}

/// The labels of a workload and its pods.
pub(super) fn instance_labels(node: &NodeName, slot: &Slot, name: &str) -> Value {
    json!({
        OWNER: owner(node), "app.kubernetes.io/managed-by": "gnomon",
        INSTANCE: name, SERVICE: service(node, slot),
    })
}

/// What the pods of a service have in common.
pub(super) fn service_selector(node: &NodeName, slot: &Slot) -> Value {
    json!({ SERVICE: service(node, slot) })
}

fn service(node: &NodeName, slot: &Slot) -> String {
    short(&json!([node.as_str(), slot.app.as_str(), slot.service.as_str()]))
}

/// Selects everything of a node.
pub(super) fn of_node(node: &NodeName) -> String {
    format!("{OWNER}={}", owner(node))
}

/// The labels of the objects of an app of manifests.
pub(super) fn manifest_labels(node: &NodeName, app: &AppName) -> BTreeMap<&'static str, String> {
    [(MANIFEST, owner(node)), (APP, short(&json!([node.as_str(), app.as_str()])))].into()
}

/// Selects the objects of all apps of manifests of a node.
pub(super) fn of_manifests(node: &NodeName) -> String {
    format!("{MANIFEST}={}", owner(node))
}

/// Of which app of manifests an object is.
pub(super) fn app_label(object: &Value) -> Option<&str> {
    label(object, APP)
}

/// The annotations of a workload.
pub(super) fn about(node: &NodeName, slot: &Slot, digest: Revision) -> Value {
    let Slot { app, service, replica } = slot;
    let about = json!({
        "app": app.as_str(), "service": service.as_str(), "replica": replica,
        "digest": digest.to_string(),
    });
    json!({ NODE: node.as_str(), ABOUT: about.to_string() })
}

/// The annotations of something that an app has beside its workloads.
pub(super) fn about_app(node: &NodeName, app: &AppName) -> Value {
    json!({ NODE: node.as_str(), ABOUT: json!({ "app": app.as_str() }).to_string() })
}

/// Which slot and digest a workload belongs to, if it is one of this node.
pub(super) fn read_instance(node: &NodeName, object: &Value) -> Option<(Slot, Revision)> {
    let about = read(node, object)?;
    let text = |key: &str| about.get(key).and_then(Value::as_str);
    let (app, service) = (text("app")?.parse().ok()?, text("service")?.parse().ok()?);
    let replica = u16::try_from(about.get("replica")?.as_u64()?).ok()?;
    Some((Slot { app, service, replica }, text("digest")?.parse().ok()?))
}

/// Which app an object belongs to, if it is one of this node.
pub(super) fn read_app(node: &NodeName, object: &Value) -> Option<AppName> {
    read(node, object)?.get("app")?.as_str()?.parse().ok()
}

/// Whether an object has the label of this node.
pub(super) fn is_own(node: &NodeName, object: &Value) -> bool {
    label(object, OWNER) == Some(owner(node).as_str())
}

/// The name of the workload that a pod belongs to.
pub(super) fn instance_of(pod: &Value) -> Option<&str> {
    label(pod, INSTANCE)
}

/// The Secret with a node's credentials for registries.
pub(super) fn registries(node: &NodeName) -> String {
    format!("gnomon-registries-{}", owner(node))
}

/// The name of the pod that fetches an image.
pub(super) fn pull(node: &NodeName, image: &str) -> String {
    format!("gnomon-pull-{}", short(&json!([node.as_str(), image])))
}

#[expect(clippy::indexing_slicing, reason = "labels are an object")]
pub(super) fn pull_labels(node: &NodeName) -> Value {
    let mut labels = labels(node);
    labels[PULL] = json!("true");
    labels
}

/// Whether a pod is there to fetch an image.
pub(super) fn is_pull(pod: &Value) -> bool {
    label(pod, PULL).is_some()
}

fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}

/// An annotation of an object.
pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

fn read(node: &NodeName, object: &Value) -> Option<Value> {
    annotation(object, NODE).filter(|of| *of == node.as_str())?;
    serde_json::from_str(annotation(object, ABOUT)?).ok()
}

fn owner(node: &NodeName) -> String {
    short(&json!(node.as_str()))
}

fn short(value: &Value) -> String {
    Revision::of(value).short()
}

/// What of a name may be part of a DNS label; the digest behind it tells equal ones apart.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = name.chars().map(plain).take(16).collect();
    let text = text.trim_matches('-');
    if text.starts_with(|c: char| c.is_ascii_lowercase()) {
        text.to_owned()
    } else {
        format!("x{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeName {
        "site-1".parse().unwrap()
    }

    fn slot() -> Slot {
        let (app, service) = ("shop".parse().unwrap(), "web.front".parse().unwrap());
        Slot { app, service, replica: 2 }
    }

    #[test]
    fn annotations_are_read_as_they_were_written_and_those_of_another_node_are_foreign() {
        let digest = Revision::from_bytes([7; 16]);
        let object = json!({ "metadata": { "annotations": about(&node(), &slot(), digest) } });
        assert_eq!(read_instance(&node(), &object), Some((slot(), digest)));
        assert_eq!(read_instance(&"site-2".parse().unwrap(), &object), None);
        assert_eq!(read_instance(&node(), &json!({})), None);
    }

    #[test]
    fn names_are_dns_labels_and_differ_where_what_they_name_differs() {
        let digest = Revision::from_bytes([7; 16]);
        let name = instance(&node(), &slot(), digest);
        assert!(name.len() <= 63 && name.starts_with("shop-web-front-2-"), "{name}");
        let mut names = std::collections::BTreeSet::from([name]);
        assert!(names.insert(instance(&"site-2".parse().unwrap(), &slot(), digest)));
        assert!(names.insert(instance(&node(), &Slot { replica: 1, ..slot() }, digest)));
        assert!(names.insert(instance(&node(), &slot(), Revision::from_bytes([8; 16]))));
        assert_eq!(plain("9_Lives"), "x9-lives");
    }

    #[test]
    fn the_id_of_a_workload_names_its_kind() {
        let id = Workload::Job.id("a");
        assert_eq!(Workload::of(&id), Some((Workload::Job, "a")));
        assert_eq!(Workload::of(&InstanceId("0123456789ab".into())), None);
    }
}
