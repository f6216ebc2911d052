//! How many bytes were written in the last hour: flash wears out by them. Counted as they are
//! given to the store, in slots of a minute, so that its own memory is bounded too.

use std::collections::VecDeque;
use std::time::Duration;

use gnomon_sync::Moment;

const SLOT_MS: u64 = 60_000;
const SLOTS: u64 = 60;

#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Minutes in which something was written, with how much, oldest first.
    slots: VecDeque<(u64, u64)>,
    total: u64,
}

impl Meter {
    /// So many bytes were written.
    pub(super) fn add(&mut self, now: Moment, bytes: u64) {
        let slot = now.as_millis() / SLOT_MS;
        self.total = self.total.saturating_add(bytes);
        match self.slots.back_mut().filter(|(last, _)| *last == slot) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => self.slots.push_back((slot, bytes)),
        }
        while self.slots.front().is_some_and(|(first, _)| first + SLOTS <= slot) {
            self.slots.pop_front();
        }
    }

    /// All that was written since the agent started.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// What was written in the last hour, to the minute.
    pub(super) fn last_hour(&self, now: Moment) -> u64 {
        let slot = now.as_millis() / SLOT_MS;
        let recent = self.slots.iter().filter(|(at, _)| at + SLOTS > slot);
        recent.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// When there is room again below a limit for an hour; `None`: there is.
    pub(super) fn room_at(&self, now: Moment, limit: u64) -> Option<Moment> {
        let mut sum = self.last_hour(now);
        let slot = now.as_millis() / SLOT_MS;
        for (at, bytes) in self.slots.iter().filter(|(at, _)| at + SLOTS > slot) {
            if sum < limit {
                break;
            }
            sum = sum.saturating_sub(*bytes);
            if sum < limit {
                return Some(Moment::from_millis((at + SLOTS) * SLOT_MS));
            }
        }
        (sum >= limit).then(|| now + Duration::from_millis(SLOTS * SLOT_MS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: u64) -> Moment {
        Moment::from_millis(minute * SLOT_MS + 1)
    }

    #[test]
    fn an_hour_forgets_and_the_total_does_not() {
        let mut meter = Meter::default();
        meter.add(at(0), 10);
        meter.add(at(0), 5);
        meter.add(at(30), 7);
        assert_eq!((meter.last_hour(at(59)), meter.total()), (22, 22));
        assert_eq!(meter.last_hour(at(60)), 7);
        assert_eq!((meter.last_hour(at(90)), meter.total()), (0, 22));
        assert_eq!(meter.room_at(at(31), 23), None);
        assert_eq!(meter.room_at(at(31), 22), Some(Moment::from_millis(60 * SLOT_MS)));
        assert_eq!(meter.room_at(at(31), 7), Some(Moment::from_millis(90 * SLOT_MS)));
        assert!(meter.room_at(at(31), 0).is_some());
    }

    proptest! {
        #[test]
        fn who_waits_for_room_stays_below_the_limit_in_every_hour(
            writes in prop::collection::vec((0..20_u64, 1..400_u64), 1..200)
        ) {
            const LIMIT: u64 = 1_000;
            let mut meter = Meter::default();
            let mut now = at(0);
            let mut done: Vec<(Moment, u64)> = Vec::new();
            for (wait, bytes) in writes {
                now = now + Duration::from_mins(wait);
                now = meter.room_at(now, LIMIT).map_or(now, |room| room.max(now));
                prop_assert_eq!(meter.room_at(now, LIMIT), None);
                meter.add(now, bytes);
                done.push((now, bytes));
                let hour: u64 = done
                    .iter()
                    .filter(|(at, _)| now.saturating_since(*at) < Duration::from_mins(59))
                    .map(|(_, bytes)| bytes)
                    .sum();
                prop_assert!(hour < LIMIT + 400, "{hour} bytes in an hour");
            }
            prop_assert!(meter.slots.len() <= 60);
        }
    }
}
