//! What lies over the base: the rows of commits that only the journal holds yet, in layers of which
//! a later one hides what is below it. Pure: no I/O, no locks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::store::Range;

/// Keys and what became of them; `None`: they went away.
pub(super) type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a row takes besides its key and its value, about.
const ROW: usize = 96;

/// What a row takes in memory, about.
pub(super) fn size((key, value): Row<'_>) -> usize {
    key.len() + ROW + value.map_or(0, <[u8]>::len)
}

/// The commits of some time.
#[derive(Debug, Default)]
pub(super) struct Layer {
    rows: Rows,
    bytes: usize,
    /// The number of the last commit in it.
    last: u64,
}

impl Layer {
    pub(super) const fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    fn take(&mut self, number: u64, rows: Rows) {
        for (key, value) in rows {
            let (keys, values) = (key.len() + ROW, value.as_ref().map_or(0, Vec::len));
            let before = self.rows.insert(key, value);
            let gone = before.map_or(0, |value| keys + value.map_or(0, |value| value.len()));
            self.bytes = self.bytes + keys + values - gone;
        }
        self.last = number;
    }
}

/// The layers: one that grows, and those that are on their way to the base.
#[derive(Debug, Default)]
pub(super) struct Layers {
    active: Layer,
    /// The oldest first.
    frozen: VecDeque<Arc<Layer>>,
}

impl Layers {
    /// Puts a commit on top.
    pub(super) fn take(&mut self, number: u64, rows: Rows) {
        self.active.take(number, rows);
    }

    /// Ends the layer that grows; the frozen ones, the oldest first.
    pub(super) fn freeze(&mut self) -> Vec<Arc<Layer>> {
        if !self.active.rows.is_empty() {
            self.frozen.push_back(Arc::new(std::mem::take(&mut self.active)));
        }
        self.frozen.iter().cloned().collect()
    }

    /// Forgets the layers up to a commit: the base has them.
    pub(super) fn forget(&mut self, last: u64) {
        self.frozen.retain(|layer| layer.last > last);
    }

    /// What the layer that grows takes.
    pub(super) const fn active_bytes(&self) -> usize {
        self.active.bytes
    }

    /// What all of them take.
    pub(super) fn bytes(&self) -> usize {
        self.active.bytes + self.frozen.iter().map(|layer| layer.bytes).sum::<usize>()
    }

    /// What became of a key; `None`: nothing here.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.newest_first().find_map(|rows| rows.get(key))
    }

    /// The rows of a range, with at most so many that are there: a base below can only add keys, so
    /// nothing behind those can be among the first `limit`.
    pub(super) fn cut(&self, range: Range<'_>, limit: usize) -> Rows {
        let (mut cut, mut there) = (Rows::new(), 0);
        let layers: Vec<&Rows> = self.newest_first().collect();
        for (key, value) in merged(&layers, range) {
            if there >= limit {
                break;
            }
            there += usize::from(value.is_some());
            cut.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        }
        cut
    }

    /// The rows of every layer.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Rows> {
        let frozen = self.frozen.iter().rev().map(|layer| &layer.rows);
        std::iter::once(&self.active.rows).chain(frozen)
    }
}

/// A key and what became of it.
pub(super) type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// The rows of several layers, the newest of which comes first and hides the others.
pub(super) fn merged<'a>(
    newest_first: &[&'a Rows],
    range: Range<'_>,
) -> impl Iterator<Item = Row<'a>> + use<'a> {
    let bounds = (own(range.0), own(range.1));
    let is_empty = match (&bounds.0, &bounds.1) {
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
        _ => false,
    };
    let layers = newest_first.iter().filter(|_| !is_empty);
    let mut layers: Vec<_> = layers.map(|rows| rows.range(bounds.clone()).peekable()).collect();
    std::iter::from_fn(move || {
        let least = layers.iter_mut().filter_map(|rows| rows.peek().map(|row| row.0)).min()?;
        let mut found = None;
        for rows in &mut layers {
            if rows.peek().is_some_and(|row| row.0 == least) {
                let row = rows.next();
                found = found.or(row);
            }
        }
        found.map(|(key, value)| (key.as_slice(), value.as_deref()))
    })
}

fn own(bound: Bound<&[u8]>) -> Bound<Vec<u8>> {
    bound.map(<[u8]>::to_vec)
}

/// Lays rows over those of a base, which come one after the other in the order of their keys.
pub(super) struct Over<'a, I: Iterator<Item = Row<'a>>> {
    rows: std::iter::Peekable<I>,
}

impl<'a, I: Iterator<Item = Row<'a>>> Over<'a, I> {
    pub(super) fn new(rows: I) -> Self {
        Self { rows: rows.peekable() }
    }

    /// Takes the next row of the base, and gives to `each` what is there up to it; `false` when
    /// `each` has seen enough.
    pub(super) fn base(
        &mut self,
        key: &[u8],
        value: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> bool {
        while let Some((own, value)) = self.rows.next_if(|(own, _)| *own < key) {
            if value.is_some_and(|value| !each(own, value)) {
                return false;
            }
        }
        match self.rows.next_if(|(own, _)| *own == key) {
            Some((_, Some(value))) => each(key, value),
            Some((_, None)) => true,
            None => each(key, value),
        }
    }

    /// Gives to `each` what lies behind the base's last row.
    pub(super) fn rest(self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for (key, value) in self.rows {
            if value.is_some_and(|value| !each(key, value)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{lower, upper};

    fn rows(text: &str) -> Rows {
        let row = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, "-"));
            (key.into(), (value != "-").then(|| value.into()))
        };
        text.split_whitespace().map(row).collect()
    }

    fn layers() -> Layers {
        let mut layers = Layers::default();
        for (number, text) in [(1, "a=1 b=1 c=1 x=1"), (2, "b=2 c=-"), (3, "b=3 d=3")] {
            layers.take(number, rows(text));
            if number < 3 {
                layers.freeze();
            }
        }
        layers
    }

    fn all(from: &'static str) -> Range<'static> {
        (lower(from.as_bytes(), None), upper(None))
    }

    #[test]
    fn the_newest_layer_hides_the_others() {
        let layers = layers();
        let value = |key: &str| layers.get(key.as_bytes()).cloned();
        assert_eq!(value("a"), Some(Some(b"1".to_vec())));
        assert_eq!((value("b"), value("c")), (Some(Some(b"3".to_vec())), Some(None)));
        assert_eq!(value("y"), None);
        assert_eq!(layers.cut(all(""), 9), rows("a=1 b=3 c=- d=3 x=1"));
        assert_eq!(layers.cut(all("b"), 2), rows("b=3 c=- d=3"));
        assert_eq!(layers.cut((Bound::Excluded(b"b"), Bound::Excluded(b"b")), 2), Rows::new());
    }

    #[test]
    fn what_the_base_has_is_forgotten_and_nothing_else() {
        let mut layers = layers();
        let bytes = layers.bytes();
        layers.forget(1);
        assert_eq!(layers.cut(all(""), 9), rows("b=3 c=- d=3"));
        assert!(layers.bytes() < bytes);
        assert_eq!(layers.freeze().len(), 2);
        layers.forget(3);
        assert_eq!((layers.bytes(), layers.freeze().len()), (0, 0));
    }

    #[test]
    fn the_room_is_counted_when_rows_are_written_again() {
        let mut layers = Layers::default();
        layers.take(1, rows("a=1 b=22"));
        let bytes = layers.active_bytes();
        layers.take(2, rows("a=- b=22"));
        assert_eq!(layers.active_bytes(), bytes - 1);
        layers.take(3, rows("a=1 b=22"));
        assert_eq!(layers.active_bytes(), bytes);
    }

    #[test]
    fn rows_lie_over_those_of_the_base() {
        let (top, base) = (rows("b=- c=9 e=9 z=9"), rows("a=1 b=1 c=1 d=1"));
        for limit in 1..7 {
            let mut seen = Vec::new();
            let mut each = |key: &[u8], value: &[u8]| {
                seen.push(format!("{}{}", key.escape_ascii(), value.escape_ascii()));
                seen.len() < limit
            };
            let mut over = Over::new(merged(&[&top], all("")));
            let mut below = base.iter();
            if below.all(|(key, value)| over.base(key, value.as_deref().unwrap(), &mut each)) {
                over.rest(&mut each);
            }
            let expected = ["a1", "c9", "d1", "e9", "z9"];
            assert_eq!(seen, expected[..limit.min(expected.len())]);
        }
    }
}
