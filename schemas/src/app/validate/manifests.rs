//! The checks of a service that consists of Kubernetes objects.

use std::collections::BTreeMap;

use super::{Kind, Problems, limits};
use crate::app::{AppSpec, ManifestFlaw, ServiceSpec};

pub(super) fn check(app: &AppSpec, service: &ServiceSpec, path: &str, found: &mut Problems) {
    let rest = ServiceSpec {
        manifests: BTreeMap::new(),
        manifest_secrets: BTreeMap::new(),
        depends_on: BTreeMap::new(),
        ..service.clone()
    };
    if rest != ServiceSpec::default() {
        found.add(path, Kind::NotOnlyManifests);
    }
    let path = format!("{path}.manifests");
    found.count(path.as_str(), service.manifests.len(), limits::MANIFESTS);
    for (key, manifest) in &service.manifests {
        let flaw = manifest.check().err();
        let flaw = flaw.or_else(|| {
            let own = manifest.key();
            (own != *key).then_some(ManifestFlaw::WrongKey(own))
        });
        if let Some(flaw) = flaw {
            found.add(format!("{path}.{key}"), Kind::Manifest(flaw));
        }
    }
    for (key, name) in &service.manifest_secrets {
        let here = format!("{path}.{key}");
        let secret = service.manifests.get(key).filter(|manifest| manifest.is_secret());
        let Some(secret) = secret else {
            found.add(here, Kind::Manifest(ManifestFlaw::NotASecret));
            continue;
        };
        match app.secrets.get(name) {
            None => found.add(here, Kind::Undeclared { what: "secret", name: name.to_string() }),
            Some(held) => {
                if let Err(flaw) = secret.whole(Some(&held.content)) {
                    found.add(here, Kind::Manifest(flaw));
                }
            }
        }
    }
}
