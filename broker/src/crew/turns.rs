//! Who has the next turn: those that ask for little before those that have much to do, so that a
//! client is answered soon however many others flood the broker. Pure.

use std::collections::VecDeque;

/// How often in a row what a turn has woken goes before those that wait.
const HOPS: u8 = 3;

/// Turns of those with little to do before one of those with much has one.
const LITTLE: u8 = 16;

/// Room in a list that is kept once the list is empty.
const KEPT: usize = 256;

/// Those that wait for a turn, by number.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Those whose last turn was short.
    little: VecDeque<u32>,
    /// Those that had more to do in their last turn than one turn may take.
    much: VecDeque<u32>,
    /// How often in a row what a turn has woken had the next turn.
    hops: u8,
    /// How many had a turn since one with much to do had one.
    since: u8,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.little.is_empty() && self.much.is_empty()
    }

    /// Waits for a turn from now on.
    pub(super) fn push(&mut self, number: u32, has_much: bool) {
        if has_much { self.much.push_back(number) } else { self.little.push_back(number) }
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let is_due = self.since >= LITTLE || self.little.is_empty();
        if is_due && let Some(number) = self.much.pop_front() {
            self.since = 0;
            return Some(number);
        }
        self.since = self.since.saturating_add(1);
        self.little.pop_front()
    }

    /// Whoever a turn has woken first is next: a subscriber takes what its publisher has sent
    /// before so much waits for it that publishers must pause. Not forever, so that others are
    /// not left waiting; and nobody wakes itself to the front. Returns what is left to push.
    pub(super) fn hop(&mut self, woken: &[u32], after: u32) -> Option<u32> {
        let first = woken.first().copied().filter(|first| *first != after && self.hops < HOPS);
        match first {
            Some(first) => {
                self.hops += 1;
                self.little.push_front(first);
            }
            None => self.hops = 0,
        }
        first
    }

    /// Gives memory back that is not needed now.
    pub(super) fn shrink(&mut self) {
        self.little.shrink_to(KEPT);
        self.much.shrink_to(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(turns: &mut Turns, count: usize) -> Vec<u32> {
        (0..count).filter_map(|_| turns.pop()).collect()
    }

    #[test]
    fn who_has_little_to_do_goes_first() {
        let mut turns = Turns::default();
        (0..100).for_each(|number| turns.push(number, true));
        turns.push(100, false);
        assert_eq!(turns.pop(), Some(100));
        assert_eq!(popped(&mut turns, 200), (0..100).collect::<Vec<_>>());
        assert!(turns.is_empty());
    }

    #[test]
    fn who_has_much_to_do_is_not_starved() {
        let mut turns = Turns::default();
        turns.push(1_000, true);
        (0..100).for_each(|number| turns.push(number, false));
        let order = popped(&mut turns, 101);
        assert_eq!(order.iter().position(|number| *number == 1_000), Some(usize::from(LITTLE)));
    }

    #[test]
    fn what_a_turn_has_woken_is_next_but_not_forever_and_not_itself() {
        let mut turns = Turns::default();
        turns.push(7, false);
        for _ in 0..HOPS {
            assert_eq!(turns.hop(&[1, 2], 9), Some(1));
            assert_eq!(turns.pop(), Some(1));
        }
        assert_eq!(turns.hop(&[1, 2], 9), None);
        assert_eq!(turns.pop(), Some(7));
        assert_eq!(turns.hop(&[9, 1], 9), None);
        assert_eq!(turns.hop(&[1], 9), Some(1), "it may go on after that");
    }
}
