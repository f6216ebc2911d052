//! One shadow: its document and version, and what a request makes of it.

use gnomon_schemas::topic::{Response, ShadowId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Rejected, Request, Section, SectionChange, StateChange, Update, reply};

/// A shadow that is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Shadow {
    /// How many updates it has seen; deleted ones within 48 hours count on.
    #[serde(rename = "v")]
    pub version: u64,
    /// What is wanted; `None`: nothing.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Section>,
    /// What is the case; `None`: nothing is known.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Section>,
}

/// What is left of a deleted shadow for [`Grave::KEPT_S`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grave {
    /// The version that it had.
    #[serde(rename = "v")]
    pub version: u64,
    /// When it was deleted, in seconds since 1970.
    #[serde(rename = "t")]
    pub at_s: u64,
}

impl Grave {
    /// How long the version of a deleted shadow goes on.
    pub const KEPT_S: u64 = 48 * 60 * 60;

    /// Whether it no longer counts.
    pub const fn is_over(&self, now_s: u64) -> bool {
        now_s >= self.at_s.saturating_add(Self::KEPT_S)
    }
}

/// What there is of a shadow.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    /// Nothing.
    Absent,
    /// It was deleted.
    Deleted(Grave),
    /// It is there.
    Present(Shadow),
}

/// What a request made: the slot if it changed, and what is said, in its order. The last message
/// is the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decided {
    pub(super) next: Option<Slot>,
    pub(super) said: Vec<(Response, Vec<u8>)>,
    pub(super) answer: Vec<u8>,
}

impl Slot {
    /// Decides about a request, which changes nothing here.
    pub(super) fn decide(
        &self,
        id: &ShadowId,
        request: &Request,
        now_s: u64,
        document_bytes: usize,
    ) -> Result<Decided, Rejected> {
        let present = match self {
            Self::Present(shadow) => Some(shadow),
            Self::Absent | Self::Deleted(_) => None,
        };
        let there = || present.ok_or_else(|| Rejected::NoShadow(id.clone()));
        match request {
            Request::Get { token } => {
                let answer = reply::got(there()?, token.as_deref(), now_s);
                Ok(Decided { next: None, said: Vec::new(), answer })
            }
            Request::Delete { token } => {
                let version = there()?.version;
                let next = Some(Self::Deleted(Grave { version, at_s: now_s }));
                let answer = reply::deleted(version, token.as_deref(), now_s);
                Ok(Decided { next, said: Vec::new(), answer })
            }
            Request::Update(update) => {
                let shadow = self.update(present, update, now_s, document_bytes)?;
                let token = update.token.as_deref();
                let delta = reply::delta_of(&shadow, token, now_s);
                let documents = reply::documents(present, &shadow, token, now_s);
                let answer = reply::updated(update, shadow.version, now_s);
                let said = delta.map(|delta| (Response::Delta, delta)).into_iter();
                let said = said.chain([(Response::Documents, documents)]).collect();
                Ok(Decided { next: Some(Self::Present(shadow)), said, answer })
            }
        }
    }

    fn update(
        &self,
        present: Option<&Shadow>,
        update: &Update,
        now_s: u64,
        document_bytes: usize,
    ) -> Result<Shadow, Rejected> {
        if update.version.is_some() && update.version != present.map(|shadow| shadow.version) {
            return Err(Rejected::Conflict);
        }
        let before = match self {
            Self::Present(shadow) => shadow.version,
            Self::Deleted(grave) if !grave.is_over(now_s) => grave.version,
            Self::Deleted(_) | Self::Absent => 0,
        };
        let mut shadow = present.cloned().unwrap_or_default();
        let was = shadow.bytes();
        shadow.version = before.saturating_add(1);
        match &update.state {
            StateChange::Clear => (shadow.desired, shadow.reported) = (None, None),
            StateChange::Sections(sections) => {
                change(&mut shadow.desired, &sections.desired, now_s);
                change(&mut shadow.reported, &sections.reported, now_s);
            }
        }
        // What was allowed once may still shrink after the limit was lowered.
        if shadow.bytes() > document_bytes.max(was) {
            return Err(Rejected::TooLarge);
        }
        Ok(shadow)
    }
}

impl Shadow {
    /// When a field was last written, in seconds since 1970; `None`: there is none.
    pub fn written_s(&self) -> Option<u64> {
        let sections = [&self.desired, &self.reported].into_iter().flatten();
        sections.flat_map(|section| section.times.values()).filter_map(newest).max()
    }

    /// The size that the limit is about.
    pub fn bytes(&self) -> usize {
        [&self.desired, &self.reported].into_iter().flatten().map(Section::bytes).sum()
    }
}

/// The latest time below a place.
fn newest(times: &Value) -> Option<u64> {
    match times {
        Value::Object(object) => object.values().filter_map(newest).max(),
        Value::Array(items) => items.iter().filter_map(newest).max(),
        Value::Number(at_s) => at_s.as_u64(),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn change(section: &mut Option<Section>, change: &SectionChange, now_s: u64) {
    match change {
        SectionChange::Keep => {}
        SectionChange::Clear => *section = None,
        SectionChange::Merge(patch) => {
            let mut merged = section.take().unwrap_or_default();
            merged.merge(patch, now_s);
            *section = (!merged.is_empty()).then_some(merged);
        }
    }
}
