//! What a shadow of a thing was before: every accepted version as the step back to the one before it,
//! so that any version is reached from the present state by going back. The rows are
//! `aws/h/<thing>/<shadow>`, a zero byte, the version in eight bytes, and whether it is the end of it.

use gnomon_schemas::id::ThingShadowName;
use gnomon_schemas::topic::ShadowId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rows::LIFT;
use super::{Section, Shadow, Slot};
use crate::rows::{ReadRowError, put, record, unreadable};
use crate::store::Op;

#[cfg(test)]
mod laws;

/// The prefix of every row.
pub const THING_PAST: &[u8] = b"aws/h/";

/// After how many versions those that are too many go.
const UNCUT: u64 = 16;

/// What stands behind the name in a key: a zero byte, the version, the end.
const TAIL: usize = 1 + size_of::<u64>() + 1;

/// The sections of a shadow, by their names.
pub type State = Map<String, Value>;

/// A version, and whether it is its end: a deletion has the version of what it deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The version.
    pub version: u64,
    /// Whether the shadow was deleted at it.
    pub is_end: bool,
}

/// An accepted version, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastEntry {
    /// When it was accepted, in milliseconds since 1970.
    #[serde(rename = "t")]
    pub at_ms: u64,
    /// Who wrote it.
    #[serde(rename = "b")]
    pub by: String,
    /// The merge patch that makes the state before of this one; `None`: there was none.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<State>,
}

/// An accepted version, with what it made and what was before.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRevision {
    /// Which version.
    pub mark: Mark,
    /// When it was accepted, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who wrote it.
    pub by: String,
    /// What it made; `None`: it is the end.
    pub state: Option<State>,
    /// What was before; `None`: nothing.
    pub before: Option<State>,
}

impl PastRevision {
    /// What it changed, as a merge patch on what was before.
    pub fn patch(&self) -> State {
        let nothing = State::new();
        let of = |state: &Option<State>| state.clone().unwrap_or_else(|| nothing.clone());
        diff(&of(&self.before), &of(&self.state))
    }
}

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) by: &'a str,
    pub(super) at_ms: u64,
    /// How many versions are kept.
    pub(super) keep: usize,
}

/// The changes of the store that remember a step.
pub(super) fn step(id: &ShadowId, before: &Slot, after: &Slot, written: Written<'_>) -> Vec<Op> {
    let mark = match after {
        Slot::Present(shadow) => Mark { version: shadow.version, is_end: false },
        Slot::Deleted(grave) => Mark { version: grave.version, is_end: true },
        Slot::Absent => return Vec::new(),
    };
    let mut ops = Vec::new();
    if matches!(before, Slot::Deleted(_)) && mark.version == 1 {
        ops.push(forget(id));
    }
    let undo = shadow_in(before).map(|shadow| undo(shadow_in(after), shadow));
    let (at_ms, by) = (written.at_ms, written.by.to_owned());
    ops.push(put(key_of(id, mark), &PastEntry { at_ms, by, undo }));
    if mark.version.is_multiple_of(UNCUT) {
        ops.push(Op::Trim { prefix: past_of(id), keep: written.keep });
    }
    ops
}

/// The changes of the store that forget all of a shadow's past.
pub(super) fn forget(id: &ShadowId) -> Op {
    Op::DeletePrefix { prefix: past_of(id) }
}

/// The prefix of a shadow's rows.
pub fn past_of(id: &ShadowId) -> Vec<u8> {
    let name = id.shadow.as_ref().map_or("", ThingShadowName::as_str);
    [THING_PAST, id.thing.as_str().as_bytes(), b"/", name.as_bytes(), b"\0"].concat()
}

fn key_of(id: &ShadowId, mark: Mark) -> Vec<u8> {
    [past_of(id).as_slice(), &mark.version.to_be_bytes(), &[u8::from(mark.is_end)]].concat()
}

/// What all rows of one shadow begin with, of the key of a row.
pub fn past_half(key: &[u8]) -> &[u8] {
    key.get(..key.len().saturating_sub(TAIL)).unwrap_or_default()
}

/// When a version was accepted, and whether it is the end.
pub fn past_age(key: &[u8], value: &[u8]) -> Result<(u64, bool), ReadRowError> {
    let (mark, entry) = past_entry(key, value)?;
    Ok((entry.at_ms, mark.is_end))
}

/// The version of a row, and what is kept of it.
pub fn past_entry(key: &[u8], value: &[u8]) -> Result<(Mark, PastEntry), ReadRowError> {
    let tail = key.strip_prefix(past_half(key)).unwrap_or_default();
    let mark = match tail {
        [0, version @ .., end @ (0 | 1)] => version
            .try_into()
            .ok()
            .map(|bytes| Mark { version: u64::from_be_bytes(bytes), is_end: *end == 1 }),
        _ => None,
    };
    Ok((mark.ok_or_else(|| unreadable(key))?, record(key, value)?))
}

/// Goes back from what there is of a shadow through its entries, newest first. Those that came later
/// than what was seen are left out; without the newest one nothing can be told.
pub fn unfold_past(
    seen: &Slot,
    entries: impl IntoIterator<Item = (Mark, PastEntry)>,
) -> impl Iterator<Item = PastRevision> {
    let newest = match seen {
        Slot::Present(shadow) => Some(Mark { version: shadow.version, is_end: false }),
        Slot::Deleted(grave) => Some(Mark { version: grave.version, is_end: true }),
        Slot::Absent => None,
    };
    let mut state = shadow_in(seen).map(state_of);
    let is_seen = move |(mark, _): &(Mark, PastEntry)| newest.is_some_and(|seen| *mark <= seen);
    let mut entries = entries.into_iter().filter(is_seen).peekable();
    let fits = entries.peek().zip(newest).is_some_and(|((mark, _), seen)| {
        // A restore has put the shadow ahead of its own past.
        mark.is_end == seen.is_end
            && (mark.version == seen.version || mark.version.saturating_add(LIFT) <= seen.version)
    });
    let mut entries = fits.then_some(entries).into_iter().flatten();
    std::iter::from_fn(move || {
        let (mark, PastEntry { at_ms, by, undo }) = entries.next()?;
        let before = undo.map(|undo| {
            let mut before = state.clone().unwrap_or_default();
            merge(&mut before, &undo);
            before
        });
        let state = std::mem::replace(&mut state, before.clone());
        Some(PastRevision { mark, at_ms, by, state, before })
    })
}

const fn shadow_in(slot: &Slot) -> Option<&Shadow> {
    match slot {
        Slot::Present(shadow) => Some(shadow),
        Slot::Absent | Slot::Deleted(_) => None,
    }
}

fn sections(shadow: &Shadow) -> [(&'static str, Option<&Section>); 2] {
    [("desired", shadow.desired.as_ref()), ("reported", shadow.reported.as_ref())]
}

/// The state of a shadow, without times.
pub fn state_of(shadow: &Shadow) -> State {
    let present = |(name, section): (&str, Option<&Section>)| {
        Some((name.to_owned(), Value::Object(section?.state.clone())))
    };
    sections(shadow).into_iter().filter_map(present).collect()
}

/// The merge patch that makes the state before of the one after, without copying what is the same.
fn undo(after: Option<&Shadow>, before: &Shadow) -> State {
    let Some(after) = after else { return state_of(before) };
    let mut patch = State::new();
    for ((name, after), (_, before)) in sections(after).into_iter().zip(sections(before)) {
        let step = match (after, before) {
            (None, None) => continue,
            (Some(_), None) => Value::Null,
            (None, Some(before)) => Value::Object(before.state.clone()),
            (Some(after), Some(before)) if after.state == before.state => continue,
            (Some(after), Some(before)) => Value::Object(diff(&after.state, &before.state)),
        };
        patch.insert(name.to_owned(), step);
    }
    patch
}

/// The merge patch from one state to another; neither has a null.
fn diff(from: &State, to: &State) -> State {
    let gone = from.keys().filter(|key| !to.contains_key(*key));
    let mut patch: State = gone.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in to {
        let step = match (from.get(key), value) {
            (Some(held), _) if held == value => continue,
            (Some(Value::Object(held)), Value::Object(value)) => Value::Object(diff(held, value)),
            _ => value.clone(),
        };
        patch.insert(key.clone(), step);
    }
    patch
}

/// Merges a patch (RFC 7396).
fn merge(state: &mut State, patch: &State) {
    for (key, step) in patch {
        match (step, state.get_mut(key)) {
            (Value::Null, _) => drop(state.remove(key)),
            (Value::Object(patch), Some(Value::Object(held))) => merge(held, patch),
            (Value::Object(patch), _) => {
                let mut made = State::new();
                merge(&mut made, patch);
                state.insert(key.clone(), Value::Object(made));
            }
            _ => drop(state.insert(key.clone(), step.clone())),
        }
    }
}
