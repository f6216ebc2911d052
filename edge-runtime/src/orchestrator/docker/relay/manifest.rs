//! What may be asked for while an image is pulled: what its manifests name, and nothing else. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The most parts of one image, and of one list.
const MOST: usize = 1024;

/// What is named so far.
#[derive(Debug, Default)]
pub(super) struct Named {
    manifests: BTreeSet<String>,
    blobs: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Part>,
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    digest: String,
    #[serde(default)]
    size: u64,
}

impl Named {
    /// Takes what a manifest names; what is none names nothing.
    pub(super) fn learn(&mut self, body: &[u8]) {
        let Ok(found) = serde_json::from_slice::<Manifest>(body) else { return };
        for part in found.manifests {
            if self.manifests.len() < MOST && is_digest(&part.digest) {
                self.manifests.insert(part.digest);
            }
        }
        for part in found.config.into_iter().chain(found.layers) {
            if self.blobs.len() < MOST && is_digest(&part.digest) {
                self.blobs.insert(part.digest, part.size);
            }
        }
    }

    /// Takes a manifest under another name of its own.
    pub(super) fn permit(&mut self, digest: &str) {
        if is_digest(digest) {
            self.manifests.insert(digest.to_owned());
        }
    }

    pub(super) fn has_manifest(&self, digest: &str) -> bool {
        self.manifests.contains(digest)
    }

    /// How many bytes a blob has, if it is named.
    pub(super) fn blob(&self, digest: &str) -> Option<u64> {
        self.blobs.get(digest).copied()
    }

    pub(super) fn blobs(&self) -> impl Iterator<Item = &str> {
        self.blobs.keys().map(String::as_str)
    }
}

/// Only this kind is in use, and fit to be the name of a file.
pub(super) fn is_digest(text: &str) -> bool {
    hex(text).len() == 64 && hex(text).bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digits of a digest.
pub(super) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_manifest_names_by_a_digest_is_known() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let mut named = Named::default();
        let text = format!(
            r#"{{"config": {{"digest": "{}", "size": 3}}, "layers": [{{"digest": "{}", "size": 9}},
               {{"digest": "../../etc/passwd", "size": 1}}, {{"digest": "sha256:AB", "size": 1}}]}}"#,
            digest("a"),
            digest("b")
        );
        named.learn(text.as_bytes());
        named.learn(format!(r#"{{"manifests": [{{"digest": "{}"}}]}}"#, digest("c")).as_bytes());
        named.learn(b"rubbish");
        assert_eq!(named.blob(&digest("a")), Some(3));
        assert_eq!(named.blob(&digest("b")), Some(9));
        assert_eq!(named.blobs().count(), 2);
        assert!(named.has_manifest(&digest("c")) && !named.has_manifest(&digest("a")));
        assert_eq!(named.blob(&digest("c")), None);
    }
}
