//! The documents that the service answers with. A member that has no value is left out.

use serde_json::{Map, Value, json};

use super::delta::delta;
use super::section::{stamp, stamp_all};
use super::{Rejected, Section, SectionChange, Shadow, StateChange, Update};

/// `…/rejected`.
pub fn rejected(rejected: &Rejected, token: Option<&str>, at: u64) -> Vec<u8> {
    let body = json!({ "code": rejected.code(), "message": rejected.to_string(), "timestamp": at });
    finish(body, token)
}

/// `get/accepted`.
pub(super) fn got(shadow: &Shadow, token: Option<&str>, at: u64) -> Vec<u8> {
    let mut body = snapshot(shadow);
    if let Some(delta) = shadow.delta()
        && let Some(state) = body.get_mut("state").and_then(Value::as_object_mut)
    {
        state.insert("delta".to_owned(), Value::Object(delta.state));
    }
    body.insert("timestamp".to_owned(), at.into());
    finish(Value::Object(body), token)
}

/// `update/accepted`: what was asked for, not what became of it.
pub(super) fn updated(update: &Update, version: u64, at: u64) -> Vec<u8> {
    let (state, metadata) = match &update.state {
        StateChange::Clear => (Value::Null, json!({ "timestamp": at })),
        StateChange::Sections(sections) => {
            let (mut state, mut metadata) = (Map::new(), Map::new());
            for (name, change) in [("desired", &sections.desired), ("reported", &sections.reported)]
            {
                let (value, times) = match change {
                    SectionChange::Keep => continue,
                    SectionChange::Clear => (Value::Null, stamp(&Value::Null, at)),
                    SectionChange::Merge(patch) => {
                        (Value::Object(patch.clone()), Value::Object(stamp_all(patch, at)))
                    }
                };
                state.insert(name.to_owned(), value);
                metadata.insert(name.to_owned(), times);
            }
            (Value::Object(state), Value::Object(metadata))
        }
    };
    let body = json!({ "state": state, "metadata": metadata, "version": version, "timestamp": at });
    finish(body, update.token.as_deref())
}

/// `update/delta`.
pub(super) fn delta_of(shadow: &Shadow, token: Option<&str>, at: u64) -> Option<Vec<u8>> {
    let delta = shadow.delta()?;
    let body = json!({
        "version": shadow.version, "timestamp": at, "state": delta.state, "metadata": delta.times,
    });
    Some(finish(body, token))
}

/// `update/documents`.
pub(super) fn documents(
    previous: Option<&Shadow>,
    current: &Shadow,
    token: Option<&str>,
    at: u64,
) -> Vec<u8> {
    let mut body = json!({ "current": snapshot(current), "timestamp": at });
    if let (Some(previous), Some(body)) = (previous, body.as_object_mut()) {
        body.insert("previous".to_owned(), Value::Object(snapshot(previous)));
    }
    finish(body, token)
}

/// `delete/accepted`.
pub(super) fn deleted(version: u64, token: Option<&str>, at: u64) -> Vec<u8> {
    finish(json!({ "version": version, "timestamp": at }), token)
}

impl Shadow {
    /// What of `desired` is not reported.
    pub fn delta(&self) -> Option<Section> {
        delta(self.desired.as_ref()?, self.reported.as_ref())
    }
}

fn snapshot(shadow: &Shadow) -> Map<String, Value> {
    let (mut state, mut metadata) = (Map::new(), Map::new());
    for (name, section) in [("desired", &shadow.desired), ("reported", &shadow.reported)] {
        let Some(section) = section else { continue };
        state.insert(name.to_owned(), Value::Object(section.state.clone()));
        metadata.insert(name.to_owned(), Value::Object(section.times.clone()));
    }
    let mut all = Map::new();
    all.insert("state".to_owned(), Value::Object(state));
    all.insert("metadata".to_owned(), Value::Object(metadata));
    all.insert("version".to_owned(), shadow.version.into());
    all
}

fn finish(mut body: Value, token: Option<&str>) -> Vec<u8> {
    if let (Some(token), Some(body)) = (token, body.as_object_mut()) {
        body.insert("clientToken".to_owned(), token.into());
    }
    body.to_string().into_bytes()
}
