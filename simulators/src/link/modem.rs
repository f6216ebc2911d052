//! The state of a whole link: its queues, connections and timers. Decides, moves nothing.
//! Pure: the engine hands in time and segments and carries out what comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;

use super::outage::Outage;
use super::schedule::{Chunk, ConnectionState, DirectionState, Fate, draw_reset, schedule};
use super::{Direction, Profile};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

/// A chunk with what it carries, which is of no concern here.
#[derive(Debug)]
pub(super) struct Segment<T> {
    pub(super) connection: ConnectionId,
    pub(super) chunk: Chunk,
    pub(super) load: T,
}

#[derive(Debug)]
pub(super) enum Output<T> {
    Deliver {
        segment: Segment<T>,
        at: Duration,
        stalled: bool,
    },
    /// The connection had been forgotten.
    Lost {
        segment: Segment<T>,
    },
    Reset {
        connection: ConnectionId,
    },
    Air {
        is_up: bool,
    },
}

/// Call order: any of the inputs, then `advance(now)`, then `poll_output` until it is empty, then
/// sleep until `next_wake` or the next input. Time never runs backwards.
#[derive(Debug)]
pub(super) struct Modem<T> {
    profile: Profile,
    rng: StdRng,
    outage: Outage,
    was_up: bool,
    up: Line<T>,
    down: Line<T>,
    connections: BTreeMap<ConnectionId, Slot>,
    resets: BTreeSet<(Duration, ConnectionId)>,
    outputs: VecDeque<Output<T>>,
}

#[derive(Debug)]
struct Slot {
    state: ConnectionState,
    reset_at: Option<Duration>,
}

#[derive(Debug)]
struct Line<T> {
    state: DirectionState,
    queue: VecDeque<Segment<T>>,
    queued_bytes: u64,
    wake: Option<Duration>,
}

impl<T> Modem<T> {
    pub(super) fn new(now: Duration, profile: Profile, mut rng: StdRng) -> Self {
        let outage = Outage::new(now, &profile, &mut rng);
        Self {
            profile,
            rng,
            outage,
            was_up: true,
            up: Line::new(),
            down: Line::new(),
            connections: BTreeMap::new(),
            resets: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn set_profile(&mut self, now: Duration, profile: &Profile) {
        if self.profile == *profile {
            return;
        }
        self.profile = profile.clone();
        self.outage.begin_profile(now, &self.profile, &mut self.rng);
        self.resets.clear();
        for (id, slot) in &mut self.connections {
            slot.reset_at = draw_reset(now, &self.profile, &mut self.rng);
            self.resets.extend(slot.reset_at.map(|at| (at, *id)));
        }
    }

    pub(super) fn set_down(&mut self, now: Duration, down: bool) {
        self.outage.order(now, down, &self.profile);
    }

    pub(super) fn open(&mut self, now: Duration, id: ConnectionId) {
        let state = ConnectionState::open(now, &self.profile, &mut self.rng);
        let reset_at = draw_reset(now, &self.profile, &mut self.rng);
        self.resets.extend(reset_at.map(|at| (at, id)));
        self.connections.insert(id, Slot { state, reset_at });
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(at) = self.connections.remove(&id).and_then(|slot| slot.reset_at) {
            self.resets.remove(&(at, id));
        }
    }

    /// Whether the modem takes another segment; when not, the sender must feel it.
    pub(super) fn has_room(&self, direction: Direction) -> bool {
        let line = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        line.queued_bytes < self.profile.queue_bytes
    }

    pub(super) fn push(&mut self, segment: Segment<T>) {
        let line = match segment.chunk.direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        line.queued_bytes += queue_cost(&segment);
        line.queue.push_back(segment);
    }

    pub(super) fn advance(&mut self, now: Duration) {
        self.outage.advance(now, &self.profile, &mut self.rng);
        let is_up = self.outage.is_up();
        if is_up != self.was_up {
            self.was_up = is_up;
            self.up.state.is_up = is_up;
            self.down.state.is_up = is_up;
            self.outputs.push_back(Output::Air { is_up });
        }
        if self.outage.hang_ends(now) {
            let all: Vec<_> = self.connections.keys().copied().collect();
            for id in all {
                self.reset(id);
            }
        }
        while let Some((_, id)) = self.resets.first().copied().filter(|(at, _)| *at <= now) {
            self.reset(id);
        }
        for line in [&mut self.up, &mut self.down] {
            line.drain(now, &self.profile, &mut self.rng, &mut self.connections, &mut self.outputs);
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        let reset = self.resets.first().map(|(at, _)| *at);
        let changes = self.outage.next_change();
        [changes, reset, self.up.wake, self.down.wake].into_iter().flatten().min()
    }

    fn reset(&mut self, id: ConnectionId) {
        self.close(id);
        self.outputs.push_back(Output::Reset { connection: id });
    }
}

impl<T> Line<T> {
    fn new() -> Self {
        Self { state: DirectionState::new(), queue: VecDeque::new(), queued_bytes: 0, wake: None }
    }

    fn drain(
        &mut self,
        now: Duration,
        profile: &Profile,
        rng: &mut StdRng,
        connections: &mut BTreeMap<ConnectionId, Slot>,
        outputs: &mut VecDeque<Output<T>>,
    ) {
        self.wake = None;
        while let Some(segment) = self.queue.pop_front() {
            let cost = queue_cost(&segment);
            // A connection that is gone sends nothing more: what it left in the queue is let go.
            if let Some(slot) = connections.get_mut(&segment.connection) {
                let state = &mut slot.state;
                match schedule(now, segment.chunk, profile, rng, &mut self.state, state) {
                    Fate::Deliver { at, stalled } => {
                        let stalled = !stalled.is_zero();
                        outputs.push_back(Output::Deliver { segment, at, stalled });
                    }
                    Fate::Forgotten => outputs.push_back(Output::Lost { segment }),
                    Fate::Wait { until } => {
                        self.wake = Some(until);
                        self.queue.push_front(segment);
                        return;
                    }
                    Fate::Down => {
                        self.queue.push_front(segment);
                        return;
                    }
                }
            }
            self.queued_bytes = self.queued_bytes.saturating_sub(cost);
        }
    }
}

/// Small chunks cost memory too.
fn queue_cost<T>(segment: &Segment<T>) -> u64 {
    segment.chunk.bytes.max(64)
}

#[cfg(test)]
mod tests;
