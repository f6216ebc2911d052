//! Makes a failing run small: events are taken out while the same invariant still breaks, then
//! waits are made short and numbers plain.

use super::World;
use super::event::Event;
use super::run::Failure;

impl Failure {
    /// The smallest run that was found, with at most `replays` attempts.
    #[must_use]
    pub fn shrink(self, replays: u32) -> Self {
        let Self { mut violation, setup, events } = self;
        let events = smaller(events, replays, plainer, |events| {
            let found = World::new(setup.clone(), false).replay(events).err();
            let same = found.filter(|found| found.invariant == violation.invariant);
            same.map(|found| violation = found).is_some()
        });
        Self { violation, setup, events }
    }
}

/// Fewer and plainer events with which the same thing goes wrong, after at most `replays` tries.
/// The last call of `fails` that said so was for what is given back.
pub(crate) fn smaller<E: Copy + PartialEq>(
    events: Vec<E>,
    replays: u32,
    plainer: fn(E) -> Vec<E>,
    fails: impl FnMut(&[E]) -> bool,
) -> Vec<E> {
    let mut search = Search { events, replays, plainer, fails };
    loop {
        let before = search.events.clone();
        search.drop_events();
        search.plain_events();
        if search.replays == 0 || before == search.events {
            return search.events;
        }
    }
}

struct Search<E, F> {
    events: Vec<E>,
    replays: u32,
    plainer: fn(E) -> Vec<E>,
    fails: F,
}

impl<E: Copy + PartialEq, F: FnMut(&[E]) -> bool> Search<E, F> {
    /// Takes out runs of events: halves first, single events last.
    fn drop_events(&mut self) {
        let mut size = (self.events.len() / 2).max(1);
        loop {
            let mut at = 0;
            while at < self.events.len() && self.replays > 0 {
                let end = (at + size).min(self.events.len());
                let mut fewer = self.events.clone();
                fewer.drain(at..end);
                if !self.accept(fewer) {
                    at = end;
                }
            }
            if size == 1 || self.replays == 0 {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    /// Shortens waits and makes the rest plain.
    fn plain_events(&mut self) {
        for at in 0..self.events.len() {
            for plain in (self.plainer)(self.events[at]) {
                if self.replays == 0 {
                    return;
                }
                if plain == self.events[at] {
                    continue;
                }
                let mut events = self.events.clone();
                events[at] = plain;
                if self.accept(events) {
                    break;
                }
            }
        }
    }

    fn accept(&mut self, events: Vec<E>) -> bool {
        self.replays = self.replays.saturating_sub(1);
        let fails = (self.fails)(&events);
        if fails {
            self.events = events;
        }
        fails
    }
}

/// Simpler events that may do as well, the simplest first.
#[expect(clippy::wildcard_enum_match_arm, reason = "most events are as simple as they can be")]
fn plainer(event: Event) -> Vec<Event> {
    match event {
        Event::Wait { millis } => {
            [1, 1_000, 2_000, 10_000, millis / 2].map(|millis| Event::Wait { millis }).to_vec()
        }
        Event::Set { site, stream, key, field, value } => {
            [(0, 0, 1), (0, field, value), (key, 0, 1)]
                .map(|(key, field, value)| Event::Set { site, stream, key, field, value })
                .to_vec()
        }
        Event::Churn { site, stream, from, count } => {
            vec![Event::Churn { site, stream, from, count: count / 2 }]
        }
        Event::Arrive(pick) => vec![Event::Arrive(super::event::Pick { at: 0, ..pick })],
        Event::Repeat(pick) => vec![Event::Arrive(pick)],
        Event::Crash { node, kept: true } => vec![Event::Crash { node, kept: false }],
        _ => Vec::new(),
    }
}
