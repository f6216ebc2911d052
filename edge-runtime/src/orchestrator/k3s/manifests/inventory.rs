//! What an app of manifests has in the cluster, written down there before it is made: so that what is
//! not wanted any more is found also after a crash, and by another agent. Pure.

use std::collections::BTreeSet;

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::NodeName;
use serde_json::{Value, json};

use crate::orchestrator::k3s::names;
use crate::orchestrator::k3s::observe::text;
use crate::reconcile::model::{InstanceId, Slot};

/// The objects, as JSON.
const INVENTORY: &str = "io.gnomon/inventory";
const KIND: &str = "manifests";

/// A kind in a namespace, or of the whole cluster: what one watch tells of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::orchestrator::k3s) struct Target {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
}

/// An object of an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ref {
    pub(super) target: Target,
    pub(super) name: String,
    /// The digest of what was applied; empty if it is not known to be.
    pub(super) wanted: String,
    /// The digest of the fields that were Gnomon's then.
    pub(super) fields: String,
}

/// How far an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its objects are being applied, and others of it removed.
    Applying,
    /// They were.
    Applied,
    /// They are being removed.
    Removing,
    /// They were.
    Removed,
}

/// What is written down of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) slot: Slot,
    pub(super) digest: Revision,
    pub(super) phase: Phase,
    pub(super) refs: Vec<Ref>,
    /// See [`names::MENDED`].
    pub(super) mended: Option<String>,
}

impl Target {
    /// The kind with its group, as people write it.
    pub(super) fn kind_and_group(&self) -> String {
        match self.api_version.split_once('/') {
            Some((group, _)) => format!("{}.{group}", self.kind),
            None => self.kind.clone(),
        }
    }
}

impl Ref {
    /// What people call it.
    pub(super) fn label(&self) -> String {
        let Self { target: Target { kind, .. }, name, .. } = self;
        format!("{kind} {name}")
    }

    /// Whether both stand for the same object; its version does not matter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let group =
            |it: &Self| it.target.api_version.split_once('/').map(|(group, _)| group.to_owned());
        group(self) == group(other)
            && self.target.kind == other.target.kind
            && self.target.namespace == other.target.namespace
            && self.name == other.name
    }

    fn to_value(&self) -> Value {
        let Target { api_version, kind, plural, namespace } = &self.target;
        json!([api_version, kind, plural, namespace, self.name, self.wanted, self.fields])
    }

    fn read(value: &Value) -> Option<Self> {
        let part = |at: usize| value.get(at)?.as_str().map(str::to_owned);
        let target =
            Target { api_version: part(0)?, kind: part(1)?, plural: part(2)?, namespace: part(3) };
        Some(Self { target, name: part(4)?, wanted: part(5)?, fields: part(6)? })
    }
}

impl Phase {
    const ALL: [Self; 4] = [Self::Applying, Self::Applied, Self::Removing, Self::Removed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }
}

impl Record {
    /// That of a slot in which there is nothing yet.
    pub(super) fn new(node: &NodeName, slot: &Slot, digest: Revision) -> Self {
        let name = names::part(node, &slot.app, KIND, slot.service.as_str());
        Self {
            name,
            slot: slot.clone(),
            digest,
            phase: Phase::Applying,
            refs: Vec::new(),
            mended: None,
        }
    }

    /// The object in which it is written.
    #[expect(clippy::indexing_slicing, reason = "what is indexed was made as an object here")]
    pub(super) fn to_object(&self, node: &NodeName) -> Value {
        let mut annotations = names::about(node, &self.slot, self.digest);
        let refs: Value = self.refs.iter().map(Ref::to_value).collect();
        annotations[INVENTORY] = json!(refs.to_string());
        annotations[names::ASKED] = json!(self.phase.as_str());
        if let Some(mended) = &self.mended {
            annotations[names::MENDED] = json!(mended);
        }
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": self.name, "labels": names::labels(node), "annotations": annotations },
        })
    }

    /// Reads it; `None` for other objects, and those of other nodes.
    pub(super) fn read(node: &NodeName, object: &Value) -> Option<Self> {
        let written: Vec<Value> =
            serde_json::from_str(names::annotation(object, INVENTORY)?).ok()?;
        let (slot, digest) = names::read_instance(node, object)?;
        let asked = names::annotation(object, names::ASKED)?;
        Some(Self {
            name: text(object, "/metadata/name")?.to_owned(),
            slot,
            digest,
            phase: Phase::ALL.into_iter().find(|phase| phase.as_str() == asked)?,
            refs: written.iter().map(Ref::read).collect::<Option<_>>()?,
            mended: names::annotation(object, names::MENDED).map(str::to_owned),
        })
    }

    /// Whether its app has no objects any more.
    pub(super) fn is_removed(&self) -> bool {
        self.phase == Phase::Removed
    }

    pub(super) fn id(&self) -> InstanceId {
        InstanceId(format!("{KIND}/{}", self.name).into())
    }

    /// The name of the record of an instance; `None`: it is no instance of manifests.
    pub(in crate::orchestrator::k3s) fn of(id: &InstanceId) -> Option<&str> {
        id.0.split_once('/').filter(|(kind, _)| *kind == KIND).map(|(_, name)| name)
    }

    /// What is there and in `wanted` not any more; the last to be applied come first.
    pub(super) fn surplus(&self, wanted: &[Ref]) -> Vec<Ref> {
        let gone = self.refs.iter().filter(|it| !wanted.iter().any(|other| other.is_same(it)));
        let mut gone: Vec<_> = gone.cloned().collect();
        gone.sort_by_key(|it| std::cmp::Reverse(rank(&it.target)));
        gone
    }

    pub(super) fn targets(&self) -> BTreeSet<Target> {
        self.refs.iter().map(|it| it.target.clone()).collect()
    }
}

/// The lower, the earlier it is applied: what others need to exist comes before them.
pub(super) fn rank(target: &Target) -> usize {
    const FIRST: [&str; 17] = [
        "Namespace",
        "CustomResourceDefinition",
        "PriorityClass",
        "ResourceQuota",
        "LimitRange",
        "StorageClass",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "Secret",
        "ConfigMap",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "NetworkPolicy",
        "Service",
    ];
    const LAST: [&str; 3] =
        ["APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
    let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
    if group.contains('.') && !group.ends_with("k8s.io") {
        // Its controller, and what that asks before it takes one, come before it.
        return FIRST.len() + 2;
    }
    let first = FIRST.iter().position(|kind| *kind == target.kind);
    let is_last = LAST.contains(&target.kind.as_str());
    first.unwrap_or(if is_last { FIRST.len() + 1 } else { FIRST.len() })
}

/// Whether others can be applied only when it has become what it says.
pub(super) fn comes_first(target: &Target) -> bool {
    matches!(
        target.kind_and_group().as_str(),
        "Namespace" | "CustomResourceDefinition.apiextensions.k8s.io"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(api_version: &str, kind: &str, name: &str) -> Ref {
        let target = Target {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            namespace: Some("gnomon".to_owned()),
        };
        Ref { target, name: name.to_owned(), wanted: "w".to_owned(), fields: "f".to_owned() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_that_of_another_node_is_foreign() {
        let node: NodeName = "site-1".parse().unwrap();
        let slot = Slot {
            app: "shop".parse().unwrap(),
            service: "manifests".parse().unwrap(),
            replica: 0,
        };
        let mut record = Record::new(&node, &slot, Revision::from_bytes([7; 16]));
        record.refs = vec![object("apps/v1", "Deployment", "web")];
        record.refs[0].target.namespace = None;
        record.mended = Some("1 2".to_owned());
        for phase in Phase::ALL {
            record.phase = phase;
            let written = record.to_object(&node);
            assert_eq!(Record::read(&node, &written).as_ref(), Some(&record));
            assert_eq!(Record::read(&"site-2".parse().unwrap(), &written), None);
        }
        assert_eq!(Record::of(&record.id()), Some(record.name.as_str()));
        assert_eq!(Record::of(&InstanceId("job/a".into())), None);
    }

    #[test]
    fn what_left_an_app_goes_in_the_reverse_order_and_another_version_is_no_other_object() {
        let node: NodeName = "site-1".parse().unwrap();
        let slot = Slot { app: "a".parse().unwrap(), service: "m".parse().unwrap(), replica: 0 };
        let mut record = Record::new(&node, &slot, Revision::from_bytes([7; 16]));
        record.refs = vec![
            object("v1", "Namespace", "n"),
            object("apps/v1beta1", "Deployment", "web"),
            object("v1", "ConfigMap", "c"),
            object("example.com/v1", "Pump", "p"),
        ];
        let gone = record.surplus(&[object("apps/v1", "Deployment", "web")]);
        let names: Vec<_> = gone.iter().map(Ref::label).collect();
        assert_eq!(names, ["Pump p", "ConfigMap c", "Namespace n"]);
    }
}
