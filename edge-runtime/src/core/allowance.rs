//! What the link may cost: bytes per day and per month. What is desired always flows; reports of
//! measured values end first, those of the node and its apps when all is spent. Days and months
//! are those of the node's clock in UTC; a clock that goes back gives nothing away twice.

use chrono::{DateTime, Datelike as _};
use serde::{Deserialize, Serialize};

/// Of a hundred parts of an allowance, so many are for measured values too.
const FOR_METRICS: u64 = 80;
/// A clock that went back by more days than this was wrong before.
const WRONG_DAYS: i64 = 2;

/// The limits, where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes in a day.
    pub day: Option<u64>,
    /// Bytes in a month.
    pub month: Option<u64>,
}

/// What wants to use the link. Commands and desired state do not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// How the node and its apps are.
    Status,
    /// Measured values.
    Metrics,
}

/// What was used so far; kept in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    /// The day, since 1970.
    day_number: i64,
    /// The month, since the year 0.
    month_number: i64,
    /// Bytes in this day.
    pub(super) day: u64,
    /// Bytes in this month.
    pub(super) month: u64,
}

/// The limits and what was used of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance {
    limits: Limits,
    spent: Spent,
    /// What the link has counted when it was last looked at.
    counted: u64,
    /// What the store knows of.
    stored: Spent,
}

impl Allowance {
    /// Nothing was used yet.
    pub(super) const fn new(limits: Limits) -> Self {
        let spent = Spent { day_number: 0, month_number: 0, day: 0, month: 0 };
        Self { limits, spent, counted: 0, stored: spent }
    }

    /// Goes on with what an earlier run of the agent had used.
    pub(super) const fn resume(&mut self, spent: Spent) {
        self.spent = spent;
        self.stored = spent;
    }

    /// The link has carried so many bytes, both ways, since it was made.
    pub(super) fn count(&mut self, wall_s: u64, total: u64) {
        let new = total.checked_sub(self.counted).unwrap_or(total);
        self.counted = total;
        self.turn(wall_s);
        self.spent.day = self.spent.day.saturating_add(new);
        self.spent.month = self.spent.month.saturating_add(new);
    }

    /// Whether this may still be sent.
    pub(super) fn permits(&self, purpose: Purpose) -> bool {
        let within = |spent: u64, limit: Option<u64>| {
            let part = |limit: u64| match purpose {
                Purpose::Status => limit,
                Purpose::Metrics => limit / 100 * FOR_METRICS + limit % 100 * FOR_METRICS / 100,
            };
            limit.is_none_or(|limit| spent < part(limit))
        };
        within(self.spent.day, self.limits.day) && within(self.spent.month, self.limits.month)
    }

    /// What was used.
    pub(super) const fn spent(&self) -> Spent {
        self.spent
    }

    /// The limits.
    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// What to keep in the store, if it is worth it: at most a hundredth of the smaller limit is
    /// forgotten by a crash, and an allowance that nobody set costs no write.
    pub(super) fn take_unstored(&mut self) -> Option<Spent> {
        let least = [self.limits.day, self.limits.month].into_iter().flatten().min()?;
        let is_other_day = self.stored.day_number != self.spent.day_number;
        let new = self.spent.month.saturating_sub(self.stored.month);
        if !is_other_day && new < (least / 100).max(1) {
            return None;
        }
        self.stored = self.spent;
        Some(self.spent)
    }

    fn turn(&mut self, wall_s: u64) {
        let time = i64::try_from(wall_s).ok().and_then(|at| DateTime::from_timestamp(at, 0));
        let Some(time) = time else { return };
        let day_number = time.timestamp() / 86_400;
        let month_number = i64::from(time.year()) * 12 + i64::from(time.month0());
        let was_wrong = day_number < self.spent.day_number - WRONG_DAYS;
        if was_wrong {
            self.spent = Spent { day_number, month_number, ..self.spent };
        }
        if day_number > self.spent.day_number {
            self.spent = Spent { day_number, day: 0, ..self.spent };
        }
        if month_number > self.spent.month_number {
            self.spent = Spent { month_number, month: 0, ..self.spent };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-01-30, noon.
    const NOON: u64 = 1_769_774_400;
    const DAY: u64 = 86_400;

    fn allowance() -> Allowance {
        Allowance::new(Limits { day: Some(1_000), month: Some(10_000) })
    }

    fn permits(it: &Allowance) -> (bool, bool) {
        (it.permits(Purpose::Status), it.permits(Purpose::Metrics))
    }

    #[test]
    fn measured_values_end_first_and_a_new_day_begins_anew() {
        let mut it = allowance();
        it.count(NOON, 799);
        assert_eq!(permits(&it), (true, true));
        it.count(NOON + 60, 800);
        assert_eq!(permits(&it), (true, false));
        it.count(NOON + 120, 1_000);
        assert_eq!(permits(&it), (false, false));
        it.count(NOON + DAY, 1_000);
        assert_eq!(permits(&it), (true, true));
        assert_eq!((it.spent().day, it.spent().month), (0, 1_000));
    }

    #[test]
    fn a_month_that_is_spent_lasts_until_the_next_one() {
        let mut it = Allowance::new(Limits { day: None, month: Some(1_000) });
        it.count(NOON, 2_000);
        it.count(NOON + DAY, 2_000);
        assert_eq!(permits(&it), (false, false));
        it.count(NOON + 2 * DAY, 2_000);
        assert_eq!(permits(&it), (true, true), "it is February");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away_and_a_wrong_one_is_forgiven() {
        let mut it = allowance();
        it.count(NOON, 1_000);
        it.count(NOON - DAY, 1_000);
        it.count(NOON, 1_000);
        assert_eq!(permits(&it), (false, false));
        it.count(NOON + 3_650 * DAY, 1_000);
        it.count(NOON, 2_000);
        assert_eq!(permits(&it), (false, false), "what was used stays used");
        it.count(NOON + DAY, 2_000);
        assert_eq!(permits(&it), (true, true), "and the next day is the next day");
    }

    #[test]
    fn a_link_that_is_made_anew_counts_from_zero_again() {
        let mut it = allowance();
        it.count(NOON, 500);
        it.count(NOON, 20);
        assert_eq!(it.spent().day, 520);
    }

    #[test]
    fn what_is_used_outlives_the_agent_to_a_hundredth() {
        let mut it = allowance();
        it.count(NOON, 5);
        assert!(it.take_unstored().is_some(), "a day begins");
        it.count(NOON, 14);
        assert_eq!(it.take_unstored(), None);
        it.count(NOON, 15);
        let spent = it.take_unstored().unwrap();
        let mut other = allowance();
        other.resume(spent);
        other.count(NOON, 985);
        assert_eq!(permits(&other), (false, false));
        assert_eq!(Allowance::new(Limits::default()).take_unstored(), None);
        let text = serde_json::to_string(&spent).unwrap();
        assert_eq!(serde_json::from_str::<Spent>(&text).unwrap(), spent);
    }

    proptest! {
        #[test]
        fn without_limits_all_is_permitted_and_status_outlasts_metrics(
            steps in prop::collection::vec((0..200_000_u64, 0..500_u64), 0..50),
            day in prop::option::of(0..5_000_u64),
            month in prop::option::of(0..50_000_u64),
        ) {
            let mut it = Allowance::new(Limits { day, month });
            let (mut wall, mut total) = (NOON, 0);
            for (seconds, bytes) in steps {
                wall += seconds;
                total += bytes;
                it.count(wall, total);
                let (status, metrics) = permits(&it);
                prop_assert!(status || !metrics);
                prop_assert!(status || day.is_some() || month.is_some());
                prop_assert!(it.spent().day <= total && it.spent().month <= total);
            }
        }
    }
}
