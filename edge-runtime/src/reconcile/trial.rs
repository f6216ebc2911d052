//! Rules for a revision on trial. It is good when everything has been as desired for its settle
//! time without a break. It is bad when a copy falls more often than a few times, when a health
//! check fails again after a restart, when a copy cannot be made or started, when a job fails for
//! good, or when an image cannot be had for long although there is a link. Whether a bad one is
//! given up is not decided here: that takes another one which is good. What a copy went through
//! before the trial is not held against the revision, nor what people did to it.
//! Tests: `trial::tests`.

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_schemas::app::{AppSpec, AppState, AppStatus, Revision, ServiceSpec};
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_sync::Moment;

use super::attempts::{Attempts, SlotLife, StepKey};
use super::desired::DesiredApp;
use super::memory::Memory;
use super::model::{Health, Instance, InstanceState, Observed, Slot};
use super::restart::{self, Next};
use super::text::{clip, times};

/// So often a copy is started again during the trial of its revision.
const MOST_RESTARTS: u32 = 3;
/// So often a health check may fail during the trial.
const MOST_SICK: u32 = 1;
/// So often a copy is tried to be made or started, where it may pass by itself.
const MOST_TRIES: u32 = 8;
/// So long an image may be refused by its registry.
const REFUSED_IMAGE: Duration = Duration::from_mins(10);
/// So long an image may not come although there is a link.
const LATE_IMAGE: Duration = Duration::from_hours(24);
/// How much of a reason is kept.
const REASON_CHARS: usize = 300;

/// The trials that are under way: for each app the revision that is being brought up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trials(BTreeMap<AppName, Trial>);

#[derive(Debug, Clone, Default, PartialEq)]
struct Trial {
    revision: Option<Revision>,
    well_since: Option<Moment>,
    without_image_since: Option<Moment>,
    /// The falls before the trial, by slot: ends, failed health checks.
    before: BTreeMap<Slot, (u32, u32)>,
}

/// What is known of an app when its trial is judged.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The app.
    pub app: &'a AppName,
    /// What is being brought up.
    pub wanted: &'a DesiredApp,
    /// What the plan says of it.
    pub status: &'a AppStatus,
    /// What runs.
    pub observed: &'a Observed,
    /// What is remembered.
    pub attempts: &'a Attempts,
    /// Whether there is a link: without one no image comes, which is nobody's fault.
    pub is_linked: bool,
    /// The time.
    pub now: Moment,
}

/// How a trial stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on; it must be judged again then, if nothing happens before.
    Open(Option<(Moment, &'static str)>),
    /// The revision is good.
    Good,
    /// The revision is bad, and why.
    Bad(String),
}

impl Trials {
    /// Judges the trial of an app; that of another revision than before begins anew.
    pub fn judge(&mut self, case: Case<'_>) -> Outcome {
        let Ok(spec) = &case.wanted.spec else { return Outcome::Open(None) };
        let revision = case.wanted.revision();
        let trial = self.0.entry(case.app.clone()).or_default();
        if trial.revision != revision {
            *trial = Trial::begin(&case, spec);
        }
        let wake = match trial.settles(&case, spec.trial.settle()) {
            Outcome::Open(wake) => wake,
            verdict @ (Outcome::Good | Outcome::Bad(_)) => return verdict,
        };
        let found = slots(&case, spec).find_map(|place| trial.fault(&case, &place));
        match found.map_or_else(|| trial.lacks_image(&case, spec), Outcome::Bad) {
            Outcome::Open(other) => Outcome::Open([wake, other].into_iter().flatten().min()),
            Outcome::Bad(why) => Outcome::Bad(clip(why, REASON_CHARS)),
            Outcome::Good => Outcome::Good,
        }
    }

    /// Ends the trial of an app.
    pub fn end(&mut self, app: &AppName) {
        self.0.remove(app);
    }

    /// Nobody could look: what was well may not have stayed so.
    pub fn unseen(&mut self) {
        self.0.values_mut().for_each(|trial| trial.well_since = None);
    }
}

/// One wanted copy.
struct Place<'a> {
    service: &'a ServiceName,
    spec: &'a ServiceSpec,
    digest: Revision,
    slot: Slot,
}

fn slots<'a>(case: &Case<'a>, spec: &'a AppSpec) -> impl Iterator<Item = Place<'a>> {
    let case = *case;
    spec.services.iter().flat_map(move |(service, spec)| {
        let digest = case.wanted.digest(service);
        let copies = u16::try_from(spec.replicas).unwrap_or(u16::MAX);
        (0..copies).filter_map(move |replica| {
            let slot = Slot { app: case.app.clone(), service: service.clone(), replica };
            Some(Place { service, spec, digest: digest?, slot })
        })
    })
}

impl Place<'_> {
    fn life<'a>(&self, case: &Case<'a>) -> Option<&'a SlotLife> {
        case.attempts.life(&self.slot, self.digest)
    }

    fn instance<'a>(&self, case: &Case<'a>) -> Option<&'a Instance> {
        let own = |it: &&Instance| it.slot == self.slot && it.service_digest == self.digest;
        case.observed.instances.values().find(own)
    }
}

impl Trial {
    fn begin(case: &Case<'_>, spec: &AppSpec) -> Self {
        let before = slots(case, spec).filter_map(|place| {
            let life = place.life(case)?;
            Some((place.slot, (life.ends, life.sick)))
        });
        Self { revision: case.wanted.revision(), before: before.collect(), ..Self::default() }
    }

    fn settles(&mut self, case: &Case<'_>, settle: Duration) -> Outcome {
        if case.status.state != AppState::Running {
            self.well_since = None;
            return Outcome::Open(None);
        }
        let since = *self.well_since.get_or_insert(case.now);
        if case.now.saturating_since(since) >= settle {
            return Outcome::Good;
        }
        Outcome::Open(Some((since + settle, "a revision settles")))
    }

    fn fault(&self, case: &Case<'_>, place: &Place<'_>) -> Option<String> {
        let instance = place.instance(case);
        let name = place.service;
        if let Some(why) = refused(case, place, instance) {
            return Some(format!("{name}: {why}"));
        }
        let life = place.life(case).filter(|_| place.spec.schedule.is_none());
        let (ends, sick) = life.map_or((0, 0), |life| (life.ends, life.sick));
        let (ends_before, sick_before) = self.before.get(&place.slot).copied().unwrap_or_default();
        let (ends, sick) = (ends.saturating_sub(ends_before), sick.saturating_sub(sick_before));
        if sick > MOST_SICK {
            return Some(format!("{name}: its health check failed {}", times(sick)));
        }
        if ends + sick > MOST_RESTARTS {
            let code = life.and_then(|life| life.last_exit);
            let code = code.map(|code| format!(", last with exit code {code}"));
            let often = times(ends + sick);
            return Some(format!("{name} ended {often}{}", code.unwrap_or_default()));
        }
        for_good(case, place, instance?).map(|why| format!("{name} {why}"))
    }

    /// The first image that has been missing for too long.
    fn lacks_image(&mut self, case: &Case<'_>, spec: &AppSpec) -> Outcome {
        let missing = spec.services.values().filter_map(|service| service.image.as_ref());
        let failure =
            missing.filter(|image| !case.attempts.has_pulled(case.app, image)).find_map(|image| {
                let key = StepKey::Pull(case.app.clone(), image.clone());
                Some((image, case.attempts.failure(&key)?))
            });
        let Some((image, failure)) = failure.filter(|_| case.is_linked) else {
            self.without_image_since = None;
            return Outcome::Open(None);
        };
        let since = *self.without_image_since.get_or_insert(case.now);
        let limit = if failure.transient { LATE_IMAGE } else { REFUSED_IMAGE };
        if case.now.saturating_since(since) < limit {
            return Outcome::Open(Some((since + limit, "an image has been missing for long")));
        }
        let minutes = limit.as_secs() / 60;
        let reason = failure.reason();
        Outcome::Bad(format!("{image} could not be pulled for {minutes} minutes: {reason}"))
    }
}

/// Why the orchestrator cannot make or start the copy.
fn refused(case: &Case<'_>, place: &Place<'_>, instance: Option<&Instance>) -> Option<String> {
    let create = StepKey::Create(place.slot.clone(), Some(place.digest));
    let start = instance.map(|it| StepKey::Start(place.slot.clone(), it.id.clone()));
    [Some(create), start].into_iter().flatten().find_map(|key| {
        let failure = case.attempts.failure(&key)?;
        let is_final = !failure.transient || failure.tries() >= MOST_TRIES;
        let doing = if matches!(key, StepKey::Start(..)) { "starting" } else { "creating" };
        is_final.then(|| format!("{doing} failed {}: {}", times(failure.tries()), failure.reason()))
    })
}

/// Why the copy stays down.
fn for_good(case: &Case<'_>, place: &Place<'_>, instance: &Instance) -> Option<String> {
    let memory = Memory::new(case.attempts, case.now);
    let policy = place.spec.restart;
    match instance.state {
        InstanceState::Exited { code } => {
            match restart::after_end(memory, policy, &place.slot, instance, code) {
                Next::Never(why) => Some(format!("ended with exit code {code}; {why}")),
                Next::Done | Next::Again | Next::Resume => None,
            }
        }
        InstanceState::Running(Health::Unhealthy) if place.spec.has_manifests() => {
            let why = instance.note.as_deref().unwrap_or("its objects are not well");
            Some(format!("is unhealthy: {why}"))
        }
        InstanceState::Running(Health::Unhealthy) => {
            let why = restart::forbidden(policy, place.life(case))?;
            Some(format!("is unhealthy; {why}"))
        }
        InstanceState::Created | InstanceState::Running(_) | InstanceState::Stuck => None,
    }
}

#[cfg(test)]
mod tests;
