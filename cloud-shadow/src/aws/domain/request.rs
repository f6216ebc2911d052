//! Reading what clients send, strictly: a request is taken as a whole or refused as a whole.

use gnomon_schemas::json;
use gnomon_schemas::topic::Operation;
use serde_json::{Map, Value};

use super::Rejected;

/// What a client asks for, well formed.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// The document.
    Get {
        /// Echoed in the answer.
        token: Option<String>,
    },
    /// A change.
    Update(Update),
    /// The end of the document.
    Delete {
        /// Echoed in the answer.
        token: Option<String>,
    },
}

/// A change of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// What changes.
    pub state: StateChange,
    /// Which version must be the current one.
    pub version: Option<u64>,
    /// Echoed in the answers.
    pub token: Option<String>,
}

impl Update {
    /// Whether it says nothing of `desired`.
    pub fn is_report(&self) -> bool {
        let StateChange::Sections(sections) = &self.state else { return false };
        sections.desired == SectionChange::Keep
    }
}

/// The request's `state`.
#[derive(Debug, Clone, PartialEq)]
pub enum StateChange {
    /// `null`: both sections go.
    Clear,
    /// Section by section.
    Sections(Sections),
}

/// What happens to each section.
#[derive(Debug, Clone, PartialEq)]
pub struct Sections {
    /// To `desired`.
    pub desired: SectionChange,
    /// To `reported`.
    pub reported: SectionChange,
}

/// What happens to one section.
#[derive(Debug, Clone, PartialEq)]
pub enum SectionChange {
    /// It is not in the request.
    Keep,
    /// `null`: it goes.
    Clear,
    /// This is merged into it.
    Merge(Map<String, Value>),
}

/// A request that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rejected}")]
pub struct Unread {
    /// Why.
    pub rejected: Rejected,
    /// Its client token, as far as that could be read.
    pub token: Option<String>,
}

impl From<Rejected> for Unread {
    fn from(rejected: Rejected) -> Self {
        Self { rejected, token: None }
    }
}

/// The most bytes of a request, as AWS limits every message.
const PAYLOAD: usize = 128 * 1024;
/// The most bytes of a client token.
const TOKEN: usize = 64;
/// The most levels of objects below a section.
const DEPTH: usize = 6;

impl Request {
    /// Reads the payload of an operation.
    pub fn read(operation: Operation, payload: &[u8]) -> Result<Self, Unread> {
        match operation {
            Operation::Get if payload.is_empty() => Ok(Self::Get { token: None }),
            Operation::Get => {
                let object = object(payload)?;
                Ok(Self::Get { token: token(&object)? })
            }
            Operation::Update => update(payload).map(Self::Update),
            Operation::Delete => Ok(Self::Delete { token: Self::token_in(payload) }),
        }
    }

    /// The client token in a payload, as far as it can be read.
    pub fn token_in(payload: &[u8]) -> Option<String> {
        token(&object(payload).ok()?).ok().flatten()
    }

    /// What is asked for.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Get { .. } => Operation::Get,
            Self::Update(_) => Operation::Update,
            Self::Delete { .. } => Operation::Delete,
        }
    }

    /// The client token.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Get { token } | Self::Delete { token } | Self::Update(Update { token, .. }) => {
                token.as_deref()
            }
        }
    }
}

fn object(payload: &[u8]) -> Result<Map<String, Value>, Rejected> {
    if payload.len() > PAYLOAD {
        return Err(Rejected::TooLarge);
    }
    if std::str::from_utf8(payload).is_err() {
        return Err(Rejected::Encoding);
    }
    match json::parse(payload) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Rejected::InvalidJson),
    }
}

fn token(object: &Map<String, Value>) -> Result<Option<String>, Rejected> {
    match object.get("clientToken") {
        None => Ok(None),
        Some(Value::String(token)) if token.len() <= TOKEN => Ok(Some(token.clone())),
        Some(_) => Err(Rejected::InvalidToken),
    }
}

fn update(payload: &[u8]) -> Result<Update, Unread> {
    let mut object = object(payload)?;
    let token = token(&object)?;
    let refuse = |rejected| Unread { rejected, token: token.clone() };
    let version = match object.get("version") {
        None => None,
        Some(version) => Some(version.as_u64().ok_or_else(|| refuse(Rejected::InvalidVersion))?),
    };
    let state = object.remove("state").ok_or_else(|| refuse(Rejected::MissingState))?;
    let state = state_change(state).map_err(refuse)?;
    Ok(Update { state, version, token })
}

fn state_change(state: Value) -> Result<StateChange, Rejected> {
    let mut state = match state {
        Value::Null => return Ok(StateChange::Clear),
        Value::Object(state) => state,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(Rejected::NotAnObject("State"));
        }
    };
    let desired = section("Desired", state.remove("desired"))?;
    let reported = section("Reported", state.remove("reported"))?;
    if !state.is_empty() {
        return Err(Rejected::InvalidNode);
    }
    Ok(StateChange::Sections(Sections { desired, reported }))
}

fn section(name: &'static str, value: Option<Value>) -> Result<SectionChange, Rejected> {
    let Some(value) = value else { return Ok(SectionChange::Keep) };
    match value {
        Value::Null => Ok(SectionChange::Clear),
        Value::Object(object) => {
            object.values().try_for_each(|value| check(value, 0, false))?;
            Ok(SectionChange::Merge(object))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Rejected::NotAnObject(name))
        }
    }
}

fn check(value: &Value, depth: usize, in_array: bool) -> Result<(), Rejected> {
    match value {
        Value::Object(_) if depth >= DEPTH => Err(Rejected::TooDeep),
        Value::Object(object) => {
            object.values().try_for_each(|value| check(value, depth + 1, in_array))
        }
        Value::Array(items) => items.iter().try_for_each(|item| check(item, depth, true)),
        Value::Null if in_array => Err(Rejected::InvalidNode),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}
