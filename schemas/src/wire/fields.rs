//! Reading a CBOR map with integer keys, field by field, each failure named.

use std::collections::BTreeMap;

use ciborium::Value as Cbor;
use serde::{Serialize, Serializer};

use super::{DecodeError, LIST_ENTRIES};
use crate::cbor::CborError;
use crate::key::ShadowKey;

/// The fields of one map, each taken once; what remains is from a newer minor version.
pub(super) struct Fields(BTreeMap<u64, Cbor>);

impl Fields {
    pub(super) fn of(item: Cbor) -> Result<Self, DecodeError> {
        let entries = item.into_map().map_err(|_| DecodeError::WrongType("message"))?;
        let mut fields = BTreeMap::new();
        for (key, value) in entries {
            let Some(key) = key.as_integer().and_then(|key| u64::try_from(key).ok()) else {
                continue;
            };
            if fields.insert(key, value).is_some() {
                return Err(CborError::DuplicateKey(key.to_string()).into());
            }
        }
        Ok(Self(fields))
    }

    pub(super) fn optional(&mut self, tag: u64) -> Option<Cbor> {
        self.0.remove(&tag)
    }

    pub(super) fn take(&mut self, tag: u64, name: &'static str) -> Result<Cbor, DecodeError> {
        self.optional(tag).ok_or(DecodeError::Missing(name))
    }

    pub(super) fn u64(&mut self, tag: u64, name: &'static str) -> Result<u64, DecodeError> {
        u64(&self.take(tag, name)?, name)
    }

    pub(super) fn small<T: TryFrom<u64>>(
        &mut self,
        tag: u64,
        name: &'static str,
    ) -> Result<T, DecodeError> {
        small(&self.take(tag, name)?, name)
    }

    pub(super) fn bytes16(
        &mut self,
        tag: u64,
        name: &'static str,
    ) -> Result<[u8; 16], DecodeError> {
        bytes16(&self.take(tag, name)?, name)
    }

    pub(super) fn list<T>(
        &mut self,
        tag: u64,
        name: &'static str,
        read: fn(Cbor) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let items = self.take(tag, name)?.into_array();
        let items = items.map_err(|_| DecodeError::WrongType(name))?;
        let (len, limit) = (items.len(), LIST_ENTRIES);
        if len > limit {
            return Err(DecodeError::TooMany { field: name, len, limit });
        }
        items.into_iter().map(read).collect()
    }
}

pub(super) fn u64(item: &Cbor, name: &'static str) -> Result<u64, DecodeError> {
    let integer = item.as_integer().ok_or(DecodeError::WrongType(name))?;
    u64::try_from(integer).map_err(|_| DecodeError::WrongType(name))
}

pub(super) fn small<T: TryFrom<u64>>(item: &Cbor, name: &'static str) -> Result<T, DecodeError> {
    T::try_from(u64(item, name)?).map_err(|_| DecodeError::WrongType(name))
}

pub(super) fn bytes16(item: &Cbor, name: &'static str) -> Result<[u8; 16], DecodeError> {
    let bytes = item.as_bytes().ok_or(DecodeError::WrongType(name))?;
    bytes.as_slice().try_into().map_err(|_| DecodeError::WrongType(name))
}

pub(super) fn key(item: Cbor) -> Result<ShadowKey, DecodeError> {
    let text = item.into_text().map_err(|_| DecodeError::WrongType("key"))?;
    Ok(text.parse()?)
}

/// Serialises as a CBOR byte string (serde would make an array of numbers).
pub(super) struct Bytes16(pub(super) [u8; 16]);

impl Serialize for Bytes16 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}
