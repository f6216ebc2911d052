//! Which image is meant, where it lies, and what it is called while it comes through the relay.
//! Pure.

use crate::orchestrator::images::canonical;

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The host as image references name it.
    pub(super) registry: String,
    /// The name within the registry.
    pub(super) repository: String,
    /// The tag, or the digest.
    pub(super) wanted: Wanted,
}

/// What of a repository is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Tag(String),
    Digest(String),
}

/// What the names of one node's relays begin with after the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(String);

impl Reference {
    pub(super) fn read(image: &str) -> Option<Self> {
        let name = canonical(image);
        let (registry, rest) = name.split_once('/')?;
        let (repository, wanted) = if let Some((repository, digest)) = rest.split_once('@') {
            (repository, Wanted::Digest(digest.to_owned()))
        } else {
            let (repository, tag) = rest.rsplit_once(':')?;
            (repository, Wanted::Tag(tag.to_owned()))
        };
        Some(Self { registry: registry.to_owned(), repository: repository.to_owned(), wanted })
    }

    /// The tag or digest as an address has it.
    pub(super) fn wanted(&self) -> &str {
        match &self.wanted {
            Wanted::Tag(text) | Wanted::Digest(text) => text,
        }
    }

    /// What the daemon is asked for.
    pub(super) fn through(&self, port: u16, key: &str) -> String {
        let place = format!("127.0.0.1:{port}/{key}/{}", self.repository);
        match &self.wanted {
            Wanted::Tag(tag) => format!("{place}:{tag}"),
            Wanted::Digest(digest) => format!("{place}@{digest}"),
        }
    }

    /// The host that speaks for the registry.
    pub(super) fn host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }
}

impl Mark {
    /// The mark of a node, by a digest of its name.
    pub(super) fn of(digest: &str) -> Self {
        Self(format!("gnomon-{}", digest.get(..16).unwrap_or(digest)))
    }

    /// The part of addresses that nobody else can guess.
    pub(super) fn key(&self, secret: &str) -> String {
        format!("{}-{secret}", self.0)
    }

    /// Whether a name is one that a relay of this node has left behind.
    pub(super) fn is_on(&self, name: &str) -> bool {
        let rest = name.strip_prefix("127.0.0.1:").and_then(|rest| rest.split_once('/'));
        rest.is_some_and(|(port, rest)| {
            let key = rest.strip_prefix(self.0.as_str());
            port.bytes().all(|it| it.is_ascii_digit()) && key.is_some_and(|it| it.starts_with('-'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_through_the_relay_keeps_repository_and_tag_or_digest() {
        let read = |image| Reference::read(image).unwrap();
        let hub = read("busybox");
        assert_eq!((hub.registry.as_str(), hub.host()), ("docker.io", "registry-1.docker.io"));
        assert_eq!(hub.through(7, "k"), "127.0.0.1:7/k/library/busybox:latest");
        let own = read("r.example:5000/a/b:1.2");
        assert_eq!((own.host(), own.wanted()), ("r.example:5000", "1.2"));
        assert_eq!(own.through(7, "k"), "127.0.0.1:7/k/a/b:1.2");
        let pinned = read("r.example/a:2@sha256:00");
        assert_eq!(pinned.wanted, Wanted::Digest("sha256:00".to_owned()));
        assert_eq!(pinned.through(7, "k"), "127.0.0.1:7/k/a@sha256:00");
    }

    #[test]
    fn only_names_of_this_node_are_taken_for_leftovers() {
        let mark = Mark::of("0123456789abcdef0123");
        let key = mark.key("ff");
        assert_eq!(key, "gnomon-0123456789abcdef-ff");
        assert!(mark.is_on(&format!("127.0.0.1:41234/{key}/a/b:1")));
        let other = Mark::of("ffff456789abcdef0123");
        assert!(!other.is_on(&format!("127.0.0.1:41234/{key}/a/b:1")));
        for name in ["127.0.0.1:5000/gnomon/a:1", "r.example/gnomon-0123456789abcdef-ff/a:1", "a:1"]
        {
            assert!(!mark.is_on(name), "{name}");
        }
    }
}
