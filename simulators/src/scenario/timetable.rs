//! When what is done to whom: the steps of a scenario in the order of time, with the ends of those
//! that last. Pure.

use std::time::Duration;

use super::{Deed, Scenario, Since};
use crate::link::Profile;

/// How long what is killed or cut off its power is away, if the step does not say.
const RESTART: Duration = Duration::from_secs(2);

/// Something that is done at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// This site has a link from now on, or none.
    Carrier(u16, bool),
    /// Its link behaves otherwise.
    Link(u16, Profile),
    /// It is to have so many new desired versions of each app.
    Write(u16, u32),
    /// A device of it reports so many changes.
    Report(u16, u32),
    /// The cloud's process dies, or starts again.
    Cloud(bool),
    /// The site's agent dies; with it, everything there if it is the power.
    Off(u16, Cause),
    /// It starts again.
    On(u16),
    /// Something that runs there exits, or is removed.
    Disturb(u16, Harm),
    /// Its disk is full, or has room again.
    Disk(u16, bool),
    /// The cloud's.
    CloudDisk(bool),
    /// Its orchestrator answers, or does not.
    Orchestrator(u16, bool),
}

/// Why a site's agent is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was killed.
    Killed,
    /// The machine has no power.
    Power,
}

/// What happens to something that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It exits.
    Exits,
    /// A person removes it.
    Removed,
}

/// The acts of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    /// In the order of time; at the same time, in that of the file.
    pub acts: Vec<(Duration, Act)>,
}

impl Timetable {
    /// The timetable of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let mut acts = Vec::new();
        for step in &scenario.steps {
            let end = step.lasts.map(|lasts| step.at + lasts);
            for (begins, ends) in both(&step.deed) {
                acts.push((step.at, begins));
                match ends {
                    Some((act, true)) => acts.push((end.unwrap_or(step.at + RESTART), act)),
                    Some((act, false)) => acts.extend(end.map(|end| (end, act))),
                    None => {}
                }
            }
        }
        acts.sort_by_key(|(at, _)| *at);
        Self { acts }
    }

    /// When the last act is over.
    pub fn end(&self) -> Duration {
        self.acts.last().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// The times that an expectation about a site counts from.
    pub fn since(&self, since: Since, site: u16) -> Vec<Duration> {
        let times = |is: fn(&Act, u16) -> bool| {
            let mine = self.acts.iter().filter(|(_, act)| is(act, site));
            mine.map(|(at, _)| *at).collect()
        };
        match since {
            Since::Start => vec![Duration::ZERO],
            Since::LastStep => vec![self.end()],
            Since::Reconnect => {
                times(|act, site| matches!(act, Act::Carrier(of, true) if *of == site))
            }
            Since::Write => times(|act, site| matches!(act, Act::Write(of, _) if *of == site)),
        }
    }

    /// When something next is done that may keep a site from being as it should be, after a time.
    pub fn disturbed_after(&self, site: u16, from: Duration) -> Option<Duration> {
        let harms = |act: &Act| match act {
            Act::Carrier(of, is_there) => *of == site && !is_there,
            Act::Write(of, _) | Act::Off(of, _) | Act::Disturb(of, _) => *of == site,
            Act::Disk(of, is_full) => *of == site && *is_full,
            Act::Orchestrator(of, answers) => *of == site && !answers,
            Act::Cloud(is_there) => !is_there,
            Act::CloudDisk(is_full) => *is_full,
            Act::Link(..) | Act::Report(..) | Act::On(_) => false,
        };
        self.acts.iter().find(|(at, act)| *at > from && harms(act)).map(|(at, _)| *at)
    }
}

/// What a step does to each that it is about, and what ends it; true: it ends in any case.
fn both(deed: &Deed) -> Vec<(Act, Option<(Act, bool)>)> {
    let each = |of: &super::Whom, act: &dyn Fn(u16) -> (Act, Option<(Act, bool)>)| {
        of.sites.clone().map(act).collect()
    };
    match deed {
        Deed::Cut(whom) => {
            each(whom, &|site| (Act::Carrier(site, false), Some((Act::Carrier(site, true), false))))
        }
        Deed::Restore(whom) => each(whom, &|site| (Act::Carrier(site, true), None)),
        Deed::Link(whom, link) => each(whom, &|site| (Act::Link(site, link.clone()), None)),
        Deed::Write(count, whom) => each(whom, &|site| (Act::Write(site, *count), None)),
        Deed::Report(count, whom) => each(whom, &|site| (Act::Report(site, *count), None)),
        Deed::KillCloud => vec![(Act::Cloud(false), Some((Act::Cloud(true), true)))],
        Deed::KillAgents(whom) => {
            each(whom, &|site| (Act::Off(site, Cause::Killed), Some((Act::On(site), true))))
        }
        Deed::PowerOff(whom) => {
            each(whom, &|site| (Act::Off(site, Cause::Power), Some((Act::On(site), true))))
        }
        Deed::KillApps(whom) => each(whom, &|site| (Act::Disturb(site, Harm::Exits), None)),
        Deed::RemoveApps(whom) => each(whom, &|site| (Act::Disturb(site, Harm::Removed), None)),
        Deed::FillDisks(whom) => {
            each(whom, &|site| (Act::Disk(site, true), Some((Act::Disk(site, false), false))))
        }
        Deed::FillCloudDisk => {
            vec![(Act::CloudDisk(true), Some((Act::CloudDisk(false), false)))]
        }
        Deed::StopOrchestrators(whom) => each(whom, &|site| {
            let back = Act::Orchestrator(site, true);
            (Act::Orchestrator(site, false), Some((back, false)))
        }),
    }
}
