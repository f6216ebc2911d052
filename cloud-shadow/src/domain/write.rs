//! Changing the `desired` half of a shadow, under a condition.

use std::sync::Arc;

use gnomon_schemas::app::{AppSpec, DocumentError};
use gnomon_schemas::document::{Document, Packed, Patch};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Half, Version};

use super::command::{
    Answer, Author, Change, Created, Done, Effect, Notice, Now, Precondition, Write,
};
use super::condition::FieldCondition;
use super::lazy::LazyDocument;
use super::node::Node;
use super::rejection::Rejection;
use super::secrets::{self, Unrestored};
use super::shadows::Accepted;

impl Node {
    /// Changes `desired`, or says why not.
    pub(super) fn write(
        &mut self,
        now: Now,
        by: &Author,
        write: Write,
        limit: usize,
    ) -> Result<Done, Rejection> {
        let Write { key, change, when, fields } = write;
        let held = self.writer.get(&key);
        let current = held.map_or(Version::ZERO, |held| held.version);
        self.check_conditions(&key, current, held.map(|held| held.document), when, &fields)?;
        let old = held.map(|held| Arc::new(held.document.unpack()));
        let (document, named) = match change {
            Change::Delete => (None, None),
            Change::Put(document) => (Some(reveal(&key, document, old.as_deref())?), None),
            Change::Patch(patch) => {
                let nothing = Document::new();
                let new = old.as_deref().unwrap_or(&nothing).apply(&patch);
                let new = new.map_err(Rejection::InvalidDocument)?;
                (Some(reveal(&key, new, old.as_deref())?), Some(patch))
            }
        };
        match &document {
            Some(document) => self.check(&key, document, limit)?,
            None if old.is_none() => {
                return Err(Rejection::UnknownShadow { node: self.name.clone(), key });
            }
            None => {}
        }
        Ok(self.change(now, by, Decided { key, document, named, old, current }))
    }

    fn check_conditions(
        &self,
        key: &ShadowKey,
        current: Version,
        document: Option<&Packed>,
        when: Precondition,
        fields: &[FieldCondition],
    ) -> Result<(), Rejection> {
        if !when.holds(current) {
            let (node, key) = (self.name.clone(), key.clone());
            return Err(Rejection::VersionConflict { node, key, current });
        }
        match fields.iter().find(|condition| !condition.holds(key, document)) {
            None => Ok(()),
            Some(failed) => {
                let (key, pointer) = (key.clone(), failed.pointer().clone());
                let condition = failed.relation().name();
                Err(Rejection::FieldConflict { key, pointer, condition, current })
            }
        }
    }

    fn check(&self, key: &ShadowKey, document: &Document, limit: usize) -> Result<(), Rejection> {
        if self.shadows.present() >= limit && !self.has(key) {
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
    fn change(&mut self, now: Now, by: &Author, decided: Decided) -> Done {
        let Decided { key, document, named, old, current } = decided;
        let document = document.map(LazyDocument::from);
        let version = match &document {
            Some(document) => Some(self.writer.put(now.moment, &key, document.packed().clone())),
            None => self.writer.delete(now.moment, &key),
        };
        let created = Created(old.is_none());
        if let Some(version) = version.filter(|version| *version != current) {
            let change = Accepted {
                key: &key,
                half: Half::Desired,
                version,
                before: old.as_deref(),
                after: document.as_ref(),
                named: named.as_ref(),
                by,
                unix_ms: now.unix_ms,
                present: document.is_some() || self.reader.get(&key).is_some(),
            };
            let (ops, change) = self.count(&change, old.clone(), document.clone());
            let answer = Answer::Shadow(Arc::clone(&change.view), created);
            let mut effects = self.drain(now, ops);
            effects.push(Effect::Notify(Notice::Shadow(change)));
            return Done { answer, effects };
        }
        let answer = Answer::Shadow(Arc::new(self.shadow(&key)), created);
        Done { answer, ..Done::NOTHING }
    }
}

/// A write that was found to be in order.
struct Decided {
    key: ShadowKey,
    document: Option<Document>,
    named: Option<Patch>,
    old: Option<Arc<Document>>,
    /// The version of `old`; zero: there is none.
    current: Version,
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
