//! The persisted forms of both machines: CBOR rows with one-letter fields.

use gnomon_schemas::cbor::{self, Build};
use gnomon_schemas::key::{ParseKeyError, ShadowKey};
use gnomon_schemas::version::{Epoch, Seq, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::output::Row;

mod half;

pub use half::ReadHalfError;
pub(crate) use half::{BaseRow, ReaderHalfRow, WriterHalfRow};

/// Why rows could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A row's key is none that a machine writes.
    #[error("the store holds an unknown row {0:?}")]
    UnknownRow(String),
    /// A row's key names a malformed shadow key.
    #[error("a row names a malformed shadow")]
    Key(#[from] ParseKeyError),
    /// A row's value cannot be decoded.
    #[error("the row {key:?} cannot be decoded")]
    Value {
        /// The row's key.
        key: String,
        /// What is wrong with the value.
        #[source]
        source: ciborium::de::Error<std::io::Error>,
    },
    /// A half's row is not as it was written.
    #[error("the row {key:?} cannot be read")]
    Half {
        /// The row's key.
        key: String,
        /// What is wrong with the value.
        #[source]
        source: ReadHalfError,
    },
    /// There are halves and no stream row: the store lost its anchor.
    #[error("the store holds {0} rows of a stream but not its position")]
    NoStream(usize),
}

/// A row's key, taken apart.
pub(crate) enum RowKey {
    Stream,
    Half(ShadowKey),
    Missing(ShadowKey),
}

const STREAM: &[u8] = b"s";
const HALF: &[u8] = b"h/";
const MISSING: &[u8] = b"m/";

impl RowKey {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RestoreError> {
        let unknown = || RestoreError::UnknownRow(String::from_utf8_lossy(bytes).into_owned());
        let shadow = |rest: &[u8]| -> Result<ShadowKey, RestoreError> {
            Ok(std::str::from_utf8(rest).map_err(|_| unknown())?.parse()?)
        };
        if bytes == STREAM {
            Ok(Self::Stream)
        } else if let Some(rest) = bytes.strip_prefix(HALF) {
            shadow(rest).map(Self::Half)
        } else if let Some(rest) = bytes.strip_prefix(MISSING) {
            shadow(rest).map(Self::Missing)
        } else {
            Err(unknown())
        }
    }
}

/// A writer's stream row.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct WriterStream {
    #[serde(rename = "e")]
    epoch: [u64; 2],
    #[serde(rename = "s")]
    pub(crate) head: Seq,
    #[serde(rename = "f", default)]
    pub(crate) floor: Version,
    #[serde(rename = "p", default)]
    pub(crate) purged: Seq,
}

impl WriterStream {
    pub(crate) fn new(epoch: Epoch, head: Seq, floor: Version, purged: Seq) -> Self {
        Self { epoch: split(epoch), head, floor, purged }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        join(self.epoch)
    }

    fn encode(self) -> Vec<u8> {
        let build = epoch_in(Build::default().map(4), self.epoch).text("s").unsigned(self.head.0);
        let build = build.text("f").unsigned(self.floor.0);
        build.text("p").unsigned(self.purged.0).finish()
    }

    /// As a row.
    pub(crate) fn row(self) -> Row {
        Row { key: STREAM.to_vec(), value: Some(self.encode()) }
    }
}

/// A reader's stream row: its watermark.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct ReaderStream {
    #[serde(rename = "e")]
    epoch: [u64; 2],
    #[serde(rename = "s")]
    pub(crate) seq: Seq,
}

impl ReaderStream {
    pub(crate) fn new(epoch: Epoch, seq: Seq) -> Self {
        Self { epoch: split(epoch), seq }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        join(self.epoch)
    }

    fn encode(self) -> Vec<u8> {
        let build = epoch_in(Build::default().map(2), self.epoch);
        build.text("s").unsigned(self.seq.0).finish()
    }

    /// As a row.
    pub(crate) fn row(self) -> Row {
        Row { key: STREAM.to_vec(), value: Some(self.encode()) }
    }
}

fn epoch_in(build: Build, [high, low]: [u64; 2]) -> Build {
    build.text("e").array(2).unsigned(high).unsigned(low)
}

pub(crate) fn half_row(key: &ShadowKey, half: Option<Vec<u8>>) -> Row {
    Row { key: keyed(HALF, key), value: half }
}

pub(crate) fn missing_row(key: &ShadowKey, version: Option<Version>) -> Row {
    Row { key: keyed(MISSING, key), value: version.as_ref().map(cbor::encode) }
}

pub(crate) fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RestoreError> {
    ciborium::from_reader(value).map_err(|source| RestoreError::Value {
        key: String::from_utf8_lossy(key).into_owned(),
        source,
    })
}

pub(crate) fn read_half<T>(
    key: &[u8],
    read: impl FnOnce() -> Result<T, ReadHalfError>,
) -> Result<T, RestoreError> {
    read().map_err(|source| RestoreError::Half {
        key: String::from_utf8_lossy(key).into_owned(),
        source,
    })
}

fn keyed(prefix: &[u8], key: &ShadowKey) -> Vec<u8> {
    [prefix, key.to_string().as_bytes()].concat()
}

fn split(epoch: Epoch) -> [u64; 2] {
    let low = u64::try_from(epoch.0 & u128::from(u64::MAX)).expect("masked to 64 bits");
    let high = u64::try_from(epoch.0 >> 64).expect("shifted to 64 bits");
    [high, low]
}

fn join([high, low]: [u64; 2]) -> Epoch {
    Epoch(u128::from(high) << 64 | u128::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 0.1 has written: as serde sees the fields.
    #[test]
    fn a_stream_lies_on_the_disk_as_it_always_did() {
        for number in [0, 23, 24, 1 << 40, u64::MAX] {
            let epoch = Epoch(u128::from(number) << 70 | 5);
            let writer = WriterStream::new(epoch, Seq(number), Version(1), Seq(7));
            assert_eq!(writer.encode(), cbor::encode(&writer));
            let reader = ReaderStream::new(epoch, Seq(number));
            assert_eq!(reader.encode(), cbor::encode(&reader));
        }
    }
}
