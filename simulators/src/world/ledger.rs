//! The reference: the plain truth about one stream, kept beside its writer without any of its
//! cleverness. What was asked, what of it is on the disk, and every document there ever was.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Epoch, Seq, Version};
use gnomon_sync::Writer;

use super::violation::{Invariant, Violation, ensure};

/// One half as it should be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    pub(super) version: Version,
    pub(super) seq: Seq,
    /// `None`: deleted.
    pub(super) document: Option<Packed>,
}

pub(super) type Facts = BTreeMap<ShadowKey, Fact>;

/// What becomes true when a write of the writer is on the disk.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    epoch: Epoch,
    head: Seq,
    changes: Vec<(ShadowKey, Fact)>,
}

/// A copy of the durable truth, kept with a backup of the disk.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    durable: Facts,
}

type Versions = BTreeMap<Version, Option<Packed>>;

/// The truth about one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// As the running writer was asked.
    pub(super) live: Facts,
    epoch: Epoch,
    head: Seq,
    /// As its disk says.
    durable: Facts,
    /// Every epoch that was durable, in order, with its last durable position.
    epochs: Vec<(Epoch, Seq)>,
    history: BTreeMap<Epoch, BTreeMap<ShadowKey, Versions>>,
    /// Where the disk stands; `None` after it was replaced.
    place: Option<(Epoch, Seq)>,
    /// Every half that there ever was.
    known: BTreeSet<ShadowKey>,
    /// The bytes of the largest document ever.
    largest: usize,
}

impl Ledger {
    /// Checks that a put or a delete did what was asked, and writes it down.
    pub(super) fn asked(
        &mut self,
        writer: &Writer,
        key: &ShadowKey,
        document: Option<Packed>,
    ) -> Result<Option<Entry>, Violation> {
        let old = self.live.get(key);
        if old.map(|fact| &fact.document) == Some(&document)
            || (old.is_none() && document.is_none())
        {
            let version = old.map_or(Version::ZERO, |fact| fact.version);
            ensure(writer.last_version(key) <= version, Invariant::ExactlyOnce, || {
                format!("{key} got a new version although nothing changed")
            })?;
            return Ok(None);
        }
        let before = old.map_or(Version::ZERO, |fact| fact.version);
        let version = writer.last_version(key);
        ensure(version > before, Invariant::Monotonic, || {
            format!("{key} went from version {before} to {version} with a change")
        })?;
        ensure(writer.head() == self.head.next(), Invariant::Monotonic, || {
            format!("one change took the head from {} to {}", self.head, writer.head())
        })?;
        let held = writer.get(key).map(|held| held.document);
        ensure(held == document.as_ref(), Invariant::NoLoss, || {
            format!("the writer holds something else of {key} than what it was asked for")
        })?;
        self.head = writer.head();
        let bytes = document.as_ref().map_or(0, |document| document.as_cbor().len());
        self.largest = self.largest.max(bytes);
        let fact = Fact { version, seq: self.head, document };
        self.live.insert(key.clone(), fact.clone());
        self.known.insert(key.clone());
        let changes = vec![(key.clone(), fact)];
        Ok(Some(Entry { epoch: self.epoch, head: self.head, changes }))
    }

    /// Notices that the writer has begun a new epoch: every half is then part of it.
    pub(super) fn noticed(&mut self, writer: &Writer) -> Option<Entry> {
        if writer.epoch() == self.epoch {
            return None;
        }
        (self.epoch, self.head) = (writer.epoch(), writer.head());
        let changes = self.live.clone().into_iter().collect();
        Some(Entry { epoch: self.epoch, head: self.head, changes })
    }

    /// A write is on the disk.
    pub(super) fn committed(&mut self, entry: Entry) -> Result<(), Violation> {
        self.place = Some((entry.epoch, entry.head));
        match self.epochs.last_mut() {
            Some((epoch, head)) if *epoch == entry.epoch => *head = entry.head,
            _ => self.epochs.push((entry.epoch, entry.head)),
        }
        let history = self.history.entry(entry.epoch).or_default();
        for (key, fact) in entry.changes {
            let versions = history.entry(key.clone()).or_default();
            let before = versions.insert(fact.version, fact.document.clone());
            ensure(
                before.is_none_or(|before| before == fact.document),
                Invariant::Monotonic,
                || format!("{key} v{} was made twice in one epoch", fact.version),
            )?;
            self.durable.insert(key, fact);
        }
        Ok(())
    }

    /// Checks a writer that was started from the disk: it must be what was last durable.
    pub(super) fn restarted(&mut self, writer: &Writer) -> Result<(), Violation> {
        self.live = self.durable.clone();
        (self.epoch, self.head) = (writer.epoch(), writer.head());
        if let Some((epoch, head)) = self.place {
            let same = epoch == writer.epoch() && head == writer.head();
            ensure(same, Invariant::NoLoss, || {
                format!("the disk said {epoch:?} {head}, the writer is at {}", writer.head())
            })?;
        }
        self.compare(writer.halves().map(|(key, held)| (key, held.version, held.document)), "disk")
    }

    /// Checks that these are exactly the durable halves.
    pub(super) fn compare<'a>(
        &self,
        halves: impl Iterator<Item = (&'a ShadowKey, Version, &'a Packed)>,
        place: &str,
    ) -> Result<(), Violation> {
        let mut wanted = self.durable_halves();
        for (key, version, document) in halves {
            let fact = wanted.next();
            let same = fact.is_some_and(|(name, fact)| {
                name == key && fact.version == version && fact.document.as_ref() == Some(document)
            });
            ensure(same, Invariant::NoLoss, || {
                let wanted = fact.map(|(name, fact)| format!("{name} v{}", fact.version));
                format!("the {place} has {key} v{version} where {wanted:?} was accepted")
            })?;
        }
        let missing = wanted.next();
        ensure(missing.is_none(), Invariant::NoLoss, || {
            let missing = missing.map(|(key, fact)| format!("{key} v{}", fact.version));
            format!("the {place} has lost {missing:?}")
        })
    }

    /// The halves on the disk, without the deleted ones.
    pub(super) fn durable_halves(&self) -> impl Iterator<Item = (&ShadowKey, &Fact)> {
        self.durable.iter().filter(|(_, fact)| fact.document.is_some())
    }

    /// Checks that an answer is true: what it tells of is durable.
    pub(super) fn answered(&self, key: &ShadowKey, version: Version) -> Result<(), Violation> {
        let durable = self.durable.get(key).map_or(Version::ZERO, |fact| fact.version);
        ensure(durable >= version, Invariant::NoLoss, || {
            format!("{key} v{version} was answered when v{durable} was durable")
        })
    }

    /// Checks a place that someone claims in this stream: it must be durable.
    pub(super) fn reached(&self, epoch: Epoch, seq: Seq) -> Result<(), Violation> {
        let head = self.epochs.iter().rev().find(|(known, _)| *known == epoch).map(|(_, s)| *s);
        ensure(head.is_some_and(|head| seq <= head), Invariant::NoLoss, || {
            format!("{epoch:?} {seq} is claimed where {head:?} is durable")
        })
    }

    /// The place of an epoch in the order of epochs; zero is [`Epoch::NONE`].
    pub(super) fn order(&self, epoch: Epoch) -> Option<usize> {
        if epoch == Epoch::NONE {
            return Some(0);
        }
        self.epochs.iter().rposition(|(known, _)| *known == epoch).map(|at| at + 1)
    }

    /// Whether this was the writer's document at that version of that epoch.
    pub(super) fn has(
        &self,
        epoch: Epoch,
        key: &ShadowKey,
        version: Version,
        document: &Packed,
    ) -> bool {
        self.history.get(&epoch).is_some_and(|history| matches(history, key, version, document))
    }

    /// Checks that this was, at some time, the writer's document at that version: in this epoch,
    /// or, if the reader is `incomplete`, in any.
    pub(super) fn was(
        &self,
        epoch: Epoch,
        key: &ShadowKey,
        version: Version,
        document: &Packed,
        incomplete: bool,
    ) -> Result<(), Violation> {
        let in_any =
            || self.history.values().any(|history| matches(history, key, version, document));
        let real = self.has(epoch, key, version, document) || (incomplete && in_any());
        ensure(real, Invariant::NoGhosts, || {
            format!("{key} v{version} {document} never was at the writer in {epoch:?}")
        })
    }

    /// The durable halves whose last change lies at or before `seq`, if `epoch` is the last one.
    pub(super) fn settled(
        &self,
        epoch: Epoch,
        seq: Seq,
    ) -> impl Iterator<Item = (&ShadowKey, &Fact)> {
        let current = self.epochs.last().is_some_and(|(last, _)| *last == epoch);
        self.durable.iter().filter(move |(_, fact)| current && fact.seq <= seq)
    }

    /// How many halves there ever were.
    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    /// The bytes of the largest document ever.
    pub(super) const fn largest(&self) -> usize {
        self.largest
    }

    pub(super) fn copy(&self) -> Copy {
        Copy { durable: self.durable.clone() }
    }

    /// The disk was replaced by a backup, or by nothing; what was promised since is void.
    pub(super) fn replaced(&mut self, copy: Option<&Copy>) {
        self.durable = copy.map(|copy| copy.durable.clone()).unwrap_or_default();
        self.live = self.durable.clone();
        self.place = None;
    }
}

fn matches(
    history: &BTreeMap<ShadowKey, Versions>,
    key: &ShadowKey,
    version: Version,
    document: &Packed,
) -> bool {
    let found = history.get(key).and_then(|versions| versions.get(&version));
    found.is_some_and(|found| found.as_ref() == Some(document))
}
