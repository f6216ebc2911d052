//! One Kubernetes object that a service is made of: taken as its author wrote it, and checked only
//! for what would mean another thing than it says. What its fields mean the API server knows.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::SecretText;

/// An object with `apiVersion`, `kind` and `metadata.name`. What a Secret holds is not in it, see
/// [`super::ServiceSpec::manifest_secrets`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest(Value);

/// Why an object is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFlaw {
    /// It is no object at all, or one of its parts is none.
    #[error("must be a Kubernetes object: a mapping with `apiVersion`, `kind` and `metadata.name`")]
    NoObject,
    /// A part is missing or is not a text.
    #[error("needs `{0}`, a text")]
    Missing(&'static str),
    /// A part could not stand in an address of the API.
    #[error("has a bad `{0}`: Kubernetes has no such names")]
    BadName(&'static str),
    /// Each application would make another object.
    #[error("has `metadata.generateName`; give it a `metadata.name`")]
    GeneratedName,
    /// It was read from a cluster.
    #[error("has `metadata.{0}`, which a cluster wrote; take it out")]
    FromCluster(&'static str),
    /// It is a list.
    #[error("is a list; write its items as objects of their own")]
    List,
    /// It has labels or annotations of ours.
    #[error(
        "labels and annotations that begin with `io.gnomon/` are reserved, but for the annotation `io.gnomon/prune: never`"
    )]
    Reserved,
    /// It is a part of a Helm chart.
    #[error(
        "is a Helm hook; a chart cannot be applied so: render it first, `helm template --no-hooks NAME CHART`, and see docs/k3s.md"
    )]
    Hook,
    /// A list has `null` in it.
    #[error("has a list with `null` in it")]
    NullInList,
    /// A Secret has its data in the open.
    #[error(
        "is a Secret with its data in the open; they belong into `secrets`, named by `manifest_secrets`"
    )]
    OpenSecret,
    /// The named secret does not hold the data of a Secret.
    #[error("is a Secret whose data are not a JSON object of texts in base64")]
    BadSecret,
    /// `manifest_secrets` names what is no Secret.
    #[error("has data in `manifest_secrets` and is no Secret")]
    NotASecret,
    /// It stands at another key than its own.
    #[error("must stand at the key `{0}`")]
    WrongKey(String),
}

/// The annotation that keeps an object when its app does not have it any more.
pub const PRUNE: &str = "io.gnomon/prune";
const RESERVED: &str = "io.gnomon/";
const FROM_CLUSTER: [&str; 5] =
    ["uid", "resourceVersion", "generation", "managedFields", "deletionTimestamp"];

impl Manifest {
    /// Takes an object as it was written; what says nothing (`null`, `status`, a creation time)
    /// is left out, so that equal objects are equal.
    pub fn new(mut object: Value) -> Result<Self, ManifestFlaw> {
        without_nulls(&mut object)?;
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("creationTimestamp");
            metadata.remove("selfLink");
        }
        let manifest = Self(object);
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what every cluster would refuse, or take for something else.
    pub fn check(&self) -> Result<(), ManifestFlaw> {
        let Some(metadata) = self.0.get("metadata").and_then(Value::as_object) else {
            return Err(ManifestFlaw::NoObject);
        };
        self.check_names(metadata)?;
        if let Some(field) = FROM_CLUSTER.iter().find(|field| metadata.contains_key(**field)) {
            return Err(ManifestFlaw::FromCluster(field));
        }
        for part in ["labels", "annotations"] {
            let Some(texts) = metadata.get(part) else { continue };
            let texts = texts.as_object().ok_or(ManifestFlaw::NoObject)?;
            if texts.contains_key("helm.sh/hook") {
                return Err(ManifestFlaw::Hook);
            }
            let is_known = |name: &str, value: &Value| {
                part == "annotations" && name == PRUNE && value.as_str() == Some("never")
            };
            if texts.iter().any(|(name, it)| name.starts_with(RESERVED) && !is_known(name, it)) {
                return Err(ManifestFlaw::Reserved);
            }
        }
        let is_open = ["data", "stringData"].iter().any(|part| self.0.get(*part).is_some());
        if self.is_secret() && is_open {
            return Err(ManifestFlaw::OpenSecret);
        }
        has_no_null(&self.0)
    }

    fn check_names(&self, metadata: &Map<String, Value>) -> Result<(), ManifestFlaw> {
        let text = |part: &'static str| {
            let found = self.0.get(part).and_then(Value::as_str);
            found.ok_or(ManifestFlaw::Missing(part))
        };
        let (api_version, kind) = (text("apiVersion")?, text("kind")?);
        let is_part = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
        };
        let parts: Vec<_> = api_version.split('/').collect();
        if parts.len() > 2 || api_version.len() > 253 || !parts.into_iter().all(is_part) {
            return Err(ManifestFlaw::BadName("apiVersion"));
        }
        if kind.len() > 63 || !is_part(kind) {
            return Err(ManifestFlaw::BadName("kind"));
        }
        if kind.ends_with("List") && self.0.get("items").is_some() {
            return Err(ManifestFlaw::List);
        }
        if metadata.contains_key("generateName") {
            return Err(ManifestFlaw::GeneratedName);
        }
        let name = metadata.get("name").and_then(Value::as_str);
        let name = name.ok_or(ManifestFlaw::Missing("metadata.name"))?;
        let is_name = |name: &str| {
            !matches!(name, "" | "." | "..")
                && name.len() <= 253
                && !name.contains(['/', '%'])
                && name.chars().all(|c| c.is_ascii_graphic())
        };
        if !is_name(name) {
            return Err(ManifestFlaw::BadName("metadata.name"));
        }
        match metadata.get("namespace") {
            None => Ok(()),
            Some(Value::String(space)) if space.len() <= 63 && is_part(space) => Ok(()),
            Some(_) => Err(ManifestFlaw::BadName("metadata.namespace")),
        }
    }

    /// What it stands for: kind, group, namespace if it names one, and name, such as
    /// `Deployment.apps/web`.
    ///
    /// ```
    /// use gnomon_schemas::app::Manifest;
    /// let object = serde_json::json!({
    ///     "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
    /// });
    /// assert_eq!(Manifest::new(object).unwrap().key(), "Deployment.apps/web");
    /// ```
    pub fn key(&self) -> String {
        let space = self.namespace().map_or_else(String::new, |space| format!("{space}/"));
        format!("{}/{space}{}", self.kind_and_group(), self.name())
    }

    /// Such as `Deployment.apps`; of the core group the kind alone.
    pub fn kind_and_group(&self) -> String {
        let group = self.group();
        if group.is_empty() { self.kind().to_owned() } else { format!("{}.{group}", self.kind()) }
    }

    /// Such as `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Such as `Deployment`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The namespace that it names.
    pub fn namespace(&self) -> Option<&str> {
        self.0.pointer("/metadata/namespace").and_then(Value::as_str)
    }

    /// Whether it is a Secret of Kubernetes.
    pub fn is_secret(&self) -> bool {
        self.kind() == "Secret" && self.api_version() == "v1"
    }

    /// The object, without what a Secret holds.
    pub const fn as_value(&self) -> &Value {
        &self.0
    }

    /// The object with what it holds, if it is a Secret; the caller keeps it from being printed.
    pub fn whole(&self, content: Option<&SecretText>) -> Result<Value, ManifestFlaw> {
        let mut object = self.0.clone();
        if let (Some(content), Some(fields)) = (content, object.as_object_mut()) {
            let data: BTreeMap<String, String> =
                serde_json::from_str(content.expose()).map_err(|_| ManifestFlaw::BadSecret)?;
            fields.insert("data".to_owned(), json!(data));
        }
        Ok(object)
    }

    fn text(&self, path: &str) -> &str {
        self.0.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({})", self.key())
    }
}

fn without_nulls(value: &mut Value) -> Result<(), ManifestFlaw> {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().try_for_each(without_nulls)
        }
        Value::Array(items) if items.iter().any(Value::is_null) => Err(ManifestFlaw::NullInList),
        Value::Array(items) => items.iter_mut().try_for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn has_no_null(value: &Value) -> Result<(), ManifestFlaw> {
    match value {
        Value::Null => Err(ManifestFlaw::NullInList),
        Value::Object(members) => members.values().try_for_each(has_no_null),
        Value::Array(items) => items.iter().try_for_each(has_no_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } })
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let mut padded = object();
        padded["status"] = json!({});
        padded["data"] = Value::Null;
        padded["metadata"]["creationTimestamp"] = Value::Null;
        assert_eq!(Manifest::new(padded), Manifest::new(object()));
    }

    #[test]
    fn what_would_mean_another_thing_is_refused() {
        let with = |path: &str, value: Value| {
            let mut changed = object();
            let (parent, name) = path.rsplit_once('/').unwrap();
            let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            parent.insert(name.to_owned(), value);
            Manifest::new(changed).unwrap_err()
        };
        assert_eq!(with("/metadata/uid", json!("1")), ManifestFlaw::FromCluster("uid"));
        assert_eq!(with("/metadata/generateName", json!("a-")), ManifestFlaw::GeneratedName);
        assert_eq!(with("/metadata/name", json!("../x")), ManifestFlaw::BadName("metadata.name"));
        assert_eq!(with("/metadata/name", json!(3)), ManifestFlaw::Missing("metadata.name"));
        assert_eq!(
            with("/metadata/namespace", json!("a/b")),
            ManifestFlaw::BadName("metadata.namespace")
        );
        assert_eq!(with("/apiVersion", json!("a/b/c")), ManifestFlaw::BadName("apiVersion"));
        assert_eq!(
            with("/metadata/labels", json!({ "io.gnomon/app": "x" })),
            ManifestFlaw::Reserved
        );
        let hook = json!({ "helm.sh/hook": "pre-install" });
        assert_eq!(with("/metadata/annotations", hook), ManifestFlaw::Hook);
        assert_eq!(with("/list", json!([1, null])), ManifestFlaw::NullInList);
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" },
            "stringData": { "key": "hunter2" } });
        assert_eq!(Manifest::new(secret), Err(ManifestFlaw::OpenSecret));
        assert_eq!(Manifest::new(json!([])), Err(ManifestFlaw::NoObject));
    }

    #[test]
    fn a_secret_is_whole_only_on_its_way_to_the_cluster() {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } });
        let secret = Manifest::new(secret).unwrap();
        let whole = secret.whole(Some(&SecretText::new(r#"{"key":"aHVudGVyMg=="}"#))).unwrap();
        assert_eq!(whole["data"]["key"], "aHVudGVyMg==");
        let bad = secret.whole(Some(&SecretText::new("hunter2"))).unwrap_err();
        assert!(!format!("{bad} {bad:?} {secret:?}").contains("hunter2"));
    }
}
