//! What is known of each socket: what it is ready for, and whom to wake. In shards, so that
//! connections on different cores seldom meet.

use std::ops::BitOr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mio::Token;
use mio::event::Event;

/// What may be tried with a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ready(u8);

impl Ready {
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    /// Nothing more arrives, or can be sent: trying never waits.
    const READ_END: Self = Self(4);
    const WRITE_END: Self = Self(8);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn of(event: &Event) -> Self {
        let flag = |holds, flag| if holds { flag } else { Self::default() };
        flag(event.is_readable() || event.is_error(), Self::READ)
            | flag(event.is_writable() || event.is_error(), Self::WRITE)
            | flag(event.is_read_closed() || event.is_error(), Self::READ_END)
            | flag(event.is_write_closed() || event.is_error(), Self::WRITE_END)
    }

    /// What lasts, of one kind.
    fn end_of(kind: Self) -> Self {
        if kind == Self::READ { Self::READ_END } else { Self::WRITE_END }
    }
}

impl BitOr for Ready {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[derive(Debug, Default)]
struct Slot {
    ready: Ready,
    /// How many sockets had this place before.
    generation: u32,
    waker: Option<Waker>,
}

/// The place of one socket; another one that has the place later has another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) place: u32,
    generation: u32,
}

impl Key {
    pub(super) fn token(self) -> Token {
        const { assert!(usize::BITS >= 64, "a key has 64 bits") };
        let bits = u64::from(self.generation) << 32 | u64::from(self.place);
        Token(usize::try_from(bits).unwrap_or(usize::MAX))
    }

    fn of(token: Token) -> Self {
        let half = |bits: usize| u32::try_from(bits & 0xFFFF_FFFF).unwrap_or(u32::MAX);
        Self { place: half(token.0), generation: half(token.0 >> 32) }
    }
}

/// Something that happened to a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happened {
    key: Key,
    ready: Ready,
}

impl Happened {
    pub(super) fn of(event: &Event) -> Self {
        Self { key: Key::of(event.token()), ready: Ready::of(event) }
    }

    /// Whether the peer has gone.
    pub(super) fn is_end(self) -> bool {
        self.ready.has(Ready::READ_END | Ready::WRITE_END)
    }
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

const SHARDS: u32 = 8;

/// All sockets of a watch.
#[derive(Debug, Default)]
pub(super) struct Slots {
    shards: [Mutex<Shard>; SHARDS as usize],
    /// Where the next socket goes.
    turn: AtomicU32,
}

impl Slots {
    /// A key that no other socket has.
    pub(super) fn take(&self) -> Key {
        let at = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shard(at);
        let place = shard.free.pop().unwrap_or_else(|| {
            shard.slots.push(Slot::default());
            let index = u32::try_from(shard.slots.len() - 1).unwrap_or(u32::MAX / SHARDS);
            index * SHARDS + at
        });
        let generation = shard.at(place).map_or(0, |slot| slot.generation);
        Key { place, generation }
    }

    pub(super) fn give_back(&self, key: Key) {
        let mut shard = self.shard(key.place);
        let Some(slot) = shard.slot(key) else { return };
        let generation = slot.generation.wrapping_add(1);
        let slot = std::mem::replace(slot, Slot { generation, ..Slot::default() });
        shard.free.push(key.place);
        drop(shard);
        drop(slot);
    }

    /// Ready once this kind was seen since it was asked for last; until then, the task is woken by
    /// whatever happens to the socket.
    pub(super) fn poll_ready(&self, key: Key, kind: Ready, cx: &Context<'_>) -> Poll<()> {
        let mut shard = self.shard(key.place);
        let Some(slot) = shard.slot(key) else { return Poll::Pending };
        if slot.ready.has(kind | Ready::end_of(kind)) {
            slot.ready = slot.ready.without(kind);
            return Poll::Ready(());
        }
        if slot.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Notes what happened to a socket and wakes its task.
    pub(super) fn note(&self, happened: Happened) {
        let mut shard = self.shard(happened.key.place);
        if let Some(slot) = shard.slot(happened.key) {
            slot.ready = slot.ready | happened.ready;
            if let Some(waker) = &slot.waker {
                waker.wake_by_ref();
            }
        }
    }

    fn shard(&self, place: u32) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(place % SHARDS).unwrap_or_default();
        let [first, ..] = &self.shards;
        self.shards.get(at).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn at(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(place / SHARDS).unwrap_or(usize::MAX))
    }

    fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.at(key.place).filter(|slot| slot.generation == key.generation)
    }
}
