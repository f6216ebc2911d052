//! Which program runs, as a file says it. Pure: each function is one step, and the file is
//! replaced as a whole between two of them, so a power cut leaves the one or the other.

use serde::{Deserialize, Serialize};

/// A program on trial that was started so often without reaching the cloud is given up.
const STARTS: u32 = 3;

/// A program that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    pub(super) version: String,
    pub(super) sha256: String,
}

/// What tells one installed program from the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installed {
    pub(super) size: u64,
    pub(super) changed_ns: i128,
}

/// The contents of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// What runs; `None`: the installed program.
    pub(super) chosen: Option<Release>,
    /// Whether it still has to show that it reaches the cloud.
    pub(super) trial: Option<Trial>,
    /// What is not tried again.
    pub(super) given_up: Option<GivenUp>,
    /// The installed program for which this was decided.
    pub(super) installed: Installed,
}

/// A trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// What runs again if it fails.
    pub(super) before: Option<Release>,
    pub(super) starts: u32,
}

/// A program that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GivenUp {
    pub(super) release: Release,
    pub(super) reason: String,
}

impl State {
    /// The installed program starts, and is about to start what is chosen.
    #[must_use]
    pub(super) fn started(mut self, installed: Installed) -> Self {
        if self.chosen.is_some() && self.installed != installed {
            // Somebody installed another one, which is newer than what was decided before.
            return Self { given_up: self.given_up, installed, ..Self::default() };
        }
        let Some(trial) = &mut self.trial else { return self };
        if trial.starts >= STARTS {
            let reason = format!("it was started {STARTS} times and did not reach the cloud");
            return self.gave_up(&reason);
        }
        trial.starts += 1;
        self
    }

    /// A program was fetched and checked.
    #[must_use]
    pub(super) fn try_out(self, release: Release, installed: Installed) -> Self {
        let trial = Some(Trial { before: self.chosen, starts: 0 });
        Self { chosen: Some(release), trial, given_up: None, installed }
    }

    /// It reached the cloud.
    #[must_use]
    pub(super) fn confirmed(self) -> Self {
        Self { trial: None, ..self }
    }

    /// What is chosen is no good: the one before runs again; without a trial, the installed one.
    #[must_use]
    pub(super) fn gave_up(self, reason: &str) -> Self {
        let Self { chosen, trial, given_up, installed } = self;
        let failed = chosen.map(|release| GivenUp { release, reason: reason.to_owned() });
        let before = trial.and_then(|trial| trial.before);
        Self { chosen: before, trial: None, given_up: failed.or(given_up), installed }
    }

    /// The programs whose files must be kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = &str> {
        let before = self.trial.as_ref().and_then(|trial| trial.before.as_ref());
        self.chosen.iter().chain(before).map(|release| release.sha256.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INSTALLED: Installed = Installed { size: 1, changed_ns: 1 };

    fn release(version: u32) -> Release {
        Release { version: version.to_string(), sha256: format!("{version:064x}") }
    }

    #[test]
    fn a_program_that_never_reaches_the_cloud_gives_way_to_the_one_before() {
        let mut state = State::default().try_out(release(1), INSTALLED).started(INSTALLED);
        state = state.confirmed().try_out(release(2), INSTALLED);
        for _ in 0..STARTS {
            state = state.started(INSTALLED);
            assert_eq!(state.chosen, Some(release(2)));
        }
        state = state.started(INSTALLED);
        assert_eq!(state.chosen, Some(release(1)));
        assert_eq!(state.given_up.as_ref().unwrap().release, release(2));
        for _ in 0..10 {
            state = state.started(INSTALLED);
            assert_eq!(state.chosen, Some(release(1)), "a good one may start as often as it likes");
        }
    }

    #[test]
    fn another_installed_program_goes_over_what_was_fetched_before() {
        let state = State::default().try_out(release(1), INSTALLED).confirmed();
        let other = Installed { size: 2, changed_ns: 9 };
        let state = state.started(other);
        assert_eq!((state.chosen, state.trial, state.installed), (None, None, other));
    }

    #[test]
    fn a_good_program_whose_file_is_damaged_gives_way_to_the_installed_one() {
        let state = State::default().try_out(release(1), INSTALLED).confirmed().gave_up("damaged");
        assert_eq!((state.chosen, state.given_up.unwrap().reason), (None, "damaged".to_owned()));
    }

    proptest! {
        /// Whatever happens in which order, some program that reached the cloud, or the installed
        /// one, runs after a few starts; and its file is among those that are kept.
        #[test]
        fn there_is_always_a_way_back(steps in prop::collection::vec(0..4_u8, 0..40)) {
            let mut state = State { installed: INSTALLED, ..State::default() };
            let (mut good, mut next) = (vec![None], 1);
            for step in steps {
                match step {
                    0 if state.trial.is_none() => {
                        state = state.try_out(release(next), INSTALLED);
                        next += 1;
                    }
                    1 if state.trial.is_some() => {
                        state = state.confirmed();
                        good.push(state.chosen.clone());
                    }
                    2 => state = state.gave_up("x"),
                    _ => state = state.started(INSTALLED),
                }
                let mut later = state.clone();
                for _ in 0..=STARTS {
                    later = later.started(INSTALLED);
                }
                prop_assert!(good.contains(&later.chosen), "{later:?}");
                let kept: Vec<_> = state.kept().collect();
                prop_assert!(later.chosen.is_none_or(|it| kept.contains(&it.sha256.as_str())));
            }
        }
    }
}
