//! Which kinds the API server serves: asked once for each group and version, and again when a kind is
//! wanted that was not there. What a `CustomResourceDefinition` of the same app defines is known from it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use gnomon_schemas::app::Manifest;
use serde_json::Value;

use crate::orchestrator::k3s::observe::text;
use crate::orchestrator::k3s::{K3s, K3sError, api};

/// What has to be possible with a kind.
const VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// A kind as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) plural: String,
    pub(super) is_namespaced: bool,
    /// What of it is not possible and would have to be.
    lacks: Option<&'static str>,
}

type Kinds = BTreeMap<String, Served>;

#[derive(Debug, Default)]
pub(super) struct Discovery(
    /// By `apiVersion`. Touched for moments.
    Mutex<BTreeMap<String, Kinds>>,
);

impl Discovery {
    pub(super) async fn find(&self, k3s: &K3s, manifest: &Manifest) -> Result<Served, K3sError> {
        let (api_version, kind) = (manifest.api_version(), manifest.kind());
        let known = |all: &BTreeMap<String, Kinds>| all.get(api_version)?.get(kind).cloned();
        let known = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let found = if known.is_some() {
            known
        } else {
            let kinds = ask(k3s, api_version).await?;
            let found = kinds.get(kind).cloned();
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(api_version.to_owned(), kinds);
            found
        };
        let served = found.ok_or_else(|| K3sError::NotServed {
            kind: kind.to_owned(),
            api_version: api_version.to_owned(),
        })?;
        match served.lacks {
            None => Ok(served),
            Some(verb) => Err(K3sError::Unfitting {
                what: format!("{kind} {}", manifest.name()),
                why: format!("the API server cannot {verb} objects of its kind"),
            }),
        }
    }
}

async fn ask(k3s: &K3s, api_version: &str) -> Result<Kinds, K3sError> {
    let client = k3s.client().await?;
    let doing = format!("tell the kinds of {api_version}");
    let told = if api_version.contains('/') {
        api::within(doing, client.list_api_group_resources(api_version)).await
    } else {
        api::within(doing, client.list_core_api_resources(api_version)).await
    };
    let told = match k3s.heard(told).await {
        // Nobody serves the group; a definition may bring it.
        Err(error) if error.code() == Some(404) => return Ok(Kinds::new()),
        told => told?,
    };
    let whole = told.resources.into_iter().filter(|it| !it.name.contains('/'));
    let kinds = whole.map(|it| {
        let lacks = VERBS.into_iter().find(|verb| !it.verbs.iter().any(|other| other == verb));
        (it.kind, Served { plural: it.name, is_namespaced: it.namespaced, lacks })
    });
    Ok(kinds.collect())
}

/// The kinds that the definitions among some manifests define, by `apiVersion` and kind.
pub(super) fn defined<'a>(
    manifests: impl Iterator<Item = &'a Manifest>,
) -> BTreeMap<(String, String), Served> {
    let definitions = manifests
        .filter(|it| it.kind_and_group() == "CustomResourceDefinition.apiextensions.k8s.io");
    let kinds = definitions.flat_map(|it| {
        let object = it.as_value();
        let part = |path| text(object, path).unwrap_or_default().to_owned();
        let served = Served {
            plural: part("/spec/names/plural"),
            is_namespaced: part("/spec/scope") == "Namespaced",
            lacks: None,
        };
        let (group, kind) = (part("/spec/group"), part("/spec/names/kind"));
        let versions = object.pointer("/spec/versions").and_then(Value::as_array);
        let versions = versions.into_iter().flatten().filter_map(|it| text(it, "/name"));
        versions
            .map(|version| ((format!("{group}/{version}"), kind.clone()), served.clone()))
            .collect::<Vec<_>>()
    });
    kinds.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_definition_defines_is_known_from_it() {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "pumps.example.com" },
            "spec": { "group": "example.com", "scope": "Cluster", "versions": [{ "name": "v1" }],
                "names": { "kind": "Pump", "plural": "pumps" } },
        });
        let definition = Manifest::new(definition).unwrap();
        let found = defined(std::iter::once(&definition));
        let pump = Served { plural: "pumps".to_owned(), is_namespaced: false, lacks: None };
        let key = ("example.com/v1".to_owned(), "Pump".to_owned());
        assert_eq!(found, [(key, pump)].into());
    }
}
