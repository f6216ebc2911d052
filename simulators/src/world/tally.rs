//! What happened in one run or in many.

use std::ops::AddAssign;

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counts of what happened, to show that the faults did strike.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

tally! {
    /// Events, peace included.
    events,
    /// Changes that were asked for.
    changes,
    /// Changes that were answered.
    answers,
    /// Messages sent.
    messages,
    /// Their bytes.
    bytes,
    /// Messages that arrived.
    arrived,
    /// Messages lost on the way or for want of one.
    lost,
    /// Messages that arrived and stayed under way.
    repeated,
    /// Messages whose documents were altered.
    damaged,
    /// Deliveries to an application.
    deliveries,
    /// Commits.
    commits,
    /// Commits that failed for want of room.
    refusals,
    /// Processes that died.
    crashes,
    /// Disks that were lost.
    wipes,
    /// Backups put back.
    restores,
    /// Connections made.
    connections,
    /// Timers that were due.
    timers,
}
