//! The images on a node, as an orchestrator sees them, and when two names mean the same one. Pure.

use std::collections::BTreeSet;

/// Every image on the node, whoever brought it, and the room there is for more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSurvey {
    /// The images.
    pub images: Vec<FoundImage>,
    /// The disk they lie on, where it can be seen from here.
    pub disk: Option<Disk>,
}

/// One image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundImage {
    /// The orchestrator's id.
    pub id: String,
    /// Its names in their [`canonical`] form.
    pub names: BTreeSet<String>,
    /// Whether a container was made from it, running or not, of this node or not.
    pub in_use: bool,
}

/// The room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// What is free, in bytes.
    pub free: u64,
    /// What there is, in bytes.
    pub total: u64,
}

/// What became of an image that should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// It is not there (any more).
    Gone,
    /// A container needs it; it was left alone.
    InUse,
    /// Its name means another image than the one that was meant; it was left alone.
    Another,
}

impl ImageSurvey {
    /// The image that a reference means.
    pub fn find(&self, reference: &str) -> Option<&FoundImage> {
        let name = canonical(reference);
        self.images.iter().find(|image| image.names.contains(&name))
    }
}

impl Disk {
    /// Whether less than a tenth of it is free.
    pub const fn is_tight(self) -> bool {
        self.free < self.total / 10
    }
}

/// The long form of an image reference: equal for all that mean the same image.
///
/// ```
/// use gnomon_edge::orchestrator::images::canonical;
/// assert_eq!(canonical("busybox"), canonical("docker.io/library/busybox:latest"));
/// ```
pub fn canonical(reference: &str) -> String {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    let (host, path) = match name.split_once('/') {
        Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    let host = if host == "index.docker.io" { "docker.io" } else { host };
    let path = match path.strip_prefix("library/") {
        None if host == "docker.io" && !path.contains('/') => format!("library/{path}"),
        Some(_) | None => path,
    };
    let last = path.rfind('/').map_or(0, |at| at + 1);
    let tag = path.get(last..).and_then(|last| last.find(':')).map(|at| at + last);
    match (digest, tag) {
        (Some(digest), Some(tag)) => {
            format!("{host}/{}@{digest}", path.get(..tag).unwrap_or(&path))
        }
        (Some(digest), None) => format!("{host}/{path}@{digest}"),
        (None, Some(_)) => format!("{host}/{path}"),
        (None, None) => format!("{host}/{path}:latest"),
    }
}

/// The registry that a reference names, as `docker login` calls it.
pub fn registry(reference: &str) -> String {
    let name = canonical(reference);
    name.split_once('/').map_or_else(|| name.clone(), |(host, _)| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_the_same_image_have_one_long_form() {
        for (reference, long) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1", "docker.io/library/busybox:1"),
            ("docker.io/busybox:1", "docker.io/library/busybox:1"),
            ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
            ("team/app", "docker.io/team/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("r.example:5000/a/b", "r.example:5000/a/b:latest"),
            ("r.example:5000/a/b:2", "r.example:5000/a/b:2"),
            ("r.example/a:2@sha256:00", "r.example/a@sha256:00"),
            ("a@sha256:00", "docker.io/library/a@sha256:00"),
        ] {
            assert_eq!(canonical(reference), long, "{reference}");
            assert_eq!(canonical(long), long);
        }
        assert_eq!(registry("r.example:5000/a/b"), "r.example:5000");
        assert_eq!(registry("team/app"), "docker.io");
    }

    #[test]
    fn a_disk_is_tight_below_a_tenth() {
        assert!(!Disk { free: 10, total: 100 }.is_tight());
        assert!(Disk { free: 9, total: 100 }.is_tight());
    }
}
