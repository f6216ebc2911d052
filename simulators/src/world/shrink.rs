//! Makes a failing run small: events are taken out while the same invariant still breaks, then
//! waits are made short and numbers plain.

use super::World;
use super::event::Event;
use super::run::Failure;

impl Failure {
    /// The smallest run that was found, with at most `replays` attempts.
    #[must_use]
    pub fn shrink(mut self, mut replays: u32) -> Self {
        loop {
            let before = (self.events.len(), self.weight());
            self.drop_events(&mut replays);
            self.plain_events(&mut replays);
            if replays == 0 || before == (self.events.len(), self.weight()) {
                return self;
            }
        }
    }

    /// Takes out runs of events: halves first, single events last.
    fn drop_events(&mut self, replays: &mut u32) {
        let mut size = (self.events.len() / 2).max(1);
        loop {
            let mut at = 0;
            while at < self.events.len() && *replays > 0 {
                let end = (at + size).min(self.events.len());
                let mut fewer = self.events.clone();
                fewer.drain(at..end);
                if !self.accept(fewer, replays) {
                    at = end;
                }
            }
            if size == 1 || *replays == 0 {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    /// Shortens waits and makes the rest plain.
    fn plain_events(&mut self, replays: &mut u32) {
        for at in 0..self.events.len() {
            for plain in plainer(self.events[at]) {
                if *replays == 0 {
                    return;
                }
                if plain == self.events[at] {
                    continue;
                }
                let mut events = self.events.clone();
                events[at] = plain;
                if self.accept(events, replays) {
                    break;
                }
            }
        }
    }

    fn accept(&mut self, events: Vec<Event>, replays: &mut u32) -> bool {
        *replays = replays.saturating_sub(1);
        let result = World::new(self.setup.clone(), false).replay(&events);
        let Some(violation) = result.err() else { return false };
        if violation.invariant != self.violation.invariant {
            return false;
        }
        self.events = events;
        self.violation = violation;
        true
    }

    fn weight(&self) -> u64 {
        let weight = |event: &Event| {
            let (Event::Wait { millis } | Event::Jump { millis, .. }) = event else { return 0 };
            u64::from(*millis)
        };
        self.events.iter().map(weight).sum()
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
