//! The names and labels of Docker objects, both ways. Pure.
//!
//! Node and app names hold no dots and a replica and a digest none either, so two objects have the
//! same name only if they are the same.

use std::collections::HashMap;

use gnomon_schemas::app::{AppSpec, Revision};
use gnomon_schemas::id::{AppName, NodeName, ResourceName};

use crate::reconcile::model::Slot;

const NODE: &str = "io.gnomon.node";
const APP: &str = "io.gnomon.app";
const SERVICE: &str = "io.gnomon.service";
const REPLICA: &str = "io.gnomon.replica";
const DIGEST: &str = "io.gnomon.digest";
const REVISION: &str = "io.gnomon.revision";

pub(super) type Labels = HashMap<String, String>;

/// `gnomon-NODE.APP.SERVICE.REPLICA.DIGEST`.
pub(super) fn container_name(node: &NodeName, slot: &Slot, digest: Revision) -> String {
    let Slot { app, service, replica } = slot;
    format!("gnomon-{node}.{app}.{service}.{replica}.{}", digest.short())
}

/// `gnomon-NODE.APP`.
pub(super) fn network_name(node: &NodeName, app: &AppName) -> String {
    format!("gnomon-{node}.{app}")
}

/// `gnomon-NODE.APP.VOLUME`.
pub(super) fn volume_name(node: &NodeName, app: &AppName, volume: &ResourceName) -> String {
    format!("gnomon-{node}.{app}.{volume}")
}

/// The labels of an app's network and volumes.
pub(super) fn of_app(node: &NodeName, app: &AppName) -> Labels {
    labels(&[(NODE, node.as_str()), (APP, app.as_str())])
}

/// The labels of a container.
pub(super) fn of_instance(node: &NodeName, slot: &Slot, digest: Revision, app: &AppSpec) -> Labels {
    labels(&[
        (NODE, node.as_str()),
        (APP, slot.app.as_str()),
        (SERVICE, slot.service.as_str()),
        (REPLICA, &slot.replica.to_string()),
        (DIGEST, &digest.to_string()),
        (REVISION, &app.revision().to_string()),
    ])
}

/// The filter that lets only objects of a node through.
pub(super) fn filter_node(node: &NodeName) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{NODE}={node}")])])
}

/// The filter that lets only objects of an app of a node through.
pub(super) fn filter_app(node: &NodeName, app: &AppName) -> HashMap<String, Vec<String>> {
    let labels = vec![format!("{NODE}={node}"), format!("{APP}={app}")];
    HashMap::from([("label".to_owned(), labels)])
}

/// Which slot and digest a container belongs to, if it is one of this node.
pub(super) fn read_instance(node: &NodeName, labels: &Labels) -> Option<(Slot, Revision)> {
    let app = read_app(node, labels)?;
    let service = labels.get(SERVICE)?.parse().ok()?;
    let replica = labels.get(REPLICA)?.parse().ok()?;
    let digest = labels.get(DIGEST)?.parse().ok()?;
    Some((Slot { app, service, replica }, digest))
}

/// Which app an object belongs to, if it is one of this node.
pub(super) fn read_app(node: &NodeName, labels: &Labels) -> Option<AppName> {
    labels.get(NODE).filter(|of| *of == node.as_str())?;
    labels.get(APP)?.parse().ok()
}

/// Which app a volume belongs to, if it is one of this node. Docker keeps the labels of a volume in a
/// file that it does not sync: after a power cut they can be gone, and then the name says it.
pub(super) fn read_volume(node: &NodeName, name: &str, labels: &Labels) -> Option<AppName> {
    if !labels.is_empty() {
        return read_app(node, labels);
    }
    let (app, volume) = name.strip_prefix(&format!("gnomon-{node}."))?.split_once('.')?;
    volume.parse::<ResourceName>().ok()?;
    app.parse().ok()
}

fn labels(list: &[(&str, &str)]) -> Labels {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
    fn labels_are_read_as_they_were_written() {
        let digest = Revision::from_bytes([7; 16]);
        let labels = of_instance(&node(), &slot(), digest, &AppSpec::default());
        assert_eq!(read_instance(&node(), &labels), Some((slot(), digest)));
    }

    #[test]
    fn labels_of_another_node_or_that_are_damaged_are_foreign() {
        let digest = Revision::from_bytes([7; 16]);
        let labels = of_instance(&node(), &slot(), digest, &AppSpec::default());
        assert_eq!(read_instance(&"site-2".parse().unwrap(), &labels), None);
        for name in [NODE, APP, SERVICE, REPLICA, DIGEST] {
            let mut damaged = labels.clone();
            damaged.insert(name.to_owned(), "-".to_owned());
            assert_eq!(read_instance(&node(), &damaged), None, "{name}");
            damaged.remove(name);
            assert_eq!(read_instance(&node(), &damaged), None, "{name}");
        }
        assert_eq!(read_instance(&node(), &Labels::new()), None);
    }

    #[test]
    fn different_things_have_different_names() {
        let name = |app: &str, volume: &str| {
            volume_name(&node(), &app.parse().unwrap(), &volume.parse().unwrap())
        };
        assert_ne!(name("a-b", "c"), name("a", "b-c"));
        assert_eq!(name("a", "b"), "gnomon-site-1.a.b");
        let digest = Revision::from_bytes([0xab; 16]);
        assert_eq!(
            container_name(&node(), &slot(), digest),
            "gnomon-site-1.shop.web.front.2.abababababab"
        );
    }
}
