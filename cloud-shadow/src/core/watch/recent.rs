//! The last changes, so that a watcher who was away for a moment gets what it missed and nothing
//! else. Bounded by number and by size.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::domain::Notice;

/// A change's place in the order of all changes since the cloud started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which start of the cloud.
    boot: u64,
    /// How many changes there were with it.
    number: u64,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the id of an event")]
pub struct ParsePositionError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.boot, self.number)
    }
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let (boot, number) = text.split_once('-').ok_or(ParsePositionError)?;
        let boot = u64::from_str_radix(boot, 16).map_err(|_| ParsePositionError)?;
        Ok(Self { boot, number: number.parse().map_err(|_| ParsePositionError)? })
    }
}

/// A change with its position.
pub type Placed = (Position, Arc<Notice>);

#[derive(Debug)]
pub(super) struct Recent {
    head: Position,
    kept: VecDeque<(Placed, usize)>,
    bytes: usize,
    most: usize,
    /// Until somebody has watched nobody can have missed anything.
    is_needed: bool,
}

/// About how many bytes the kept changes may have.
const BYTES: usize = 16 * 1024 * 1024;

impl Recent {
    pub(super) const fn new(boot: u64, most: usize) -> Self {
        let head = Position { boot, number: 0 };
        Self { head, kept: VecDeque::new(), bytes: 0, most, is_needed: false }
    }

    /// The position of the last change.
    pub(super) const fn head(&self) -> Position {
        self.head
    }

    /// Somebody watches from here on, and may come back.
    pub(super) const fn begin(&mut self) {
        self.is_needed = true;
    }

    /// Takes a change, unless nobody could ask for it.
    pub(super) fn push(&mut self, notice: Notice) -> Option<Placed> {
        self.head.number += 1;
        if !self.is_needed {
            return None;
        }
        let size = size(&notice);
        let placed = (self.head, Arc::new(notice));
        self.kept.push_back((placed.clone(), size));
        self.bytes += size;
        while self.kept.len() > self.most || self.bytes > BYTES {
            let Some((_, size)) = self.kept.pop_front() else { break };
            self.bytes -= size;
        }
        Some(placed)
    }

    /// What came after a position; `None` if that is not known in full.
    pub(super) fn since(&self, position: Position) -> Option<impl Iterator<Item = &Placed>> {
        let missed = self.head.number.checked_sub(position.number)?;
        let missed = usize::try_from(missed).ok()?;
        if position.boot != self.head.boot || missed > self.kept.len() {
            return None;
        }
        Some(self.kept.range(self.kept.len() - missed..).map(|(placed, _)| placed))
    }
}

/// About how many bytes a change keeps in memory.
fn size(notice: &Notice) -> usize {
    const BASE: usize = 1000;
    /// What a tree takes, to what its bytes are.
    const TREE: usize = 10;
    match notice {
        Notice::Shadow(change) => {
            let after = change.view.half(change.half);
            BASE + after.map_or(0, |half| TREE * half.document.packed().as_cbor().len())
        }
        Notice::Node(_) | Notice::NodeDeleted(..) => BASE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(n: u32) -> Notice {
        Notice::NodeDeleted(format!("site-{n}").parse().unwrap(), Arc::default())
    }

    fn missed(recent: &Recent, position: Position) -> Option<usize> {
        recent.since(position).map(Iterator::count)
    }

    #[test]
    fn exactly_what_was_missed_is_told_or_nothing() {
        let mut recent = Recent::new(7, 3);
        recent.begin();
        let start = recent.head();
        assert_eq!(missed(&recent, start), Some(0));
        let first = recent.push(notice(0)).unwrap().0;
        recent.push(notice(1));
        assert_eq!((missed(&recent, start), missed(&recent, first)), (Some(2), Some(1)));
        recent.push(notice(2));
        recent.push(notice(3));
        assert_eq!((missed(&recent, start), missed(&recent, first)), (None, Some(3)));
        let other = Position { boot: 8, ..recent.head() };
        let ahead = Position { boot: 7, number: 99 };
        assert_eq!((missed(&recent, other), missed(&recent, ahead)), (None, None));
    }

    #[test]
    fn what_nobody_can_have_missed_is_not_kept() {
        let mut recent = Recent::new(7, 3);
        let start = recent.head();
        assert_eq!(recent.push(notice(0)), None);
        let since = recent.head();
        recent.begin();
        assert_eq!((missed(&recent, start), missed(&recent, since)), (None, Some(0)));
        assert!(recent.push(notice(1)).is_some());
        assert_eq!((missed(&recent, start), missed(&recent, since)), (None, Some(1)));
    }

    #[test]
    fn large_changes_are_not_kept_for_long() {
        let mut recent = Recent::new(7, usize::MAX);
        recent.begin();
        for n in 0..50_000 {
            recent.push(notice(n));
        }
        assert!(recent.bytes <= BYTES && recent.kept.len() < 20_000);
    }

    #[test]
    fn a_position_survives_its_text() {
        let position = Position { boot: u64::MAX - 1, number: 12 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "-", "1", "x-1", "1-", "1-2-3"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }
}
