//! A stretch of each day, in UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MINUTES: u16 = 24 * 60;

/// From one minute of each day to another, which may be on the next day.
///
/// ```
/// use gnomon_schemas::node::Window;
/// let night: Window = "22:00-06:00".parse().unwrap();
/// assert!(night.contains(23 * 3600) && night.contains(0) && !night.contains(6 * 3600));
/// assert!("6-8".parse::<Window>().is_err() && "06:00-06:00".parse::<Window>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    from: u16,
    to: u16,
}

/// Why a text is no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a window is written as `22:00-06:00` (UTC), and is not empty")]
pub struct ParseWindowError;

impl Window {
    /// Whether a time, in seconds since 1970, lies in it.
    pub fn contains(self, wall_s: u64) -> bool {
        let minute = u16::try_from(wall_s / 60 % u64::from(MINUTES)).unwrap_or_default();
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }

    /// When it begins, such as `22:00`.
    pub fn begin(self) -> String {
        clock(self.from)
    }
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_plain)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

impl FromStr for Window {
    type Err = ParseWindowError;

    fn from_str(text: &str) -> Result<Self, ParseWindowError> {
        let (from, to) = text.split_once('-').ok_or(ParseWindowError)?;
        let from = minute(from.trim()).ok_or(ParseWindowError)?;
        let to = minute(to.trim()).ok_or(ParseWindowError)?;
        if from == to { Err(ParseWindowError) } else { Ok(Self { from, to }) }
    }
}

impl TryFrom<String> for Window {
    type Error = ParseWindowError;

    fn try_from(text: String) -> Result<Self, ParseWindowError> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", clock(self.from), clock(self.to))
    }
}
