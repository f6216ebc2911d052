//! A broken promise: which of the protocol's invariants, and what was seen.

use std::fmt;

/// The invariants of protocol.md, section 6, and that nothing panics or logs an ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// 1: when changes stop and the link is up long enough, both ends are equal.
    Convergence,
    /// 2: what was answered is there, or was overwritten, whatever was killed in between.
    NoLoss,
    /// 3: what a reader holds was, at some time, the writer's document at that version.
    NoGhosts,
    /// 4: positions and versions never go back within an epoch.
    Monotonic,
    /// 5: a change has its effect once, however often it arrives.
    ExactlyOnce,
    /// 6: memory and disk depend on the documents, not on outages and retries.
    Bounded,
    /// 7: what is sent depends on what changed.
    Cost,
    /// No input makes a machine panic.
    NoPanic,
    /// No ERROR is logged that nothing explains.
    NoError,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Convergence => "1 convergence",
            Self::NoLoss => "2 no loss",
            Self::NoGhosts => "3 no ghosts",
            Self::Monotonic => "4 monotonic",
            Self::ExactlyOnce => "5 exactly-once effect",
            Self::Bounded => "6 bounded",
            Self::Cost => "7 cost",
            Self::NoPanic => "no panic",
            Self::NoError => "no error log",
        })
    }
}

/// What went wrong, and against which invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {invariant} is broken: {what}")]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// What was seen, in words.
    pub what: String,
}

/// Passes if `holds`; says what was seen otherwise.
pub(crate) fn ensure(
    holds: bool,
    invariant: Invariant,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}
