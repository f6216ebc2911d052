//! When a job runs: a cron expression, in UTC.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::{Deserialize, Serialize};

/// When a job runs, and what follows when its time was missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The times.
    pub cron: CronText,
    /// What follows when the node or the agent was not there at the time.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub missed: Missed,
}

/// What follows when one or more runs were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// It runs once, as soon as it can.
    #[default]
    Once,
    /// It runs at the next time.
    Skip,
}

/// A cron expression of five fields (minute, hour, day of month, month, day of week), in UTC.
///
/// ```
/// use gnomon_schemas::app::CronText;
/// let nightly: CronText = "0 3 * * *".parse().unwrap();
/// let midnight = 1_767_225_600; // 2026-01-01
/// assert_eq!(nightly.next_after(midnight), Some(midnight + 3 * 3600));
/// assert!("0 3 30 2 *".parse::<CronText>().is_err());
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronText {
    text: String,
    cron: Box<Cron>,
}

/// A text is no time for a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCronError {
    /// It is not five fields of cron.
    #[error("a schedule is five fields of cron such as `0 3 * * *`, in UTC: {0}")]
    Form(String),
    /// No day is like that.
    #[error("a schedule must come true some day")]
    Never,
}

/// The longest expression that is read.
const TEXT_BYTES: usize = 256;
/// 2024-01-01.
const SOME_DAY: u64 = 1_704_067_200;

impl CronText {
    /// The first time after `unix_s`; both in seconds since 1970.
    pub fn next_after(&self, unix_s: u64) -> Option<u64> {
        let after: DateTime<Utc> = DateTime::from_timestamp(i64::try_from(unix_s).ok()?, 0)?;
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        u64::try_from(next.timestamp()).ok()
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for CronText {
    type Err = ParseCronError;

    fn from_str(text: &str) -> Result<Self, ParseCronError> {
        let form = |why: &dyn fmt::Display| ParseCronError::Form(why.to_string());
        if text.len() > TEXT_BYTES {
            return Err(form(&"it is too long"));
        }
        if text.split_whitespace().count() != 5 {
            return Err(form(&"it has another number of fields"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| form(&error))?;
        let schedule = Self { text: text.to_owned(), cron: Box::new(cron) };
        schedule.next_after(SOME_DAY).map(|_| schedule).ok_or(ParseCronError::Never)
    }
}

impl PartialEq for CronText {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronText {}

impl fmt::Debug for CronText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl TryFrom<String> for CronText {
    type Error = ParseCronError;
    fn try_from(text: String) -> Result<Self, ParseCronError> {
        text.parse()
    }
}

impl From<CronText> for String {
    fn from(cron: CronText) -> Self {
        cron.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_order_and_only_forward() {
        let cron: CronText = "*/15 8-9 * * 1-5".parse().unwrap();
        // 2026-01-02 is a Friday.
        let mut at = 1_767_312_000;
        let mut hours = Vec::new();
        for _ in 0..9 {
            let next = cron.next_after(at).unwrap();
            assert!(next > at);
            at = next;
            hours.push((at - 1_767_312_000) / 900);
        }
        assert_eq!(hours, [32, 33, 34, 35, 36, 37, 38, 39, 320], "then comes Monday");
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        for bad in ["", "* * * *", "0 0 3 * * *", "61 * * * *", "@daily", "a b c d e", "* * 31 2 *"]
        {
            assert!(bad.parse::<CronText>().is_err(), "{bad}");
        }
        let long = format!("0 {} * * *", "1,".repeat(200));
        assert!(long.parse::<CronText>().unwrap_err().to_string().contains("too long"));
    }
}
