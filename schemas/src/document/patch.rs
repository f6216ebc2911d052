//! A patch: what `merge` adds to a document. RFC 7396 in JSON; one step richer inside, so that
//! two patches always compose into one.

use std::collections::BTreeMap;

use ciborium::Value as Cbor;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{InvalidDocument, Place, ReadDocumentError, check_object};
use crate::cbor::{self, Canonical, CborError};
use crate::json;

/// The CBOR tag of an object that replaces instead of merging (unassigned at IANA; "gn").
const REPLACE_TAG: u64 = 0x676e;

/// A set of changes to the members of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patch(pub(super) BTreeMap<String, Change>);

/// What happens to one member.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The member goes away.
    Remove,
    /// The member becomes this value, whatever it was.
    Set(Value),
    /// The member, or `{}` where it is no object, is patched in turn.
    Merge(Patch),
}

/// A patch breaks the same rules that a document can break.
pub type InvalidPatch = InvalidDocument;

impl Patch {
    /// The patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads an RFC 7396 merge patch from JSON text.
    pub fn parse(text: &[u8]) -> Result<Self, ReadDocumentError> {
        Ok(Self::from_value(json::parse(text)?)?)
    }

    /// Takes an RFC 7396 merge patch; `null` removes a member and may not stand inside an array.
    pub fn from_value(value: Value) -> Result<Self, InvalidPatch> {
        let Value::Object(mut object) = value else {
            return Err(InvalidDocument::NotAnObject);
        };
        check_object(&mut object, &Place::default(), true)?;
        Ok(Self::from_object(object))
    }

    /// The JSON form (RFC 7396); `None` if a member is replaced by a whole object, which RFC 7396
    /// cannot say. What [`super::diff`] makes always has one.
    pub fn to_value(&self) -> Option<Value> {
        let member = |(key, change): (&String, &Change)| {
            let value = match change {
                Change::Remove => Value::Null,
                Change::Set(Value::Object(_)) => return None,
                Change::Set(value) => value.clone(),
                Change::Merge(patch) => patch.to_value()?,
            };
            Some((key.clone(), value))
        };
        self.0.iter().map(member).collect::<Option<Map<_, _>>>().map(Value::Object)
    }

    /// Reads the CBOR form.
    pub fn from_cbor(item: Cbor) -> Result<Self, ReadDocumentError> {
        Self::from_cbor_at(item, &Place::default())
    }

    /// The CBOR form: `null` removes, a map merges, a map under tag 0x676e replaces.
    pub fn to_cbor(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Whether the patch has no changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes by member.
    pub const fn changes(&self) -> &BTreeMap<String, Change> {
        &self.0
    }

    /// One patch with the effect of this one and then `next`.
    #[must_use]
    pub fn compose(mut self, next: Self) -> Self {
        for (key, change) in next.0 {
            let composed = match self.0.remove(&key) {
                Some(first) => first.compose(change),
                None => change,
            };
            self.0.insert(key, composed);
        }
        self
    }

    fn from_object(object: Map<String, Value>) -> Self {
        let change = |value| match value {
            Value::Null => Change::Remove,
            Value::Object(inner) => Change::Merge(Self::from_object(inner)),
            value @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Change::Set(value)
            }
        };
        Self(object.into_iter().map(|(key, value)| (key, change(value))).collect())
    }

    fn from_cbor_at(item: Cbor, place: &Place<'_>) -> Result<Self, ReadDocumentError> {
        let Cbor::Map(entries) = item else {
            return Err(InvalidDocument::NotAnObject.into());
        };
        let mut changes = BTreeMap::new();
        for (key, item) in entries {
            let key = key.into_text().map_err(|_| CborError::NotJson("key that is no text"))?;
            let change = Change::from_cbor(item, &place.member(&key))?;
            if changes.insert(key.clone(), change).is_some() {
                return Err(CborError::DuplicateKey(key).into());
            }
        }
        Ok(Self(changes))
    }
}

impl Change {
    fn compose(self, next: Self) -> Self {
        match (self, next) {
            (Self::Merge(first), Self::Merge(second)) => Self::Merge(first.compose(second)),
            (Self::Set(value), Self::Merge(patch)) => {
                Self::Set(super::algebra::merge_value(Some(&value), &patch))
            }
            (Self::Remove, Self::Merge(patch)) => {
                Self::Set(super::algebra::merge_value(None, &patch))
            }
            (_, last @ (Self::Remove | Self::Set(_))) => last,
        }
    }

    fn from_cbor(item: Cbor, place: &Place<'_>) -> Result<Self, ReadDocumentError> {
        if item.is_null() {
            return Ok(Self::Remove);
        }
        if item.is_map() {
            return Patch::from_cbor_at(item, place).map(Self::Merge);
        }
        let mut value = if let Cbor::Tag(REPLACE_TAG, inner) = item {
            cbor::to_json(*inner)?
        } else {
            cbor::to_json(item)?
        };
        super::check_value(&mut value, place, false)?;
        Ok(Self::Set(value))
    }
}

impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by(|(a, _), (b, _)| cbor::key_order(a, b));
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (key, change) in entries {
            map.serialize_entry(key, change)?;
        }
        map.end()
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Remove => serializer.serialize_unit(),
            Self::Set(value @ Value::Object(_)) => {
                ciborium::tag::Required::<_, REPLACE_TAG>(Canonical(value)).serialize(serializer)
            }
            Self::Set(value) => Canonical(value).serialize(serializer),
            Self::Merge(patch) => patch.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_inside_an_array_is_refused() {
        assert!(Patch::from_value(json!({"a": null})).is_ok());
        let error = Patch::from_value(json!({"a": [null]})).unwrap_err();
        assert_eq!(error, InvalidDocument::Null { at: "/a/0".to_owned() });
    }

    #[test]
    fn composing_over_a_removal_replaces() {
        let remove = Patch::from_value(json!({"k": null})).unwrap();
        let merge = Patch::from_value(json!({"k": {"a": 1}})).unwrap();
        let both = remove.compose(merge);
        assert_eq!(both.changes().get("k"), Some(&Change::Set(json!({"a": 1}))));
        assert_eq!(both.to_value(), None);
    }

    #[test]
    fn bottomless_cbor_is_refused() {
        let mut bytes = [0xa1, 0x61, b'x'].repeat(crate::limits::DOCUMENT_DEPTH * 2);
        bytes.push(0x01);
        assert!(cbor::decode(&bytes).is_err());
    }
}
