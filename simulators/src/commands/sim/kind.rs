//! The two kinds of simulated worlds, behind one face.

use clap::ValueEnum;
use gnomon_sim::system;
use gnomon_sim::world::{self, Options, Outcome, Violation};

/// What a world is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The two ends of the protocol alone, with every fault that it must bear
    Protocol,
    /// The cloud's domain, site agents with their planners, and fake orchestrators
    System,
}

/// A run that broke a promise.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Protocol(world::Failure),
    System(system::Failure),
}

impl Kind {
    pub(super) fn run(self, seed: u64, options: Options) -> Outcome<Failure> {
        match self {
            Self::Protocol => {
                let Outcome { seed, tally, failure } = world::run(seed, options);
                Outcome { seed, tally, failure: failure.map(Failure::Protocol) }
            }
            Self::System => {
                let Outcome { seed, tally, failure } = system::run(seed, options);
                Outcome { seed, tally, failure: failure.map(Failure::System) }
            }
        }
    }

    pub(super) fn story(self, seed: u64, options: Options) -> String {
        match self {
            Self::Protocol => world::story(seed, options),
            Self::System => system::story(seed, options),
        }
    }

    /// The flag that chooses it again.
    pub(super) const fn flag(self) -> &'static str {
        match self {
            Self::Protocol => "",
            Self::System => " --world system",
        }
    }
}

impl Failure {
    pub(super) const fn violation(&self) -> &Violation {
        match self {
            Self::Protocol(failure) => &failure.violation,
            Self::System(failure) => &failure.violation,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Protocol(failure) => failure.len(),
            Self::System(failure) => failure.len(),
        }
    }

    pub(super) fn shrink(self, replays: u32) -> Self {
        match self {
            Self::Protocol(failure) => Self::Protocol(failure.shrink(replays)),
            Self::System(failure) => Self::System(failure.shrink(replays)),
        }
    }

    pub(super) fn story(&self) -> String {
        match self {
            Self::Protocol(failure) => failure.story(),
            Self::System(failure) => failure.story(),
        }
    }
}
