//! The reader's rows: what survives a restart.

use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Version;

use super::{Reader, ReaderConfig, ReaderHalf};
use crate::output::{Output, Row};
use crate::rows::{self, ReaderHalfRow, ReaderStream, RestoreError, RowKey};

impl Reader {
    /// A reader as its rows describe it; `None` if there are none.
    pub fn restore(
        rows: impl IntoIterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
        config: ReaderConfig,
    ) -> Result<Option<Self>, RestoreError> {
        let mut stream: Option<ReaderStream> = None;
        let mut reader = Self::new(config);
        let mut halves = Vec::new();
        for (key, value) in rows {
            let (key, value) = (key.as_ref(), value.as_ref());
            match RowKey::parse(key)? {
                RowKey::Stream => stream = Some(rows::read(key, value)?),
                RowKey::Half(shadow) => {
                    let row = rows::read_half(key, || ReaderHalfRow::read(value))?;
                    let ReaderHalfRow { version, document } = row;
                    halves.push((shadow, ReaderHalf { version, document }));
                }
                RowKey::Missing(shadow) => {
                    reader.missing.insert(shadow, rows::read(key, value)?);
                }
            }
        }
        reader.halves = halves.into_iter().collect();
        let count = reader.halves.len() + reader.missing.len();
        let Some(stream) = stream else {
            return if count == 0 { Ok(None) } else { Err(RestoreError::NoStream(count)) };
        };
        reader.epoch = stream.epoch();
        reader.seq = stream.seq;
        Ok(Some(reader))
    }

    /// Has these rows written, together with the watermark.
    pub(super) fn persist(&mut self, mut rows: Vec<Row>) {
        rows.push(ReaderStream::new(self.epoch, self.seq).row());
        self.outputs.push_back(Output::Persist(rows));
    }
}

pub(super) fn half_row(key: &ShadowKey, half: &ReaderHalf) -> Row {
    rows::half_row(key, Some(ReaderHalfRow::encode(half.version, &half.document)))
}

pub(super) fn gone_row(key: &ShadowKey) -> Row {
    rows::half_row(key, None)
}

pub(super) fn missing_row(key: &ShadowKey, version: Version) -> Row {
    rows::missing_row(key, Some(version))
}

pub(super) fn found_row(key: &ShadowKey) -> Row {
    rows::missing_row(key, None)
}
