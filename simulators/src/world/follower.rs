//! What a reader is seen to do: where it stands, what it holds, what its application was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Epoch, Seq, Version};
use gnomon_sync::{Delivery, Reader};

use super::ledger::Ledger;
use super::violation::{Invariant, Violation, ensure};

/// A reader's state at one time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Standing {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    incomplete: bool,
    halves: BTreeMap<ShadowKey, (Version, Packed)>,
}

/// What is known of one reader.
#[derive(Debug, Clone, Default)]
pub(super) struct Follower {
    pub(super) live: Arc<Standing>,
    pub(super) durable: Arc<Standing>,
    /// The highest version of each half in the present epoch, also of those that went away.
    seen: BTreeMap<ShadowKey, Version>,
    /// Halves of an earlier epoch whose successors are still to come.
    old: BTreeSet<ShadowKey>,
    /// What the application was told last in each half, and in which epoch.
    told: BTreeMap<ShadowKey, (Epoch, Version, bool)>,
    /// What the application believes.
    pub(super) view: BTreeMap<ShadowKey, Packed>,
}

impl Follower {
    /// Checks a reader after an input, and remembers it; gives back its state if that changed.
    pub(super) fn noticed(
        &mut self,
        reader: &Reader,
        ledger: &Ledger,
    ) -> Result<Option<Arc<Standing>>, Violation> {
        let new = Standing::of(reader);
        if new == *self.live {
            return Ok(None);
        }
        self.check_position(&new, ledger)?;
        let turned = new.epoch != self.live.epoch;
        for (key, (version, document)) in &new.halves {
            let before = self.live.halves.get(key);
            let same = before.is_some_and(|old| old.0 == *version && old.1 == *document);
            if same && !turned {
                continue;
            }
            ledger.was(new.epoch, key, *version, document, new.incomplete)?;
            if same && !ledger.has(new.epoch, key, *version, document) {
                self.old.insert(key.clone());
                continue;
            }
            self.check_half(key, *version, same || self.old.contains(key) || turned)?;
            self.old.remove(key);
        }
        self.old.retain(|key| {
            let half = new.halves.get(key);
            half.is_some_and(|(version, it)| !ledger.has(new.epoch, key, *version, it))
        });
        ensure(new.incomplete || self.old.is_empty(), Invariant::Convergence, || {
            format!("{:?} of an earlier epoch stay, and nothing is missing", self.old)
        })?;
        new.check_watermark(ledger)?;
        self.live = Arc::new(new);
        Ok(Some(self.live.clone()))
    }

    fn check_position(&mut self, new: &Standing, ledger: &Ledger) -> Result<(), Violation> {
        let old = &*self.live;
        if new.epoch == old.epoch {
            return ensure(old.seq <= new.seq, Invariant::Monotonic, || {
                format!("the reader went back from {} to {}", old.seq, new.seq)
            });
        }
        self.seen.clear();
        let (was, is) = (ledger.order(old.epoch), ledger.order(new.epoch));
        ensure(is.is_some() && was < is, Invariant::Monotonic, || {
            format!("the reader went from {:?} ({was:?}.) to {:?} ({is:?}.)", old.epoch, new.epoch)
        })
    }

    /// Within an epoch, a half that changes gets a higher version than it ever had.
    fn check_half(
        &mut self,
        key: &ShadowKey,
        version: Version,
        may_be_equal: bool,
    ) -> Result<(), Violation> {
        let seen = self.seen.insert(key.clone(), version);
        let holds = seen.is_none_or(|seen| seen < version || (may_be_equal && seen == version));
        ensure(holds, Invariant::Monotonic, || {
            format!("{key} went from {seen:?} to {version} within an epoch")
        })
    }

    /// A write of the reader is on the disk.
    pub(super) fn committed(&mut self, standing: Arc<Standing>) {
        self.durable = standing;
    }

    /// Checks a reader that was started from the disk, and tells the application everything.
    pub(super) fn restarted(&mut self, reader: &Reader, ledger: &Ledger) -> Result<(), Violation> {
        let new = Standing::of(reader);
        ensure(new == *self.durable, Invariant::NoLoss, || {
            format!("the disk held {:?}, the reader starts as {new:?}", self.durable)
        })?;
        self.live = self.durable.clone();
        let standing = self.live.clone();
        let own = |(key, half): &(&ShadowKey, &(Version, Packed))| {
            ledger.has(standing.epoch, key, half.0, &half.1)
        };
        let (own, old): (Vec<_>, Vec<_>) = standing.halves.iter().partition(own);
        self.seen = own.into_iter().map(|(key, half)| (key.clone(), half.0)).collect();
        self.old = old.into_iter().map(|(key, _)| key.clone()).collect();
        let halves = self.live.halves.iter();
        self.view = halves.map(|(key, half)| (key.clone(), half.1.clone())).collect();
        self.told.clear();
        Ok(())
    }

    /// The disk was replaced by a backup, or by nothing.
    pub(super) fn replaced(&mut self, standing: Option<Arc<Standing>>) {
        self.durable = standing.unwrap_or_default();
    }

    /// The application is told of a change: once per version.
    pub(super) fn told(&mut self, epoch: Epoch, news: &Delivery) -> Result<(), Violation> {
        let gone = news.document.is_none();
        let last = self.told.insert(news.key.clone(), (epoch, news.version, gone));
        let again = last.is_some_and(|(in_epoch, version, was_gone)| {
            let newer = news.version > version || (gone && !was_gone && news.version == version);
            in_epoch == epoch && !newer
        });
        ensure(!again, Invariant::ExactlyOnce, || {
            format!("{} v{} was delivered after {last:?}", news.key, news.version)
        })?;
        let held = self.durable.halves.get(&news.key);
        let durable = held.is_some_and(|(version, _)| *version >= news.version);
        ensure(
            gone || durable || self.durable.epoch != epoch || held.is_none(),
            Invariant::NoLoss,
            || format!("{} v{} was delivered before it was durable", news.key, news.version),
        )?;
        match &news.document {
            Some(document) => self.view.insert(news.key.clone(), document.clone()),
            None => self.view.remove(&news.key),
        };
        Ok(())
    }

    /// Checks a position that the reader tells its writer.
    pub(super) fn promised(&self, epoch: Epoch, seq: Seq) -> Result<(), Violation> {
        let durable = &self.durable;
        let holds = if epoch == durable.epoch { seq <= durable.seq } else { seq == Seq::ZERO };
        ensure(holds || self.was_before(epoch), Invariant::NoLoss, || {
            format!(
                "{epoch:?} {seq} was promised when {:?} {} was durable",
                durable.epoch, durable.seq
            )
        })
    }

    /// Checks what the writer believes to be durable here.
    pub(super) fn believed(&self, epoch: Epoch, seq: Seq) -> Result<(), Violation> {
        let durable = &self.durable;
        ensure(epoch == durable.epoch && seq <= durable.seq, Invariant::NoLoss, || {
            let (own, at) = (durable.epoch, durable.seq);
            format!("the writer believes the reader at {epoch:?} {seq}; it is at {own:?} {at}")
        })
    }

    /// A promise of an older epoch may still be under way inside the shell.
    fn was_before(&self, epoch: Epoch) -> bool {
        epoch != self.durable.epoch && epoch != self.live.epoch
    }

    /// Checks that the application believes what the reader holds.
    pub(super) fn check_view(&self) -> Result<(), Violation> {
        let held = self.live.halves.iter().map(|(key, half)| (key, &half.1));
        ensure(self.view.iter().eq(held), Invariant::ExactlyOnce, || {
            let view: Vec<_> = self.view.keys().map(ToString::to_string).collect();
            format!("the application was not told of everything; it knows of {view:?}")
        })
    }
}

impl Standing {
    fn of(reader: &Reader) -> Self {
        let half = |held: gnomon_sync::Held<'_>| (held.version, held.document.clone());
        Self {
            epoch: reader.epoch(),
            seq: reader.seq(),
            incomplete: reader.is_incomplete(),
            halves: reader.halves().map(|(key, held)| (key.clone(), half(held))).collect(),
        }
    }

    /// "Everything up to here is held" must be true.
    fn check_watermark(&self, ledger: &Ledger) -> Result<(), Violation> {
        if self.epoch != Epoch::NONE {
            ledger.reached(self.epoch, self.seq)?;
        }
        if self.incomplete {
            return Ok(());
        }
        for (key, fact) in ledger.settled(self.epoch, self.seq) {
            let held = self.halves.get(key).map(|(version, document)| (*version, document));
            let wanted = fact.document.as_ref().map(|document| (fact.version, document));
            ensure(held == wanted, Invariant::NoLoss, || {
                let (held, wanted) = (held.map(|held| held.0), wanted.map(|wanted| wanted.0));
                format!(
                    "at {} the reader holds {key} {held:?} and should hold {wanted:?}",
                    self.seq
                )
            })?;
        }
        Ok(())
    }
}
