//! What is kept of an object that the cluster shows, and whether somebody else changed fields of it
//! that are Gnomon's. Pure. Fields that others add, and the defaults of the API server, are theirs.

use serde_json::{Value, json};

use super::mirror::Kind;
use super::names;
use super::observe::text;

/// Where the findings lie in what is kept of an object.
const FINDINGS: &str = "gnomon";

/// What is kept of an object: what is looked at later, and what was found in the rest.
pub(super) fn seen(kind: Kind, mut object: Value) -> Value {
    let findings = match kind {
        Kind::Deployment | Kind::Job | Kind::Service => Some(json!({
            "altered": altered(&object), "needs": needs(&object),
        })),
        Kind::ConfigMap | Kind::Secret | Kind::Claim | Kind::Pod => None,
    };
    let Some(fields) = object.as_object_mut() else { return object };
    if kind.is_by_name() {
        fields.retain(|name, _| name == "metadata");
    }
    let replicas = fields.get("spec").and_then(|spec| spec.get("replicas")).cloned();
    fields.remove("spec");
    if let Some(replicas) = replicas {
        fields.insert("spec".to_owned(), json!({ "replicas": replicas }));
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(names::APPLIED);
        }
    }
    if let Some(findings) = findings {
        fields.insert(FINDINGS.to_owned(), findings);
    }
    object
}

/// What somebody else changed of an object, as it was kept.
pub(super) fn found(kept: &Value) -> Option<&str> {
    kept.get(FINDINGS)?.get("altered")?.as_str()
}

/// The objects by kind and name that an object cannot do without, as it was kept.
pub(super) fn needed(kept: &Value) -> impl Iterator<Item = (Kind, &str)> {
    let needs = kept.get(FINDINGS).and_then(|it| it.get("needs")).and_then(Value::as_array);
    needs.into_iter().flatten().filter_map(|need| {
        let part = |at: usize| need.get(at).and_then(Value::as_str);
        Some((Kind::of(part(0)?)?, part(1)?))
    })
}

/// Says of an object what was applied to it, so that changes by others can be told; what steps
/// change is not part of it.
#[expect(clippy::indexing_slicing, reason = "an object of ours has metadata")]
pub(super) fn with_memory(mut object: Value) -> Value {
    let mut applied = object.get("spec").cloned().unwrap_or_default();
    if let Some(applied) = applied.as_object_mut() {
        applied.retain(|name, _| !matches!(name.as_str(), "replicas" | "suspend"));
    }
    object["metadata"]["annotations"][names::APPLIED] = json!(applied.to_string());
    object
}

/// Which field somebody else changed, and who, where that can be told.
pub(super) fn altered(object: &Value) -> Option<String> {
    let applied = applied(object)?;
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let path = match difference(&applied, spec) {
        Some(path) => format!("spec{path}"),
        None if spec.get("replicas").and_then(Value::as_i64).is_some_and(|count| count > 1) => {
            "spec.replicas".to_owned()
        }
        None => return None,
    };
    let by = changed_by(object).map_or_else(String::new, |by| format!(" by {by}"));
    Some(format!("{path} was changed{by}"))
}

fn applied(object: &Value) -> Option<Value> {
    serde_json::from_str(names::annotation(object, names::APPLIED)?).ok()
}

fn needs(object: &Value) -> Value {
    let applied = applied(object).unwrap_or_default();
    let volumes = applied.pointer("/template/spec/volumes").and_then(Value::as_array);
    let sources = [
        ("/configMap/name", Kind::ConfigMap),
        ("/secret/secretName", Kind::Secret),
        ("/persistentVolumeClaim/claimName", Kind::Claim),
    ];
    let need = |volume: &Value| {
        let found = sources.iter().find_map(|(path, kind)| Some((kind, text(volume, path)?)));
        found.map(|(kind, name)| json!([kind.name(), name]))
    };
    let mut needs: Vec<_> = volumes.into_iter().flatten().filter_map(need).collect();
    if applied.pointer("/template/spec/containers/0/ports/0").is_some()
        && let Some(service) = names::annotation(object, names::ADDRESS)
    {
        needs.push(json!([Kind::Service.name(), service]));
    }
    Value::Array(needs)
}

/// The path of the first part of `own` that `live` has not; `None`: it has all of it.
fn difference(own: &Value, live: &Value) -> Option<String> {
    match (own, live) {
        (Value::Object(own), Value::Object(live)) => own.iter().find_map(|(name, own)| {
            let other = live.get(name).unwrap_or(&Value::Null);
            difference(own, other).map(|rest| format!(".{name}{rest}"))
        }),
        (Value::Array(own), Value::Array(live)) if own.iter().any(Value::is_object) => {
            let has = |own: &Value| live.iter().any(|live| difference(own, live).is_none());
            let missing = own.iter().position(|own| !has(own))?;
            let named = own.get(missing).and_then(|it| text(it, "/name"));
            // The one of the same name tells more.
            let same = live.iter().find(|it| named.is_some() && text(it, "/name") == named);
            let within = same.and_then(|same| difference(own.get(missing)?, same));
            let named = named.map_or_else(|| missing.to_string(), ToOwned::to_owned);
            Some(format!("[{named}]{}", within.unwrap_or_default()))
        }
        (own, Value::Null) if is_empty(own) => None,
        (own, live) => (own != live).then(String::new),
    }
}

/// What the API server leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

/// Who last changed the wish of an object, beside Gnomon.
fn changed_by(object: &Value) -> Option<&str> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let others = entries.iter().filter(|entry| {
        text(entry, "/manager") != Some(names::MANAGER)
            && entry.pointer("/fieldsV1/f:spec").is_some_and(Value::is_object)
    });
    let newest = others.max_by_key(|entry| text(entry, "/time").unwrap_or_default())?;
    text(newest, "/manager")
}

#[cfg(test)]
mod tests;
