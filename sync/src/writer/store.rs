//! The writer's rows: what survives a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Epoch, Seq, Version};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::flight::Flights;
use super::half::{Base, WriterHalf};
use super::{Contact, Retry, Writer, WriterConfig, WriterCounters};
use crate::backoff::Dice;
use crate::output::{Output, Row};
use crate::rows::{self, BaseRow, RestoreError, RowKey, WriterHalfRow, WriterStream};

impl Writer {
    /// A writer as its rows describe it; `None` if there are none.
    pub fn restore(
        rows: impl IntoIterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
        config: WriterConfig,
        rng: StdRng,
    ) -> Result<Option<Self>, RestoreError> {
        let mut stream: Option<WriterStream> = None;
        let mut halves = Vec::new();
        for (key, value) in rows {
            let (key, value) = (key.as_ref(), value.as_ref());
            match RowKey::parse(key)? {
                RowKey::Stream => stream = Some(rows::read(key, value)?),
                RowKey::Half(shadow) => {
                    let row = rows::read_half(key, || WriterHalfRow::read(value))?;
                    halves.push((shadow, half_from(row)));
                }
                RowKey::Missing(shadow) => {
                    return Err(RestoreError::UnknownRow(format!("m/{shadow}")));
                }
            }
        }
        let Some(stream) = stream else {
            return if halves.is_empty() {
                Ok(None)
            } else {
                Err(RestoreError::NoStream(halves.len()))
            };
        };
        let mut writer = Self::empty(stream.epoch(), config, rng);
        writer.head = stream.head;
        writer.floor = stream.floor;
        writer.purged = stream.purged;
        writer.position = stream.head;
        writer.sent = stream.head;
        let gone = halves.iter().filter(|(_, half)| half.document.is_none());
        writer.tombstones = gone.map(|(_, half)| half.seq).collect();
        writer.by_seq = halves.iter().map(|(key, half)| (half.seq, key.clone())).collect();
        writer.halves = halves.into_iter().collect();
        Ok(Some(writer))
    }

    pub(super) fn empty(epoch: Epoch, config: WriterConfig, mut rng: StdRng) -> Self {
        Self {
            epoch,
            head: Seq::ZERO,
            floor: Version::ZERO,
            purged: Seq::ZERO,
            halves: BTreeMap::new(),
            by_seq: BTreeMap::new(),
            tombstones: BTreeSet::default(),
            sent: Seq::ZERO,
            position: Seq::ZERO,
            wanted: BTreeSet::default(),
            flights: Flights::default(),
            contact: Contact::Down,
            window: 1,
            retry: Retry::default(),
            config,
            rng: Dice::from_rng(&mut rng),
            outputs: VecDeque::default(),
            counters: WriterCounters::default(),
        }
    }

    /// Has these rows written, together with the stream's own.
    pub(super) fn persist(&mut self, mut rows: Vec<Row>) {
        let stream = WriterStream::new(self.epoch, self.head, self.floor, self.purged);
        rows.push(stream.row());
        self.outputs.push_back(Output::Persist(rows));
    }
}

pub(super) fn half_row(key: &ShadowKey, half: &WriterHalf) -> Row {
    let base = half.base.as_ref().map(|base| BaseRow {
        version: base.version,
        from: base.from,
        until: base.until,
        document: base.document.clone(),
    });
    let row = WriterHalfRow::encode(half.version, half.seq, half.document.as_ref(), base.as_ref());
    rows::half_row(key, Some(row))
}

pub(super) fn gone_row(key: &ShadowKey) -> Row {
    rows::half_row(key, None)
}

fn half_from(row: WriterHalfRow) -> WriterHalf {
    let base = row.base.map(|base| {
        let BaseRow { version, from, until, document } = base;
        Box::new(Base { version, from, until, document })
    });
    WriterHalf::new(row.version, row.seq, row.document, base)
}
