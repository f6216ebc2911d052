//! When each field of a half was last written: one stamp per leaf, in the order of the document,
//! runs of equal stamps kept once, so that a document written in one go costs one stamp.

use std::sync::Arc;

use gnomon_schemas::document::{Change, Document, Patch};
use gnomon_schemas::version::Version;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// When a field was written, and by which version of its half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The version of the half.
    pub version: Version,
    /// The date in milliseconds since 1970.
    pub unix_ms: u64,
}

/// The stamps of the leaves of one document. A leaf is whatever is not an object with members: an
/// array counts as one, since arrays are replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Run>")]
pub struct Times(Arc<[Run]>);

/// So many leaves in a row with one stamp: count, version, date.
type Run = (usize, u64, u64);

impl Default for Times {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl From<Vec<Run>> for Times {
    fn from(runs: Vec<Run>) -> Self {
        Self(runs.into())
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl Times {
    /// Every leaf of the document with the same stamp.
    pub fn all(document: &Document, stamp: Stamp) -> Self {
        let mut made = Made::default();
        made.push(leaves_in(document.as_object()), stamp);
        Self(made.0.into())
    }

    /// The stamps after `old` became `new`: what differs, and what the patch named, has `stamp`,
    /// everything else keeps its own.
    #[must_use]
    pub fn written(
        &self,
        old: &Document,
        new: &Document,
        named: Option<&Patch>,
        stamp: Stamp,
    ) -> Self {
        let mut walk = Walk { old: self.stamps(), made: Made::default(), stamp };
        walk.object(old.as_object(), new.as_object(), named);
        Self(walk.made.0.into())
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The stamps, leaf by leaf; of leaves that nothing is known of, the default one.
    pub fn stamps(&self) -> Stamps {
        Stamps { times: self.clone(), run: 0, used: 0 }
    }
}

/// Gives one stamp after the other, without end.
#[derive(Debug)]
pub struct Stamps {
    times: Times,
    run: usize,
    used: usize,
}

impl Stamps {
    /// The stamp of the next leaf.
    pub fn take(&mut self) -> Stamp {
        let Some(&(count, version, unix_ms)) = self.times.0.get(self.run) else {
            return Stamp::default();
        };
        self.used += 1;
        if self.used >= count {
            (self.run, self.used) = (self.run + 1, 0);
        }
        Stamp { version: Version(version), unix_ms }
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.take();
        }
    }
}

#[derive(Default)]
struct Made(Vec<Run>);

impl Made {
    fn push(&mut self, count: usize, stamp: Stamp) {
        let (version, unix_ms) = (stamp.version.0, stamp.unix_ms);
        match self.0.last_mut() {
            _ if count == 0 => {}
            Some(last) if (last.1, last.2) == (version, unix_ms) => last.0 += count,
            Some(_) | None => self.0.push((count, version, unix_ms)),
        }
    }
}

struct Walk {
    old: Stamps,
    made: Made,
    stamp: Stamp,
}

impl Walk {
    fn object(
        &mut self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        named: Option<&Patch>,
    ) {
        let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
        loop {
            match (before.peek(), after.peek()) {
                (None, None) => return,
                (Some((key, value)), next) if next.is_none_or(|(other, _)| key < other) => {
                    self.old.skip(leaves(value));
                    before.next();
                }
                (Some((key, old)), Some((other, new))) if key == other => {
                    let change = named.and_then(|patch| patch.changes().get(*key));
                    self.value(old, new, change);
                    before.next();
                    after.next();
                }
                (_, Some((_, value))) => {
                    self.made.push(leaves(value), self.stamp);
                    after.next();
                }
                (Some(_), None) => {
                    before.next();
                }
            }
        }
    }

    fn value(&mut self, old: &Value, new: &Value, change: Option<&Change>) {
        if let (Value::Object(before), Value::Object(after)) = (old, new)
            && !before.is_empty()
            && !after.is_empty()
        {
            let named = match change {
                Some(Change::Merge(patch)) => Some(patch),
                Some(Change::Remove | Change::Set(_)) | None => None,
            };
            return self.object(before, after, named);
        }
        if old == new && change.is_none() {
            let stamp = self.old.take();
            return self.made.push(1, stamp);
        }
        self.old.skip(leaves(old));
        self.made.push(leaves(new), self.stamp);
    }
}

fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(object) if !object.is_empty() => leaves_in(object),
        Value::Object(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => 1,
    }
}

fn leaves_in(object: &Map<String, Value>) -> usize {
    object.values().map(leaves).sum()
}
