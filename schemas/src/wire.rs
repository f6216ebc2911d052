//! The messages of the sync protocol and their CBOR form (protocol.md, section 3): maps with
//! small integer keys, of which unknown ones are ignored.

use ciborium::Value as Cbor;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::cbor::{self, CborError};
use crate::document::{Document, Patch, ReadDocumentError};
use crate::key::{ParseKeyError, ShadowKey};
use crate::limits;
use crate::topic::MessageKind;
use crate::version::{Digest, Epoch, Seq, Version};

mod fields;

use fields::Fields;

/// The integer keys of message fields; a number is never given a second meaning.
mod tag {
    pub(super) const EPOCH: u64 = 0;
    pub(super) const SEQ: u64 = 1;
    pub(super) const AFTER: u64 = 2;
    pub(super) const WINDOW: u64 = 3;
    pub(super) const CHANGES: u64 = 4;
    pub(super) const ENTRIES: u64 = 5;
    pub(super) const KEYS: u64 = 6;
    pub(super) const PART: u64 = 7;
    pub(super) const PARTS: u64 = 8;
    pub(super) const ANSWERS: u64 = 9;
}

/// The integer keys inside a change.
mod change_tag {
    pub(super) const KEY: u64 = 0;
    pub(super) const BASE: u64 = 1;
    pub(super) const VERSION: u64 = 2;
    pub(super) const PATCH: u64 = 3;
    pub(super) const FULL: u64 = 4;
    pub(super) const GONE: u64 = 5;
    pub(super) const DIGEST: u64 = 6;
}

/// Any message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// "I hold everything up to `seq` of `epoch`."
    Hello(Hello),
    /// Changes, all or none of which the reader takes.
    Batch(Batch),
    /// "Everything up to `seq` of `epoch` is durable here."
    Ack(Ack),
    /// What exists now, for a reader whose history is another one.
    Manifest(Manifest),
    /// "Send me these in full."
    Fetch(Fetch),
}

/// A reader's position, sent on every connect and whenever the reader is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The history that the reader follows; [`Epoch::NONE`] before the first.
    pub epoch: Epoch,
    /// Everything up to here is durable at the reader.
    pub seq: Seq,
    /// The most batches that the reader wants in flight; 1 is not sent.
    pub window: u8,
}

/// The changes after `after` up to `seq`; atomic.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The writer's history.
    pub epoch: Epoch,
    /// The position that the changes start from.
    pub after: Seq,
    /// The position that they lead to; equal to `after` in a probe and in a repair.
    pub seq: Seq,
    /// The changes, in the order of their positions.
    pub changes: Vec<Entry>,
}

/// One half's change.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whose half.
    pub key: ShadowKey,
    /// The version that a patch applies to; zero for `full` and `gone`.
    pub base: Version,
    /// The version that results.
    pub version: Version,
    /// The change itself.
    pub body: Body,
}

/// What happens to a half.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// It is patched, and must then have this digest.
    Patch(Patch, Digest),
    /// It becomes this document, which must have this digest.
    Full(Document, Digest),
    /// It is deleted.
    Gone,
}

/// A receipt: everything up to `seq` is durable at the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The history that the reader follows.
    pub epoch: Epoch,
    /// The reader's position.
    pub seq: Seq,
}

/// What exists at the writer, possibly in several parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The writer's history.
    pub epoch: Epoch,
    /// The position that the list describes.
    pub seq: Seq,
    /// The epoch of the `hello` that this answers: a manifest that answers an older self of the
    /// reader is stale.
    pub answers: Epoch,
    /// Which part this is, from 0.
    pub part: u32,
    /// How many parts there are, at least 1.
    pub parts: u32,
    /// This part's halves.
    pub entries: Vec<ManifestEntry>,
}

/// One half that exists at the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Whose half.
    pub key: ShadowKey,
    /// Its version.
    pub version: Version,
    /// Its document's digest.
    pub digest: Digest,
}

/// A wish for whole documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The history that the reader follows.
    pub epoch: Epoch,
    /// The reader's position.
    pub seq: Seq,
    /// The halves wanted in full.
    pub keys: Vec<ShadowKey>,
}

/// Why bytes are not the message that their topic promises.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not acceptable CBOR.
    #[error("the message is not acceptable CBOR")]
    Cbor(#[from] CborError),
    /// A field is absent.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field has another type or range than the protocol says.
    #[error("the field {0} has the wrong type or is out of range")]
    WrongType(&'static str),
    /// A shadow key is malformed.
    #[error("a shadow key is malformed")]
    Key(#[from] ParseKeyError),
    /// A document or patch breaks a rule.
    #[error("a document or patch is not acceptable")]
    Document(#[from] ReadDocumentError),
    /// A list has more entries than any node has shadows.
    #[error("the field {field} has {len} entries, the limit is {limit}")]
    TooMany {
        /// The field's name.
        field: &'static str,
        /// How many entries it has.
        len: usize,
        /// The most entries.
        limit: usize,
    },
}

impl Message {
    /// Which message it is; goes into the topic.
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Hello(_) => MessageKind::Hello,
            Self::Batch(_) => MessageKind::Batch,
            Self::Ack(_) => MessageKind::Ack,
            Self::Manifest(_) => MessageKind::Manifest,
            Self::Fetch(_) => MessageKind::Fetch,
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads the payload of a message whose topic says that it is a `kind`.
    pub fn decode(kind: MessageKind, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(cbor::decode(bytes)?)?;
        let epoch = Epoch::from_bytes(fields.bytes16(tag::EPOCH, "epoch")?);
        let seq = Seq(fields.u64(tag::SEQ, "seq")?);
        Ok(match kind {
            MessageKind::Hello => {
                let window = match fields.optional(tag::WINDOW) {
                    Some(window) => fields::small(&window, "window")?,
                    None => USUAL_WINDOW,
                };
                Self::Hello(Hello { epoch, seq, window })
            }
            MessageKind::Ack => Self::Ack(Ack { epoch, seq }),
            MessageKind::Batch => Self::Batch(Batch {
                epoch,
                seq,
                after: Seq(fields.u64(tag::AFTER, "after")?),
                changes: fields.list(tag::CHANGES, "changes", Entry::from_cbor)?,
            }),
            MessageKind::Manifest => Self::Manifest(Manifest {
                epoch,
                seq,
                answers: Epoch::from_bytes(fields.bytes16(tag::ANSWERS, "answers")?),
                part: fields.small(tag::PART, "part")?,
                parts: fields.small(tag::PARTS, "parts")?,
                entries: fields.list(tag::ENTRIES, "entries", ManifestEntry::from_cbor)?,
            }),
            MessageKind::Fetch => Self::Fetch(Fetch {
                epoch,
                seq,
                keys: fields.list(tag::KEYS, "keys", fields::key)?,
            }),
        })
    }
}

impl Entry {
    fn from_cbor(item: Cbor) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(item)?;
        let key = fields.take(change_tag::KEY, "key")?;
        let base = fields.optional(change_tag::BASE);
        let version = Version(fields.u64(change_tag::VERSION, "version")?);
        let body = if let Some(patch) = fields.optional(change_tag::PATCH) {
            let patch = Patch::from_cbor(patch)?;
            Body::Patch(patch, Digest(fields.bytes16(change_tag::DIGEST, "digest")?))
        } else if let Some(document) = fields.optional(change_tag::FULL) {
            let document = Document::from_cbor(document)?;
            Body::Full(document, Digest(fields.bytes16(change_tag::DIGEST, "digest")?))
        } else {
            fields.take(change_tag::GONE, "patch, full or gone")?;
            Body::Gone
        };
        let base =
            base.map_or(Ok(Version::ZERO), |item| fields::u64(&item, "base").map(Version))?;
        Ok(Self { key: fields::key(key)?, base, version, body })
    }

    /// The bytes that the entry adds to a message.
    pub fn encoded_len(&self) -> usize {
        cbor::encode(self).len()
    }
}

impl ManifestEntry {
    fn from_cbor(item: Cbor) -> Result<Self, DecodeError> {
        let Ok([key, version, digest]) =
            <[Cbor; 3]>::try_from(item.into_array().unwrap_or_default())
        else {
            return Err(DecodeError::WrongType("entries"));
        };
        Ok(Self {
            key: fields::key(key)?,
            version: Version(fields::u64(&version, "version")?),
            digest: Digest(fields::bytes16(&digest, "digest")?),
        })
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.field_count()))?;
        let (epoch, seq) = match self {
            Self::Hello(m) => (m.epoch, m.seq),
            Self::Batch(m) => (m.epoch, m.seq),
            Self::Ack(m) => (m.epoch, m.seq),
            Self::Manifest(m) => (m.epoch, m.seq),
            Self::Fetch(m) => (m.epoch, m.seq),
        };
        map.serialize_entry(&tag::EPOCH, &fields::Bytes16(epoch.to_bytes()))?;
        map.serialize_entry(&tag::SEQ, &seq)?;
        match self {
            Self::Hello(hello) if hello.window != USUAL_WINDOW => {
                map.serialize_entry(&tag::WINDOW, &hello.window)?;
            }
            Self::Hello(_) | Self::Ack(_) => {}
            Self::Batch(batch) => {
                map.serialize_entry(&tag::AFTER, &batch.after)?;
                map.serialize_entry(&tag::CHANGES, &batch.changes)?;
            }
            Self::Manifest(manifest) => {
                map.serialize_entry(&tag::ENTRIES, &manifest.entries)?;
                map.serialize_entry(&tag::PART, &manifest.part)?;
                map.serialize_entry(&tag::PARTS, &manifest.parts)?;
                map.serialize_entry(&tag::ANSWERS, &fields::Bytes16(manifest.answers.to_bytes()))?;
            }
            Self::Fetch(fetch) => map.serialize_entry(&tag::KEYS, &fetch.keys)?,
        }
        map.end()
    }
}

impl Message {
    const fn field_count(&self) -> usize {
        match self {
            Self::Ack(_) => 2,
            Self::Hello(hello) if hello.window == USUAL_WINDOW => 2,
            Self::Hello(_) | Self::Fetch(_) => 3,
            Self::Batch(_) => 4,
            Self::Manifest(_) => 6,
        }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_base = usize::from(self.base != Version::ZERO);
        let body = if matches!(self.body, Body::Gone) { 1 } else { 2 };
        let mut map = serializer.serialize_map(Some(2 + has_base + body))?;
        map.serialize_entry(&change_tag::KEY, &self.key)?;
        if self.base != Version::ZERO {
            map.serialize_entry(&change_tag::BASE, &self.base)?;
        }
        map.serialize_entry(&change_tag::VERSION, &self.version)?;
        match &self.body {
            Body::Patch(patch, digest) => {
                map.serialize_entry(&change_tag::PATCH, patch)?;
                map.serialize_entry(&change_tag::DIGEST, &fields::Bytes16(digest.0))?;
            }
            Body::Full(document, digest) => {
                map.serialize_entry(&change_tag::FULL, document)?;
                map.serialize_entry(&change_tag::DIGEST, &fields::Bytes16(digest.0))?;
            }
            Body::Gone => map.serialize_entry(&change_tag::GONE, &true)?,
        }
        map.end()
    }
}

impl Serialize for ManifestEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.key, self.version, fields::Bytes16(self.digest.0)).serialize(serializer)
    }
}

/// The window of a hello that names none.
const USUAL_WINDOW: u8 = 1;

/// The most entries that any list of a message may have.
const LIST_ENTRIES: usize = limits::SHADOWS_PER_NODE;
