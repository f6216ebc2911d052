//! What support and workloads may see: everything but secrets. The contents of secrets and configs
//! and the values of environment variables go, their names and sizes stay; so do texts of the
//! commands, in which people should not put secrets either.

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_sync::Moment;
use serde_json::{Map, Value, json};

use super::Core;

/// A document without secrets; those of an app and of the node have places where they stand.
pub(super) fn document(key: &ShadowKey, document: &Packed) -> Value {
    let mut value = document.to_value();
    if key.app().is_some() {
        app(&mut value);
    } else if *key == ShadowKey::Node {
        members(value.get_mut("registries"), hide);
    }
    value
}

/// Takes the secrets out of the normal form of an app, or of what should be one.
fn app(spec: &mut Value) {
    for part in ["secrets", "configs"] {
        members(spec.get_mut(part), |resource| {
            members(Some(resource), hide);
        });
    }
    members(spec.get_mut("services"), |service| {
        members(service.get_mut("environment"), hide);
        members(service.get_mut("registry"), hide);
        members(service.get_mut("manifests"), hide);
    });
}

fn members(object: Option<&mut Value>, with: impl FnMut(&mut Value)) {
    match object {
        Some(Value::Object(members)) => members.values_mut().for_each(with),
        Some(other) => hide(other),
        None => {}
    }
}

fn hide(value: &mut Value) {
    let size = value.as_str().map_or_else(|| value.to_string().len(), str::len);
    *value = format!("[redacted, {size} bytes]").into();
}

impl Core {
    /// Everything that the core knows, for support.
    pub(super) fn diagnosis(&self, now: Moment) -> Value {
        let mut desired = Map::new();
        let mut reported = Map::new();
        if let Some(machines) = &self.machines {
            for (key, held) in machines.down.halves() {
                let half =
                    json!({ "version": held.version, "document": document(key, held.document) });
                desired.insert(key.to_string(), half);
            }
            for (key, held) in machines.up.halves() {
                let half = json!({ "version": held.version, "document": held.document.to_value() });
                reported.insert(key.to_string(), half);
            }
        }
        let decided = self.ledger.apps().map(|name| {
            let record = self.ledger.get(name);
            let revision = |app: Option<&crate::reconcile::DesiredApp>| {
                app.map(|app| json!({ "version": app.version, "revision": app.revision() }))
            };
            let bad = record.bad.as_ref();
            let value = json!({
                "good": revision(record.good.as_ref().map(|good| &good.app)),
                "good_images": record.good.as_ref().map(|good| &good.images),
                "given_up": bad.map(|bad| json!({ "version": bad.version,
                    "revision": bad.revision, "reason": bad.reason })),
                "held": revision(record.hold.as_ref().map(|held| &held.app)),
                "local": revision(record.local.as_ref().map(|local| &local.app)),
            });
            (name.to_string(), value)
        });
        let chosen = self.desired.apps.iter().map(|(name, chosen)| {
            let spec = chosen.spec.as_ref().map(|spec| {
                let mut spec = spec.to_value();
                app(&mut spec);
                spec
            });
            let value = json!({ "version": chosen.version, "revision": chosen.revision(),
                "spec": spec.as_ref().ok(), "refused": spec.as_ref().err() });
            (name.to_string(), value)
        });
        let timeout = self
            .poll_timeout()
            .map(|(at, why)| json!({ "in_ms": at.saturating_since(now).as_millis(), "why": why }));
        let memory = format!("{:#?}", self.attempts);
        json!({
            "status": self.status(now),
            "desired": desired,
            "reported": reported,
            "chosen": chosen.collect::<Map<_, _>>(),
            "decided_here": decided.collect::<Map<_, _>>(),
            "next_timeout": timeout,
            "memory": memory.lines().collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::document::Document;

    use super::*;

    fn packed(text: &[u8]) -> Packed {
        Document::parse(text).unwrap().into()
    }

    #[test]
    fn no_secret_is_left_and_the_names_are() {
        let text = r#"{
            "services": {"web": {"image": "i", "environment": {"TOKEN": "hunter2"}}, "odd": 3,
                "manifests": {"manifests": {"ConfigMap/a": {"data": {"a": "hunter2"}}}}},
            "secrets": {"key": {"content": "hunter2"}, "odd": "hunter2", "more": ["hunter2"]},
            "configs": {"c": {"content": "password = hunter2"}}
        }"#;
        let key: ShadowKey = "app/shop".parse().unwrap();
        let value = document(&key, &packed(text.as_bytes()));
        assert!(!value.to_string().contains("hunter2"), "{value}");
        assert_eq!(value["services"]["web"]["image"], "i");
        assert_eq!(value["secrets"]["key"]["content"], "[redacted, 7 bytes]");
        let node = packed(br#"{"registries": {"r": {"password": "hunter2"}}}"#);
        let value = document(&ShadowKey::Node, &node);
        assert!(!value.to_string().contains("hunter2") && value["registries"]["r"].is_string());
        let device: ShadowKey = "device/pump".parse().unwrap();
        let plain = packed(br#"{"secrets": 1}"#);
        assert_eq!(document(&device, &plain)["secrets"], 1);
    }
}
