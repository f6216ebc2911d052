//! The last changes, so that a watcher who was away for a moment gets what it missed and nothing
//! else. Bounded by number and by size.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Map, Value};

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
}

/// About how many bytes the kept changes may have.
const BYTES: usize = 16 * 1024 * 1024;

impl Recent {
    pub(super) const fn new(boot: u64, most: usize) -> Self {
        Self { head: Position { boot, number: 0 }, kept: VecDeque::new(), bytes: 0, most }
    }

    /// The position of the last change.
    pub(super) const fn head(&self) -> Position {
        self.head
    }

    /// Takes a change.
    pub(super) fn push(&mut self, notice: Notice) -> Placed {
        self.head.number += 1;
        let size = size(&notice);
        let placed = (self.head, Arc::new(notice));
        self.kept.push_back((placed.clone(), size));
        self.bytes += size;
        while self.kept.len() > self.most || self.bytes > BYTES {
            let Some((_, size)) = self.kept.pop_front() else { break };
            self.bytes -= size;
        }
        placed
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
    match notice {
        Notice::Shadow(change) => {
            let after = change.view.half(change.half);
            BASE + after.map_or(0, |half| of_object(half.document.as_object()))
        }
        Notice::Node(_) | Notice::NodeDeleted(..) => BASE,
    }
}

fn of_object(object: &Map<String, Value>) -> usize {
    object.iter().map(|(key, value)| 64 + key.len() + of_value(value)).sum()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::String(text) => 32 + text.len(),
        Value::Array(items) => 32 + items.iter().map(of_value).sum::<usize>(),
        Value::Object(object) => 32 + of_object(object),
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
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
        let start = recent.head();
        assert_eq!(missed(&recent, start), Some(0));
        let first = recent.push(notice(0)).0;
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
    fn large_changes_are_not_kept_for_long() {
        let mut recent = Recent::new(7, usize::MAX);
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
