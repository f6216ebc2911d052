//! The writer's rows: what survives a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnomon_schemas::document::Document;
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
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        config: WriterConfig,
        rng: StdRng,
    ) -> Result<Option<Self>, RestoreError> {
        let mut stream: Option<WriterStream> = None;
        let mut halves = BTreeMap::new();
        for (key, value) in rows {
            match RowKey::parse(&key)? {
                RowKey::Stream => stream = Some(rows::read(&key, &value)?),
                RowKey::Half(shadow) => {
                    halves.insert(shadow, half_from(rows::read(&key, &value)?));
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
        for (key, half) in &halves {
            writer.by_seq.insert(half.seq, key.clone());
            if half.content.is_none() {
                writer.tombstones.insert(half.seq);
            }
        }
        writer.halves = halves;
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
        rows.push(rows::stream_row(&stream));
        self.outputs.push_back(Output::Persist(rows));
    }
}

pub(super) fn half_row(key: &ShadowKey, half: &WriterHalf) -> Row {
    let row = WriterHalfRow {
        version: half.version,
        seq: half.seq,
        document: half.content.as_ref().map(|content| &*content.document),
        base: half.base.as_ref().map(|base| BaseRow {
            version: base.version,
            from: base.from,
            until: base.until,
            document: &*base.document,
        }),
    };
    rows::half_row(key, Some(&row))
}

pub(super) fn gone_row(key: &ShadowKey) -> Row {
    rows::half_row::<()>(key, None)
}

fn half_from(row: WriterHalfRow<Document>) -> WriterHalf {
    let base = row.base.map(|base| {
        let BaseRow { version, from, until, document } = base;
        Box::new(Base { version, from, until, document: document.into() })
    });
    WriterHalf::new(row.version, row.seq, row.document.map(Into::into), base)
}
