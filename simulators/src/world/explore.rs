//! Every state of a small world: one writer, one reader, a few changes and crashes, and a network
//! that loses, repeats, delays and reorders as it likes. Breadth first, so that the first way that
//! is found to break an invariant is a shortest one.
//!
//! In each direction the network holds the last few different messages; any of them may arrive at
//! any time, any number of times, or never. So losses and copies need no events of their own, and
//! carrying out an effect is no choice: a message that never arrives is a lost one.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Backoff, Moment, ReaderConfig, WriterConfig};

use super::channel::{Channel, Item};
use super::event::Role;
use super::violation::Violation;
use super::{documents, wording};

/// How large the small world is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many shadows there are.
    pub shadows: u8,
    /// How many changes happen, deletions included.
    pub changes: u8,
    /// How often each end crashes.
    pub crashes: u8,
    /// How often the reader's disk is lost.
    pub wipes: u8,
    /// How many different messages the network holds in each direction.
    pub under_way: usize,
    /// How many batches may be in flight.
    pub window: u8,
    /// How many bytes a batch may have.
    pub max_batch: usize,
    /// The most states that are visited.
    pub states: usize,
}

impl Default for Limits {
    /// Two shadows, three changes, one crash of each end, two messages each way.
    fn default() -> Self {
        Self {
            shadows: 2,
            changes: 3,
            crashes: 1,
            wipes: 0,
            under_way: 2,
            window: 1,
            max_batch: 16 * 1024,
            states: 20_000_000,
        }
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Explored {
    /// How many states were reached.
    pub states: usize,
    /// How many steps were taken from one to another.
    pub steps: usize,
    /// How many steps the farthest state is from the first.
    pub depth: usize,
    /// Whether these are all the states.
    pub is_complete: bool,
    /// A shortest way to break an invariant, if there is one.
    pub failure: Option<(Violation, Vec<String>)>,
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Begin,
    Set(u8),
    Delete(u8),
    Commit(Role),
    Crash(Role),
    WipeReader,
    Timeout,
    Arrive(Arc<Message>),
}

#[derive(Debug, Clone)]
struct State {
    channel: Channel,
    /// The last messages to the writer and to the reader, the newest last.
    network: [Vec<Arc<Message>>; 2],
    changes: u8,
    crashes: [u8; 2],
    wipes: u8,
    under_way: usize,
}

/// A state that was not seen before, and how it was reached.
struct Found {
    parent: usize,
    step: Step,
    key: Key,
    state: State,
}

type Key = (u64, u64);

type Failed = (Violation, usize, Step);

const NOW: Moment = Moment::from_millis(0);

/// Bytes that make a patch cheaper than a whole document.
const PADDING: usize = 1;

/// Visits every state within the limits; `tell` hears the number of states now and then.
pub fn explore(limits: Limits, mut tell: impl FnMut(usize)) -> Explored {
    let mut explored = Explored::default();
    let first = match State::first(limits) {
        Ok(first) => first,
        Err(violation) => return Explored { failure: Some((violation, Vec::new())), ..explored },
    };
    let mut seen = BTreeSet::from([first.key()]);
    let mut ways = vec![(0, Step::Begin)];
    let mut level = vec![(0, first)];
    while !level.is_empty() && seen.len() < limits.states {
        let (found, steps, failed) = successors(&level, &seen, limits);
        explored.steps += steps;
        if let Some((violation, parent, step)) = failed {
            explored.failure = Some((violation, way_to(&ways, parent, &step)));
            break;
        }
        level.clear();
        for Found { parent, step, key, state } in found {
            if seen.insert(key) {
                ways.push((parent, step));
                level.push((ways.len() - 1, state));
            }
        }
        explored.depth += usize::from(!level.is_empty());
        tell(seen.len());
    }
    explored.states = seen.len();
    explored.is_complete = level.is_empty();
    explored
}

/// Takes every step from every state of a level, on all processors.
fn successors(
    level: &[(usize, State)],
    seen: &BTreeSet<Key>,
    limits: Limits,
) -> (Vec<Found>, usize, Option<Failed>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = level.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = level
            .chunks(share)
            .map(|part| scope.spawn(move || successors_of(part, seen, limits)))
            .collect();
        let mut all = (Vec::new(), 0, None);
        for part in parts {
            let (found, steps, failed) = part.join().expect("a broken invariant is no panic");
            all.0.extend(found);
            all.1 += steps;
            all.2 = all.2.or(failed);
        }
        all
    })
}

fn successors_of(
    part: &[(usize, State)],
    seen: &BTreeSet<Key>,
    limits: Limits,
) -> (Vec<Found>, usize, Option<Failed>) {
    let (mut all, mut steps) = (Vec::new(), 0);
    let mut fresh = BTreeSet::new();
    for (parent, state) in part {
        for step in state.steps(limits) {
            steps += 1;
            let mut next = state.clone();
            if let Err(violation) = next.take(&step) {
                return (all, steps, Some((violation, *parent, step)));
            }
            let key = next.key();
            if !seen.contains(&key) && fresh.insert(key) {
                all.push(Found { parent: *parent, step, key, state: next });
            }
        }
    }
    (all, steps, None)
}

fn way_to(ways: &[(usize, Step)], mut number: usize, last: &Step) -> Vec<String> {
    let mut way = vec![last.describe()];
    while number > 0 {
        let (parent, step) = &ways[number];
        way.push(step.describe());
        number = *parent;
    }
    way.reverse();
    way
}

impl State {
    /// A writer with a store, and a reader that has never heard of it, on a link that is up.
    fn first(limits: Limits) -> Result<Self, Violation> {
        let backoff = Backoff { base: Duration::ZERO, cap: Duration::ZERO, slowest_rate: u64::MAX };
        let writer = WriterConfig { window: limits.window, max_batch: limits.max_batch, backoff };
        let reader = ReaderConfig { window: limits.window };
        let mut state = Self {
            channel: Channel::new(1, writer, reader),
            network: [Vec::new(), Vec::new()],
            changes: limits.changes,
            crashes: [limits.crashes; 2],
            wipes: limits.wipes,
            under_way: limits.under_way,
        };
        state.channel.commit(Role::Writer, true)?;
        for role in [Role::Writer, Role::Reader] {
            state.channel.link_up(role, NOW)?;
        }
        state.carry_out()?;
        Ok(state)
    }

    /// What can happen now. A shell that is writing takes no input before that is done.
    fn steps(&self, limits: Limits) -> Vec<Step> {
        let mut steps = Vec::new();
        for (at, role) in [Role::Writer, Role::Reader].into_iter().enumerate() {
            steps.extend((self.crashes[at] > 0).then_some(Step::Crash(role)));
            if self.channel.has_write(role) {
                steps.push(Step::Commit(role));
                continue;
            }
            steps.extend(self.network[at].iter().cloned().map(Step::Arrive));
            if role == Role::Writer {
                steps.extend(self.channel.due().map(|_| Step::Timeout));
                if self.changes > 0 {
                    // Shadows differ by name only, so the first to be used is the first.
                    let used = u8::try_from(self.channel.ledger.known()).unwrap_or(u8::MAX);
                    steps.extend((0..limits.shadows.min(used.saturating_add(1))).map(Step::Set));
                    let exists = |key: &u8| self.channel.writer.get(&shadow(*key)).is_some();
                    steps.extend((0..limits.shadows).filter(exists).map(Step::Delete));
                }
            }
        }
        steps.extend((self.wipes > 0).then_some(Step::WipeReader));
        steps
    }

    fn take(&mut self, step: &Step) -> Result<(), Violation> {
        match step {
            Step::Begin => {}
            Step::Set(key) => {
                let key = shadow(*key);
                let fact = self.channel.ledger.live.get(&key);
                let old = fact.and_then(|fact| fact.document.as_ref()).map(Packed::unpack);
                let document = documents::edit(old.as_ref(), 0, self.changes, PADDING);
                self.changes -= 1;
                self.channel.ask(NOW, &key, Some(document))?;
            }
            Step::Delete(key) => {
                self.changes -= 1;
                self.channel.ask(NOW, &shadow(*key), None)?;
            }
            Step::Commit(role) => self.channel.commit(*role, false)?,
            Step::Crash(role) => {
                self.crashes[usize::from(*role == Role::Reader)] -= 1;
                self.channel.restart(*role)?;
                self.channel.link_up(*role, NOW)?;
            }
            Step::WipeReader => {
                self.wipes -= 1;
                self.channel.wipe(Role::Reader)?;
                self.channel.link_up(Role::Reader, NOW)?;
            }
            Step::Timeout => self.channel.timeout(NOW)?,
            Step::Arrive(message) => self.channel.receive(NOW, message)?,
        }
        self.carry_out()
    }

    /// Carries out every effect that waits for no write.
    fn carry_out(&mut self) -> Result<(), Violation> {
        for role in [Role::Writer, Role::Reader] {
            while let Some(item) = self.channel.next_effect(role) {
                match item {
                    Item::Write(..) => {}
                    Item::Answer(key, version) => self.channel.ledger.answered(&key, version)?,
                    Item::Deliver(epoch, news) => self.channel.follower.told(epoch, &news)?,
                    Item::Send(message) => {
                        self.channel.check_send(&message)?;
                        self.send(message);
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        let messages = &mut self.network[usize::from(message.kind().is_from_writer())];
        messages.retain(|known| **known != message);
        messages.push(Arc::new(message));
        if messages.len() > self.under_way {
            messages.remove(0);
        }
    }

    /// What makes this state this state: everything but counters, dice, and how often was tried.
    fn key(&self) -> Key {
        let mut text = self.channel.describe();
        cut(&mut text, "rng: ");
        cut(&mut text, "counters: ");
        cut(&mut text, "attempt: ");
        let hash = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(salt);
            hasher.write(text.as_bytes());
            for message in self.network.iter().flatten() {
                hasher.write(&message.encode());
                hasher.write_u8(u8::from(message.kind().is_from_writer()));
            }
            hasher.write(&[self.changes, self.crashes[0], self.crashes[1], self.wipes]);
            hasher.finish()
        };
        (hash(1), hash(2))
    }
}

/// Takes out every part of the text from `start` to the next closing brace.
fn cut(text: &mut String, start: &str) {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(start) {
        kept.push_str(before);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    *text = kept;
}

impl Step {
    fn describe(&self) -> String {
        if let Self::Arrive(message) = self {
            return format!("arrives: {}", wording::message(message));
        }
        format!("{self:?}")
    }
}

fn shadow(number: u8) -> ShadowKey {
    ["node", "app/web", "device/p1"][usize::from(number) % 3].parse().expect("a well-formed key")
}
