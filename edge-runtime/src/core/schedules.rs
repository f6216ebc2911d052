//! Jobs that run at times of their own. The wall clock is told with each look at what runs, and is
//! not trusted: a time from before this program cannot be right, and one that jumps must neither
//! repeat a run nor stop them for long. What is due is durable before it is begun, and that it was
//! begun afterwards, so a crash in between runs it once more rather than never (`missed: once`),
//! or never rather than twice (`missed: skip`).

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_schemas::app::{Missed, Schedule};
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_sync::Moment;

use super::Core;
use super::ledger::{Decision, Run};
use crate::reconcile::model::{Observed, Slot};

/// A clock that says less (November 2023) was never set: no schedule is kept by it.
const OLDEST_NOW: u64 = 1_700_000_000;
/// Whether a clock was ever set.
pub(super) const fn is_set(wall_s: u64) -> bool {
    wall_s >= OLDEST_NOW
}

/// A run that is so late was missed.
const LATE_S: u64 = 5 * 60;
/// A last run that lies further in the future was dated by a clock that was wrong.
const AHEAD_S: u64 = 2 * 3600;

/// What to do about one scheduled service.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing, for so many seconds.
    Wait(Option<u64>),
    /// Write this down: everything up to a time is done, or due.
    Note(Run),
    /// Begin the run that was written down.
    Begin,
}

/// The rule, for a clock that is set. `runs`: whether the job is running.
fn judge(
    schedule: &Schedule,
    known: Option<Run>,
    wall_s: u64,
    runs: bool,
    is_new: bool,
) -> Verdict {
    let done = Verdict::Note(Run { at: wall_s, begun: true });
    let Some(run) = known else { return done };
    if run.at > wall_s.saturating_add(AHEAD_S) {
        return done;
    }
    if !run.begun {
        // After a start of the agent nobody knows whether the run was begun.
        let is_missed = is_new && schedule.missed == Missed::Skip;
        return if runs || is_missed {
            Verdict::Note(Run { begun: true, ..run })
        } else {
            Verdict::Begin
        };
    }
    let Some(next) = schedule.cron.next_after(run.at) else { return Verdict::Wait(None) };
    if next > wall_s {
        return Verdict::Wait(Some(next - wall_s));
    }
    let on_time = schedule.cron.next_after(wall_s.saturating_sub(LATE_S));
    let is_missed = on_time.is_none_or(|at| at > wall_s);
    let skips = runs || (is_missed && schedule.missed == Missed::Skip);
    Verdict::Note(Run { at: wall_s, begun: skips })
}

impl Core {
    /// Looks at the clock for every scheduled service.
    pub(super) fn keep_schedules(&mut self, now: Moment, wall_s: u64, observed: &Observed) {
        if !is_set(wall_s) || self.machines.is_none() {
            return;
        }
        let mut notes: BTreeMap<AppName, BTreeMap<ServiceName, Run>> = BTreeMap::new();
        let mut due = Vec::new();
        for (app, chosen) in &self.desired.apps {
            let Ok(spec) = &chosen.spec else { continue };
            let scheduled = spec.services.iter().filter(|(_, service)| service.replicas > 0);
            let scheduled = scheduled.filter_map(|(name, it)| Some((name, it.schedule.as_ref()?)));
            for (name, schedule) in scheduled {
                let slot = Slot { app: app.clone(), service: name.clone(), replica: 0 };
                let runs =
                    observed.instances.values().any(|it| it.slot == slot && it.state.is_running());
                let known = self.ledger.get(app).runs.get(name).copied();
                let is_new = !self.noted.contains(&slot);
                match judge(schedule, known, wall_s, runs, is_new) {
                    Verdict::Wait(None) => {}
                    Verdict::Wait(Some(seconds)) => {
                        let at = now + Duration::from_secs(seconds);
                        self.watching.want(at, "a job is due");
                    }
                    Verdict::Note(run) => {
                        if runs && !run.begun {
                            tracing::warn!(%slot, "a job is due and still runs; it is skipped");
                        }
                        let all = || self.ledger.get(app).runs.clone();
                        notes.entry(app.clone()).or_insert_with(all).insert(name.clone(), run);
                        self.noted.insert(slot);
                    }
                    Verdict::Begin => due.push(slot),
                }
            }
        }
        for slot in due {
            self.noted.insert(slot.clone());
            self.attempts.run_is_due(&slot);
        }
        for (app, runs) in notes {
            self.ledger.decide(&app, Decision::Runs(runs));
        }
    }

    /// A start succeeded; if it was that of a run that was due, the run is begun.
    pub(super) fn run_began(&mut self, slot: &Slot) {
        let runs = &self.ledger.get(&slot.app).runs;
        if let Some(run) = runs.get(&slot.service).filter(|run| !run.begun) {
            let mut runs = runs.clone();
            runs.insert(slot.service.clone(), Run { begun: true, ..*run });
            self.ledger.decide(&slot.app, Decision::Runs(runs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01, midnight.
    const DAY: u64 = 1_767_225_600;
    const HOUR: u64 = 3600;

    fn nightly(missed: Missed) -> Schedule {
        Schedule { cron: "0 3 * * *".parse().unwrap(), missed }
    }

    const fn run(at: u64, begun: bool) -> Run {
        Run { at, begun }
    }

    #[test]
    fn a_job_is_due_at_its_time_and_not_at_its_deployment() {
        let at = |known, wall| judge(&nightly(Missed::Once), known, wall, false, false);
        assert_eq!(at(None, DAY), Verdict::Note(run(DAY, true)));
        assert_eq!(at(Some(run(DAY, true)), DAY + 60), Verdict::Wait(Some(3 * HOUR - 60)));
        let due = DAY + 3 * HOUR;
        assert_eq!(at(Some(run(DAY, true)), due), Verdict::Note(run(due, false)));
        assert_eq!(at(Some(run(due, false)), due + 1), Verdict::Begin);
        assert_eq!(at(Some(run(due, true)), due + 1), Verdict::Wait(Some(24 * HOUR - 1)));
    }

    #[test]
    fn runs_that_were_missed_are_made_up_for_once_or_skipped() {
        for (missed, begun) in [(Missed::Once, false), (Missed::Skip, true)] {
            let wall = DAY + 10 * 24 * HOUR;
            let verdict = judge(&nightly(missed), Some(run(DAY, true)), wall, false, false);
            assert_eq!(verdict, Verdict::Note(run(wall, begun)), "{missed:?}");
            let late = DAY + 3 * HOUR + 60;
            let verdict = judge(&nightly(missed), Some(run(DAY, true)), late, false, false);
            assert_eq!(verdict, Verdict::Note(run(late, false)), "a minute late is not missed");
        }
    }

    #[test]
    fn a_crash_before_the_begin_repeats_it_or_leaves_it_as_the_app_says() {
        let known = Some(run(DAY, false));
        let at = |missed, runs| judge(&nightly(missed), known, DAY + 60, runs, true);
        assert_eq!(at(Missed::Once, false), Verdict::Begin);
        assert_eq!(at(Missed::Skip, false), Verdict::Note(run(DAY, true)));
        assert_eq!(at(Missed::Once, true), Verdict::Note(run(DAY, true)), "it runs: it was begun");
    }

    #[test]
    fn a_job_that_still_runs_is_not_run_twice() {
        let due = DAY + 3 * HOUR;
        let verdict = judge(&nightly(Missed::Once), Some(run(DAY, true)), due, true, false);
        assert_eq!(verdict, Verdict::Note(run(due, true)));
    }

    #[test]
    fn a_clock_that_goes_back_repeats_nothing_and_one_that_was_far_ahead_stops_nothing() {
        let due = DAY + 3 * HOUR;
        let at = |known, wall| judge(&nightly(Missed::Once), Some(known), wall, false, false);
        assert_eq!(at(run(due, true), due - HOUR), Verdict::Wait(Some(25 * HOUR)));
        let years_ahead = run(DAY + 9 * 365 * 24 * HOUR, true);
        assert_eq!(at(years_ahead, DAY), Verdict::Note(run(DAY, true)));
    }
}
