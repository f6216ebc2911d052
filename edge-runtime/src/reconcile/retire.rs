//! Rules for what is not wanted: it is stopped, then removed, one step per slot; a service stops
//! after those that depend on it; what an app without instances leaves behind goes last. Tests:
//! `a_removed_app_stops_in_reverse_order`, `surplus_copies_are_stopped_and_removed`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gnomon_schemas::app::{AppSpec, AppState, AppStatus, ServiceSpec, ServiceState};
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_schemas::version::Version;

use super::memory::Memory;
use super::model::{Instance, Slot, Step};
use super::plan::AppPlan;
use super::verdict::{Standing, Verdict};
use super::view::{App, grace};
use super::{doubt, order};

/// An app that is not desired any more; nothing is left of it when this is empty.
pub(super) fn leaving(
    app: &AppName,
    spec: Option<&AppSpec>,
    instances: &[&Instance],
    leftover: bool,
    memory: Memory<'_>,
) -> AppPlan {
    let mut verdicts = all(spec, instances, memory);
    if instances.is_empty() && leftover {
        let step = Step::RemoveApp { app: app.clone() };
        verdicts.push(memory.offer(step, ServiceState::Stopping, "removing its network and files"));
    }
    let mut status = AppStatus::new(Version::ZERO, AppState::Stopping);
    let troubled = verdicts.iter().find(|verdict| verdict.standing > Standing::Moving);
    status.reason = troubled.and_then(|verdict| verdict.why.clone());
    let status = (!verdicts.is_empty()).then_some(status);
    AppPlan::new(verdicts, status)
}

/// The copies and services that an app has and does not want any more. They wait for the images
/// of the revision that gives them up.
pub(super) fn surplus(app: &App<'_>) -> Vec<Verdict> {
    if app.may_replace() {
        let verdicts = all(Some(app.spec), &app.surplus, app.memory).into_iter();
        let explained = |it: Verdict| match it.why {
            Some(_) => it,
            None => it.because("surplus instances are being removed"),
        };
        verdicts.map(explained).collect()
    } else if app.surplus.is_empty() {
        Vec::new()
    } else {
        let wait = Verdict::new(Standing::Moving, ServiceState::Pending);
        let why = match (app.is_doubted, app.images.are_complete()) {
            (true, _) => doubt::WAITS_FOR_THE_CLOUD.to_owned(),
            (false, true) => app.waits_for(),
            (false, false) => "surplus instances wait for the images of the revision".to_owned(),
        };
        vec![wait.because(why)]
    }
}

/// A service of which a surplus instance still runs.
pub(super) fn still_running<'a>(app: &App<'a>) -> Option<&'a ServiceName> {
    app.surplus.iter().find(|it| it.state.is_running()).map(|it| &it.slot.service)
}

/// The next step to be rid of these instances of one slot: those that run are stopped first.
pub(super) fn one_of(
    memory: Memory<'_>,
    slot: &Slot,
    instances: &[&Instance],
    grace: Duration,
) -> Verdict {
    let slot = slot.clone();
    let first = instances.iter().find(|it| it.state.is_running()).or_else(|| instances.first());
    match first {
        Some(it) if it.state.is_running() => {
            let step = Step::Stop { id: it.id.clone(), slot, grace };
            memory.offer(step, ServiceState::Stopping, "stopping an old instance")
        }
        Some(it) => {
            let step = Step::Remove { id: it.id.clone(), slot };
            memory.offer(step, ServiceState::Stopping, "removing an old instance")
        }
        None => Verdict::new(Standing::Settled, ServiceState::Stopping),
    }
}

fn all(spec: Option<&AppSpec>, instances: &[&Instance], memory: Memory<'_>) -> Vec<Verdict> {
    let mut slots: BTreeMap<&Slot, Vec<&Instance>> = BTreeMap::new();
    let mut running = BTreeSet::new();
    for instance in instances {
        slots.entry(&instance.slot).or_default().push(instance);
        if instance.state.is_running() {
            running.insert(&instance.slot.service);
        }
    }
    let default_grace = grace(&ServiceSpec::default());
    let verdicts = slots.into_iter().map(|(slot, instances)| {
        let service = spec.and_then(|spec| spec.services.get(&slot.service));
        let runs = instances.iter().any(|it| it.state.is_running());
        let first = spec.and_then(|spec| order::dependent(spec, &slot.service, &running));
        if let Some(first) = first.filter(|_| runs) {
            let why = format!("waits for {first} to stop");
            return Verdict::new(Standing::Moving, ServiceState::Stopping).because(why);
        }
        one_of(memory, slot, &instances, service.map_or(default_grace, grace))
    });
    verdicts.collect()
}
