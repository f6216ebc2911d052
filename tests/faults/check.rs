//! Whether a history kept the promises of docs/protocol.md: nothing answered is lost, nothing old
//! comes back, versions never go back, sites end equal to what is desired, nothing restarts without
//! a reason, and there is one instance of each service. Pure; `tests` shows that it can say no.

mod ends;
mod reports;
mod sights;
mod starts;
#[cfg(test)]
mod tests;
mod writes;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::Entry;

pub(crate) use ends::differences;

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Promise {
    /// What was answered is there, or overwritten by something later.
    NothingLost,
    /// What is seen was written, at that version.
    NoGhosts,
    /// Versions, and what devices count, never go back.
    NeverBack,
    /// A conditional write is accepted at its version alone, and by one writer.
    OneWinner,
    /// In peace all copies are equal, and every service runs once, as desired.
    Equal,
    /// An instance starts for a new revision, or because something ended it.
    NoNeedlessStart,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    pub(crate) at_ms: u64,
    pub(crate) what: String,
}

impl Violation {
    fn new(promise: Promise, at_ms: u64, what: String) -> Self {
        Self { promise, at_ms, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promise, at_ms, what } = self;
        let (seconds, millis) = (at_ms / 1000, at_ms % 1000);
        write!(f, "{seconds}.{millis:03} s: {promise:?}: {what}")
    }
}

/// Every promise that a history broke, in the order of time.
pub(crate) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut all = writes::check(history);
    all.extend(reports::check(history));
    all.extend(sights::check(history));
    all.extend(starts::check(history));
    all.extend(ends::check(history));
    all.sort_by_key(|violation| violation.at_ms);
    all
}

/// A shadow of a node.
type Place = (String, String);

fn place(node: &str, key: &str) -> Place {
    (node.to_owned(), key.to_owned())
}
