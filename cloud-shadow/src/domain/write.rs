//! Changing the `desired` half of a shadow, under a condition.

use gnomon_schemas::app::{AppSpec, DocumentError};
use gnomon_schemas::document::Document;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Half, Version};

use super::command::{Answer, Change, Created, Done, Now, Precondition};
use super::node::Node;
use super::rejection::Rejection;
use super::secrets::{self, Unrestored};

impl Node {
    /// Changes `desired`, or says why not.
    pub(super) fn write(
        &mut self,
        now: Now,
        key: &ShadowKey,
        change: Change,
        when: Precondition,
        limit: usize,
    ) -> Result<Done, Rejection> {
        let current = self.writer.get(key).map_or(Version::ZERO, |held| held.version);
        if !when.holds(current) {
            let (node, key) = (self.name.clone(), key.clone());
            return Err(Rejection::VersionConflict { node, key, current });
        }
        let old = self.writer.get(key).map(|held| &**held.document);
        let document = match change {
            Change::Delete => None,
            Change::Put(document) => Some(reveal(key, document, old)?),
            Change::Patch(patch) => {
                let new = old.map_or_else(|| Document::new().apply(&patch), |d| d.apply(&patch));
                Some(reveal(key, new.map_err(Rejection::InvalidDocument)?, old)?)
            }
        };
        match &document {
            Some(document) => self.check(key, document, limit)?,
            None if current == Version::ZERO => {
                return Err(Rejection::UnknownShadow { node: self.name.clone(), key: key.clone() });
            }
            None => {}
        }
        Ok(self.change(now, key, document, current))
    }

    fn check(&self, key: &ShadowKey, document: &Document, limit: usize) -> Result<(), Rejection> {
        let is_new = self.writer.get(key).is_none() && self.reader.get(key).is_none();
        if is_new && self.shadows.present() >= limit {
            return Err(Rejection::LimitReached { what: "shadows", limit });
        }
        if key.app().is_none() {
            return Ok(());
        }
        AppSpec::from_document(&document.to_value())
            .map(drop)
            .map_err(|reason| Rejection::InvalidApp { key: key.clone(), reason: Box::new(reason) })
    }

    /// Makes a change that was found to be in order; one that changes nothing has no effects.
    fn change(
        &mut self,
        now: Now,
        key: &ShadowKey,
        document: Option<Document>,
        current: Version,
    ) -> Done {
        let version = match document {
            Some(document) => Some(self.writer.put(now.moment, key, document)),
            None => self.writer.delete(now.moment, key),
        };
        let mut effects = Vec::new();
        if version != Some(current) {
            let (ops, notice) = self.count(now, key, Half::Desired);
            effects = self.drain(now, ops);
            effects.push(notice);
        }
        let created = Created(current == Version::ZERO);
        Done { answer: Answer::Shadow(Box::new(self.shadow(key)), created), effects }
    }
}

/// The document of an app with the contents of those secrets that it leaves as they are.
fn reveal(key: &ShadowKey, new: Document, old: Option<&Document>) -> Result<Document, Rejection> {
    if key.app().is_none() {
        return Ok(new);
    }
    secrets::restore(new, old).map_err(|error| match error {
        Unrestored::Document(error) => Rejection::InvalidDocument(error),
        Unrestored::Unknown(ref name) => {
            let path = format!("secrets.{name}.content");
            let reason = Box::new(DocumentError::Shape { path, reason: error.to_string() });
            Rejection::InvalidApp { key: key.clone(), reason }
        }
    })
}

impl Precondition {
    const fn holds(self, current: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Version(version) => version.0 == current.0,
            Self::Present => current.0 != 0,
            Self::Absent => current.0 == 0,
        }
    }
}
