//! What is reported of an app. Rules: the worst copy speaks for its service and the worst service
//! for the app, of equals one that does something before one that waits for it; no text holds a
//! time or counts without end, so nothing is sent while nothing happens. Tests:
//! `the_pull_is_reported_and_not_those_that_wait_for_it`,
//! `a_report_does_not_change_while_time_passes`, and every plan snapshot.

use std::collections::BTreeMap;

use gnomon_schemas::app::{
    AppState, AppStatus, Revision, ServiceSpec, ServiceState, ServiceStatus,
};
use gnomon_schemas::id::ServiceName;
use gnomon_schemas::version::Version;

use super::attempts::{SlotLife, vigour};
use super::lives::Lives;
use super::model::{Health, Instance, InstanceState};
use super::verdict::{Standing, Verdict};
use super::view::{App, Service};

/// The status of an app that can run here.
pub(super) fn of(
    app: &App<'_>,
    version: Version,
    judged: &[(&Service<'_>, Vec<Verdict>)],
    surplus: &[Verdict],
) -> AppStatus {
    let mut status = AppStatus::new(version, AppState::Running);
    status.revision = app.facts.revision;
    let mut standings = Vec::new();
    let mut worst: Option<((Standing, bool), String)> = None;
    // What waits has less to say than what it waits for.
    let mut tell = |standing, state: ServiceState, why: Option<String>| {
        let weight = (standing, state != ServiceState::Pending);
        if let Some(why) = why.filter(|_| standing > Standing::Settled)
            && worst.as_ref().is_none_or(|(worst, _)| weight > *worst)
        {
            worst = Some((weight, why));
        }
    };
    for (service, verdicts) in judged {
        let (standing, service_status) = of_service(app, service, verdicts);
        let why = service_status.reason.as_ref().map(|why| format!("{}: {why}", service.name));
        tell(standing, service_status.state, why);
        standings.push((standing, service_status.state));
        status.services.insert(service.name.clone(), service_status);
    }
    for verdict in surplus {
        tell(verdict.standing, ServiceState::Pending, verdict.why.clone());
    }
    let leftover = surplus.iter().map(|verdict| verdict.standing).max();
    status.state = app_state(&standings, leftover.unwrap_or(Standing::Settled));
    status.reason = worst.map(|(_, why)| why);
    status
}

/// The status of an app that was refused: why, and what still runs of it.
pub(super) fn refused(version: Version, why: String, instances: &[&Instance]) -> AppStatus {
    let mut services: BTreeMap<ServiceName, Vec<&Instance>> = BTreeMap::new();
    for instance in instances {
        services.entry(instance.slot.service.clone()).or_default().push(instance);
    }
    let mut status = AppStatus::new(version, AppState::Refused);
    status.reason = Some(why);
    status.services = services
        .into_iter()
        .map(|(name, instances)| {
            let best = instances.iter().max_by_key(|it| vigour(it.state));
            let state = best.map_or(ServiceState::Pending, |it| bare_state(it.state));
            let mut status = ServiceStatus::new(state);
            describe(&mut status, &instances);
            (name, status)
        })
        .collect();
    status
}

fn app_state(services: &[(Standing, ServiceState)], leftover: Standing) -> AppState {
    let worst = services.iter().map(|(standing, _)| *standing).max();
    let has = |wanted: ServiceState| services.iter().any(|(_, state)| *state == wanted);
    let some_settled = services.iter().any(|(standing, _)| *standing == Standing::Settled);
    match worst.unwrap_or(Standing::Settled).max(leftover) {
        Standing::Settled => AppState::Running,
        Standing::Broken if !some_settled => AppState::Failed,
        Standing::Broken | Standing::Troubled => AppState::Degraded,
        Standing::Moving if has(ServiceState::Pulling) => AppState::Pulling,
        Standing::Moving => {
            let untouched = |(_, state): &(_, _)| *state == ServiceState::Pending;
            let pending = !services.is_empty() && services.iter().all(untouched);
            if pending { AppState::Pending } else { AppState::Starting }
        }
    }
}

fn of_service(
    app: &App<'_>,
    service: &Service<'_>,
    verdicts: &[Verdict],
) -> (Standing, ServiceStatus) {
    let rank = |it: &Verdict| (it.standing, it.state == ServiceState::Running);
    let worst = verdicts.iter().rev().max_by_key(|verdict| rank(verdict));
    let instances = service.copies.iter().flat_map(|copy| copy.current.iter().chain(&copy.others));
    let instances: Vec<_> = instances.copied().collect();
    let mut status = ServiceStatus::new(worst.map_or(ServiceState::Running, |it| it.state));
    status.reason = worst.and_then(|verdict| verdict.why.clone());
    status.replicas = service.spec.replicas;
    describe(&mut status, &instances);
    let lives = service.copies.iter().filter_map(|copy| {
        let speaker = copy.current.or_else(|| copy.others.first().copied());
        let digest = speaker.map_or(service.digest, |it| it.service_digest);
        app.memory.life(&copy.slot, digest)
    });
    remember(&mut status, lives);
    (worst.map_or(Standing::Settled, |it| it.standing), status)
}

/// The status of a service whose copies are all as desired.
pub(super) fn of_settled(
    service: &ServiceSpec,
    copies: &[&Instance],
    lives: &mut Lives<'_>,
) -> ServiceStatus {
    let mut status = ServiceStatus::new(ServiceState::Running);
    status.replicas = service.replicas;
    describe(&mut status, copies);
    remember(&mut status, copies.iter().filter_map(|it| lives.next(it)));
    status
}

/// What is known of the copies from before.
fn remember<'a>(status: &mut ServiceStatus, lives: impl Iterator<Item = &'a SlotLife>) {
    let mut last_exit = None;
    for life in lives {
        status.restarts = status.restarts.saturating_add(life.restarts);
        last_exit = last_exit.or(life.last_exit);
    }
    status.exit_code = status.exit_code.or(last_exit.map(exit_code));
}

/// What can be seen of the instances alone.
fn describe(status: &mut ServiceStatus, instances: &[&Instance]) {
    let count = |wanted: &dyn Fn(InstanceState) -> bool| {
        u32::try_from(instances.iter().filter(|it| wanted(it.state)).count()).unwrap_or(u32::MAX)
    };
    let has = |health| count(&|state| state == InstanceState::Running(health)) > 0;
    status.running = count(&InstanceState::is_running);
    status.healthy = match (has(Health::Unhealthy), has(Health::Healthy)) {
        (true, _) => Some(false),
        (false, true) if !has(Health::Starting) => Some(true),
        (false, _) => None,
    };
    let mut digests = instances.iter().map(|it| it.service_digest);
    let first: Option<Revision> = digests.next();
    status.revision = first.filter(|first| digests.all(|other| other == *first));
    status.exit_code = instances.iter().find_map(|it| match it.state {
        InstanceState::Exited { code } => Some(exit_code(code)),
        InstanceState::Created | InstanceState::Running(_) | InstanceState::Stuck => None,
    });
}

fn exit_code(code: i64) -> i32 {
    i32::try_from(code).unwrap_or(if code < 0 { i32::MIN } else { i32::MAX })
}

const fn bare_state(state: InstanceState) -> ServiceState {
    match state {
        InstanceState::Created => ServiceState::Pending,
        InstanceState::Running(Health::Unchecked | Health::Healthy) => ServiceState::Running,
        InstanceState::Running(Health::Starting) => ServiceState::Starting,
        InstanceState::Running(Health::Unhealthy) => ServiceState::Unhealthy,
        InstanceState::Exited { code: 0 } => ServiceState::Completed,
        InstanceState::Exited { .. } | InstanceState::Stuck => ServiceState::Failed,
    }
}
