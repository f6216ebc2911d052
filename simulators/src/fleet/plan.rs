//! What happens to a fleet, and when: phases, one after the other. Pure: it is told the time and
//! what is seen of the fleet, and gives back what to do; it starts no site and writes nothing.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use gnomon_edge::link::retry::{Met, Retry};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The most that one kind of churn may ask for at one look, so that a late look floods nothing.
const MOST_AT_ONCE: u64 = 1_000;

/// What a run is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// How many sites.
    pub sites: u32,
    /// How many groups they are in; site `n` is in group `n % groups`.
    pub groups: u32,
    /// Sites that start in a second; 0: all at once.
    pub ramp_per_s: u32,
    /// How long the sites have before the quiet time and before outages, to tell what they still have
    /// to tell: their first look at the link, that a new revision has proved itself.
    pub rest: Duration,
    /// How long nothing happens, to see what that costs.
    pub steady: Duration,
    /// What happens all the time while it lasts.
    pub churn: Churn,
    /// Writes to all sites, one after the other.
    pub writes: u32,
    /// For how long each group in turn has no link; none: no such outage.
    pub group_outage: Option<Duration>,
    /// For how long no site has a link; none: no such outage.
    pub storm: Option<Duration>,
    /// How long a phase may wait for the fleet before it counts as not complete.
    pub patience: Duration,
    /// How long the whole run may take.
    pub time: Duration,
    /// Seeds everything that happens by chance.
    pub seed: u64,
}

/// Changes all over the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Churn {
    /// How long.
    pub length: Duration,
    /// Desired writes a second, each to one site.
    pub desired_per_s: f64,
    /// Reports a second, each of one site: counters and gauges of a device.
    pub reported_per_s: f64,
    /// Apps a second that exit at one site.
    pub flaps_per_s: f64,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The sites start.
    Ramp,
    /// What was done has its consequences.
    Rest,
    /// Nothing happens.
    Steady,
    /// Changes all over the fleet.
    Churn,
    /// What the churn left is carried through.
    Settle,
    /// A write to all sites.
    Write(u32),
    /// A group has no link.
    GroupCut(u32),
    /// It has one again.
    GroupBack(u32),
    /// No site has a link.
    StormCut,
    /// All have one again.
    StormBack,
}

/// Which sites an outage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// Every site.
    All,
    /// Those of a group.
    Group(u32),
}

/// What is seen of the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Sites whose both streams are known to be equal at both ends.
    pub in_sync: u32,
    /// Sites that hold the present write to all.
    pub reached: u32,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All phases were gone through.
    Done,
    /// The time for the whole run was over.
    OutOfTime,
    /// It was told to stop.
    Stopped,
    /// A part of the fleet is gone.
    Broken,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A phase begins.
    Enter(Phase),
    /// The present phase ends; whether the fleet did what was waited for.
    Leave {
        /// It did.
        complete: bool,
    },
    /// Start this site.
    Start(u32),
    /// Write the desired state of all sites.
    WriteAll(u32),
    /// Write the desired state of these sites.
    Write(Vec<u32>),
    /// Let this site report something.
    Report(u32),
    /// Let this site's app exit.
    Flap(u32),
    /// Cut links.
    Cut(Whom),
    /// Bring links back that were cut for so long.
    Restore(Whom, Duration),
    /// Nothing more comes.
    End(Ending),
}

/// Leads a run through its phases.
#[derive(Debug)]
pub struct Plan {
    course: Course,
    left: VecDeque<Phase>,
    running: Option<Running>,
    rng: StdRng,
    is_over: bool,
}

#[derive(Debug)]
struct Running {
    phase: Phase,
    since: Duration,
    /// How much of each kind was done: starts, or desired, reported, flaps.
    done: [u64; 3],
}

impl Whom {
    /// Whether a site is meant.
    pub const fn is(self, site: u32, groups: u32) -> bool {
        match self {
            Self::All => true,
            Self::Group(group) => groups > 0 && site % groups == group,
        }
    }
}

impl Phase {
    /// Whether sites are waited for that come into sync.
    pub const fn is_for_sync(self) -> bool {
        matches!(self, Self::Ramp | Self::Settle | Self::GroupBack(_) | Self::StormBack)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ramp => f.write_str("ramp"),
            Self::Rest => f.write_str("rest"),
            Self::Steady => f.write_str("steady"),
            Self::Churn => f.write_str("churn"),
            Self::Settle => f.write_str("settle"),
            Self::Write(number) => write!(f, "write {number}"),
            Self::GroupCut(group) => write!(f, "group {group} cut"),
            Self::GroupBack(group) => write!(f, "group {group} back"),
            Self::StormCut => f.write_str("all cut"),
            Self::StormBack => f.write_str("all back"),
        }
    }
}

impl Plan {
    /// A plan of this course; its time begins at zero.
    pub fn new(course: Course) -> Self {
        let mut left = VecDeque::from([Phase::Ramp]);
        let rest = Some(Phase::Rest).filter(|_| !course.rest.is_zero());
        if !course.steady.is_zero() {
            left.extend(rest);
            left.push_back(Phase::Steady);
        }
        if !course.churn.length.is_zero() {
            left.extend([Phase::Churn, Phase::Settle]);
        }
        left.extend((1..=course.writes).map(Phase::Write));
        if course.group_outage.is_some() || course.storm.is_some() {
            left.extend(rest);
        }
        if course.group_outage.is_some() {
            let both = |group| [Phase::GroupCut(group), Phase::GroupBack(group)];
            left.extend((0..course.groups).flat_map(both));
        }
        if course.storm.is_some() {
            left.extend([Phase::StormCut, Phase::StormBack]);
        }
        let rng = StdRng::seed_from_u64(course.seed);
        Self { course, left, running: None, rng, is_over: false }
    }

    /// What is to be done now. A phase that begins is judged from the next call on: what is seen
    /// was seen before it.
    pub fn poll(&mut self, now: Duration, seen: Seen) -> Vec<Action> {
        if self.is_over {
            return Vec::new();
        }
        if now >= self.course.time {
            return self.end(Ending::OutOfTime);
        }
        let mut actions = Vec::new();
        if let Some(mut running) = self.running.take() {
            self.step(&mut running, now, &mut actions);
            match self.verdict(&running, now, seen) {
                None => {
                    self.running = Some(running);
                    return actions;
                }
                Some(complete) => actions.push(Action::Leave { complete }),
            }
        }
        match self.left.pop_front() {
            Some(phase) => self.enter(phase, now, &mut actions),
            None => actions.extend(self.end(Ending::Done)),
        }
        actions
    }

    /// Ends the run early.
    pub fn stop(&mut self, ending: Ending) -> Vec<Action> {
        if self.is_over { Vec::new() } else { self.end(ending) }
    }

    fn end(&mut self, ending: Ending) -> Vec<Action> {
        self.is_over = true;
        let left = self.running.take().map(|_| Action::Leave { complete: false });
        left.into_iter().chain([Action::End(ending)]).collect()
    }

    fn enter(&mut self, phase: Phase, now: Duration, actions: &mut Vec<Action>) {
        actions.push(Action::Enter(phase));
        match phase {
            Phase::Write(number) => actions.push(Action::WriteAll(number)),
            Phase::GroupCut(group) => actions.push(Action::Cut(Whom::Group(group))),
            Phase::StormCut => actions.push(Action::Cut(Whom::All)),
            Phase::GroupBack(group) => {
                let outage = self.course.group_outage.unwrap_or_default();
                actions.push(Action::Restore(Whom::Group(group), outage));
            }
            Phase::StormBack => {
                let outage = self.course.storm.unwrap_or_default();
                actions.push(Action::Restore(Whom::All, outage));
            }
            Phase::Ramp | Phase::Rest | Phase::Steady | Phase::Churn | Phase::Settle => {}
        }
        self.running = Some(Running { phase, since: now, done: [0; 3] });
    }

    /// What the present phase wants done by now.
    fn step(&mut self, running: &mut Running, now: Duration, actions: &mut Vec<Action>) {
        let passed = now.saturating_sub(running.since);
        match running.phase {
            Phase::Ramp => {
                let sites = u64::from(self.course.sites);
                let due = match self.course.ramp_per_s {
                    0 => sites,
                    rate => due(f64::from(rate), passed).min(sites),
                };
                let [started, ..] = &mut running.done;
                let new = *started..due.max(*started);
                actions.extend(new.filter_map(|site| Some(Action::Start(site.try_into().ok()?))));
                *started = due.max(*started);
            }
            Phase::Churn => self.churn(running, passed, actions),
            Phase::Rest
            | Phase::Steady
            | Phase::Settle
            | Phase::Write(_)
            | Phase::GroupCut(_)
            | Phase::GroupBack(_)
            | Phase::StormCut
            | Phase::StormBack => {}
        }
    }

    fn churn(&mut self, running: &mut Running, passed: Duration, actions: &mut Vec<Action>) {
        let Churn { length, desired_per_s, reported_per_s, flaps_per_s } = self.course.churn;
        let [desired, reported, flaps] = &mut running.done;
        let passed = passed.min(length);
        let mut sites = |done: &mut u64, rate: f64| {
            let due = due(rate, passed);
            let count = due.saturating_sub(*done).min(MOST_AT_ONCE);
            *done = due.max(*done);
            let all = self.course.sites.max(1);
            (0..count).map(|_| self.rng.random_range(0..all)).collect::<Vec<_>>()
        };
        let mut written = sites(desired, desired_per_s);
        written.sort_unstable();
        written.dedup();
        if !written.is_empty() {
            actions.push(Action::Write(written));
        }
        actions.extend(sites(reported, reported_per_s).into_iter().map(Action::Report));
        actions.extend(sites(flaps, flaps_per_s).into_iter().map(Action::Flap));
    }

    /// Whether the present phase is over, and if so, whether the fleet did what was waited for.
    fn verdict(&self, running: &Running, now: Duration, seen: Seen) -> Option<bool> {
        let Course { sites, patience, .. } = self.course;
        let passed = now.saturating_sub(running.since);
        let lasts = |length: Duration| (passed >= length).then_some(true);
        let until =
            |done: bool| if done { Some(true) } else { (passed >= patience).then_some(false) };
        match running.phase {
            Phase::Ramp => {
                let [started, ..] = running.done;
                until(started >= u64::from(sites) && seen.in_sync >= sites)
            }
            Phase::Rest => lasts(self.course.rest),
            Phase::Steady => lasts(self.course.steady),
            Phase::Churn => lasts(self.course.churn.length),
            Phase::Write(_) => until(seen.reached >= sites),
            Phase::GroupCut(_) => lasts(self.course.group_outage.unwrap_or_default()),
            Phase::StormCut => lasts(self.course.storm.unwrap_or_default()),
            Phase::Settle | Phase::GroupBack(_) | Phase::StormBack => until(seen.in_sync >= sites),
        }
    }
}

/// How long after the return of the carrier an agent tries to connect, that lost its link at the
/// beginning of the outage and found no network at each of its attempts meanwhile. What one attempt
/// takes is not counted: without a network it fails at once.
pub fn comes_back_after(outage: Duration, rng: StdRng) -> Duration {
    let mut waits = Retry::new(rng);
    let mut tried = Duration::ZERO;
    while tried < outage {
        tried += waits.next_delay(Met::NoNetwork);
    }
    tried.saturating_sub(outage)
}

/// How much of something that comes so often should have come by now.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, small")]
fn due(per_s: f64, passed: Duration) -> u64 {
    (per_s.max(0.0) * passed.as_secs_f64()) as u64
}
