//! What a base and the files of a journal make together, or why they do not belong together. Pure:
//! told of heads and frames, it says which commits the base lacks.

use super::frame::{End, Head, StoreId};

/// What the base knows of its journal; written in the commit that it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Whose journal.
    pub(super) id: StoreId,
    /// The last commit that the base has.
    pub(super) flushed: u64,
    /// The base has everything, and the journal nothing that is needed.
    pub(super) is_whole: bool,
}

const FORM: u8 = 1;

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend(self.id);
        bytes.extend(self.flushed.to_le_bytes());
        bytes.push(u8::from(self.is_whole));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[FORM])?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (flushed, rest) = rest.split_first_chunk::<8>()?;
        let is_whole = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Self { id: *id, flushed: u64::from_le_bytes(*flushed), is_whole })
    }
}

/// Why a base and a journal are not opened together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("the journal holds changes, but the store's file is missing")]
    NoBase,
    #[error("the journal is missing, and the store's file alone lacks its last changes")]
    NoJournal,
    #[error("the journal belongs to another store")]
    Foreign,
    #[error("the store's file is older than the journal: changes between them are missing")]
    OldBase,
    #[error("the journal is older than the store's file: it is not the one that was in use")]
    OldJournal,
    #[error("changes in the middle of the journal are missing or damaged")]
    Gap,
}

/// Goes through the files of a journal, from the earliest to the last.
#[derive(Debug)]
pub(super) struct Replay {
    mark: Mark,
    /// The commit that is wanted next.
    next: u64,
    /// Where the last file began.
    first: u64,
    /// The one that would follow on the last file.
    end: Option<u64>,
}

impl Replay {
    pub(super) const fn new(mark: Mark) -> Self {
        Self { mark, next: mark.flushed + 1, first: 0, end: None }
    }

    /// The commit that is wanted next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// A file comes.
    pub(super) fn file(&mut self, head: &Head) -> Result<(), Mismatch> {
        if head.id != self.mark.id {
            return Err(Mismatch::Foreign);
        }
        if head.first > self.next {
            let is_first = self.end.is_none();
            return Err(if is_first { Mismatch::OldBase } else { Mismatch::Gap });
        }
        // Else it would make void what it cannot know of.
        if head.first < self.first {
            return Err(Mismatch::OldJournal);
        }
        self.first = head.first;
        Ok(())
    }

    /// Whether the base lacks a commit of the file.
    pub(super) fn wants(&mut self, number: u64) -> bool {
        let is_wanted = number == self.next;
        self.next += u64::from(is_wanted);
        is_wanted
    }

    /// The file has ended.
    pub(super) const fn ended(&mut self, end: End) -> Result<(), Mismatch> {
        self.end = Some(end.next);
        if end.is_damaged { Err(Mismatch::Gap) } else { Ok(()) }
    }

    /// Every file was there; gives back the last commit.
    pub(super) fn done(&self) -> Result<u64, Mismatch> {
        let last = self.next - 1;
        match self.end {
            _ if self.mark.is_whole => Ok(last),
            None => Err(Mismatch::NoJournal),
            Some(end) if end <= self.mark.flushed => Err(Mismatch::OldJournal),
            Some(_) => Ok(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mark(flushed: u64, is_whole: bool) -> Mark {
        Mark { id: [1; 16], flushed, is_whole }
    }

    /// What becomes of files that have commits from one number up to before another.
    fn replay(mark: Mark, files: &[(u64, u64)]) -> Result<Vec<u64>, Mismatch> {
        let (mut replay, mut found) = (Replay::new(mark), Vec::new());
        for (generation, &(first, next)) in (1..).zip(files) {
            replay.file(&Head { id: [1; 16], generation, first })?;
            found.extend((first..next).filter(|number| replay.wants(*number)));
            replay.ended(End { at: 0, next, is_damaged: false })?;
        }
        assert_eq!(replay.done()?, found.last().copied().unwrap_or(mark.flushed));
        Ok(found)
    }

    #[test]
    fn the_base_gets_what_it_lacks_and_nothing_twice() {
        assert_eq!(replay(mark(0, false), &[(1, 4)]), Ok(vec![1, 2, 3]));
        assert_eq!(replay(mark(2, false), &[(1, 4)]), Ok(vec![3]));
        assert_eq!(replay(mark(3, false), &[(1, 4)]), Ok(vec![]));
        assert_eq!(replay(mark(2, false), &[(1, 3), (3, 5), (5, 5)]), Ok(vec![3, 4]));
        assert_eq!(replay(mark(4, false), &[(5, 5)]), Ok(vec![]), "rotated, nothing came yet");
        assert_eq!(replay(mark(4, true), &[]), Ok(vec![]));
        assert_eq!(replay(mark(4, true), &[(1, 3)]), Ok(vec![]), "it needs no journal");
        assert_eq!(replay(mark(9, false), &[(1, 3), (7, 12)]), Ok(vec![10, 11]));
    }

    #[test]
    fn what_does_not_belong_together_is_refused_with_the_reason() {
        assert_eq!(replay(mark(4, false), &[]), Err(Mismatch::NoJournal));
        assert_eq!(replay(mark(4, false), &[(6, 8)]), Err(Mismatch::OldBase));
        assert_eq!(replay(mark(4, true), &[(6, 8)]), Err(Mismatch::OldBase));
        assert_eq!(replay(mark(4, false), &[(1, 4)]), Err(Mismatch::OldJournal));
        assert_eq!(replay(mark(4, false), &[(3, 6), (7, 8)]), Err(Mismatch::Gap));
        assert_eq!(replay(mark(4, true), &[(5, 9), (2, 5)]), Err(Mismatch::OldJournal));
        let foreign = Head { id: [2; 16], generation: 1, first: 1 };
        assert_eq!(Replay::new(mark(4, true)).file(&foreign), Err(Mismatch::Foreign));
        let damaged = End { at: 0, next: 5, is_damaged: true };
        assert_eq!(Replay::new(mark(4, false)).ended(damaged), Err(Mismatch::Gap));
    }

    #[test]
    fn a_mark_is_read_back_and_nothing_else_is_one() {
        for mark in [mark(7, true), mark(u64::MAX, false)] {
            let bytes = mark.encode();
            assert_eq!(Mark::decode(&bytes), Some(mark));
            assert_eq!(Mark::decode(&bytes[1..]), None);
            assert_eq!(Mark::decode(&[bytes, vec![0]].concat()), None);
        }
    }
}
