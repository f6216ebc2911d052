//! Rules for a copy whose only instances are outdated. Until every image of the new revision is
//! here, the old instances are kept alive by the new spec's policy; while nobody has looked yet,
//! what has ended is left so: an agent that was ended in the middle of an update would start an old
//! instance only to stop it. So it is outside of the app's window of updates, if it has one. Then they are replaced one
//! at a time, in start order: old one stopped, removed, new one made, started, healthy; then the
//! next. Services that wait in a back-off do not hold up others, unless those depend on them; but
//! the copies of one service go on only while its new ones are well, so a bad revision stops at
//! its first copy. What does not run any more is removed at once. A service that starts first
//! keeps the old instance until the new one is well, and so has two for a while. What consists of
//! Kubernetes objects is changed in place: to remove them first would take with them what they hold.
//! Tests: `an_update_goes_copy_by_copy_in_start_order`, `a_bad_revision_stops_at_its_first_copy`,
//! `an_old_instance_is_kept_alive_while_images_are_fetched`,
//! `an_interrupted_update_goes_on_after_a_restart_of_the_agent`,
//! `outside_of_its_window_an_update_waits_with_its_images_here`,
//! `a_failing_service_does_not_hold_up_the_update_of_others`,
//! `a_service_that_starts_first_is_never_without_an_instance`,
//! `an_app_of_manifests_is_changed_in_place`.

use std::sync::Arc;

use gnomon_schemas::app::{ServiceState, UpdateOrder};

use super::attempts::StepKey;
use super::model::{Health, Instance, InstanceState, Slot, Step};
use super::verdict::{Standing, Verdict};
use super::view::{App, Copy, Service};
use super::{create, keep, retire};

/// `turn`: the slot whose running instance may be stopped now; see [`turn`].
pub(super) fn judge(
    app: &App<'_>,
    service: &Service<'_>,
    copy: &Copy<'_>,
    turn: Option<&Slot>,
) -> Verdict {
    if !app.may_replace() {
        return keep_alive(app, service, copy);
    }
    if service.spec.has_manifests() {
        return in_place(app, service, copy);
    }
    if starts_first(service) && old_running(copy).is_some() {
        let is_due = turn == Some(&copy.slot) || create::has_failed(app, service, &copy.slot);
        return if is_due { create::judge(app, service, &copy.slot) } else { waits(app, service) };
    }
    let is_ready = old_running(copy).is_none_or(|old| is_held(app, old));
    if is_ready || turn == Some(&copy.slot) {
        return retire::one_of(app.memory, &copy.slot, &copy.others, service.grace());
    }
    waits(app, service)
}

fn waits(app: &App<'_>, service: &Service<'_>) -> Verdict {
    let why = app.unmet.get(service.name).cloned();
    let why = why.unwrap_or_else(|| "waits for its turn in the update".to_owned());
    Verdict::new(Standing::Moving, ServiceState::Pending).because(why)
}

fn in_place(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>) -> Verdict {
    if let Some(why) = app.unmet.get(service.name) {
        return Verdict::new(Standing::Moving, ServiceState::Pending).because(why.as_str());
    }
    let step = Step::Create { slot: copy.slot.clone(), spec: Arc::clone(app.spec) };
    let news =
        Verdict::new(Standing::Moving, ServiceState::Starting).because("changing its objects");
    app.memory.offer(step, ServiceState::Starting, "changing its objects").with(news)
}

fn starts_first(service: &Service<'_>) -> bool {
    service.spec.update == UpdateOrder::StartFirst
}

/// Whether the old instance stays beside the new one for now.
pub(super) fn overlaps(service: &Service<'_>, copy: &Copy<'_>, new: &Instance) -> bool {
    let is_well = matches!(new.state, InstanceState::Running(Health::Unchecked | Health::Healthy));
    starts_first(service) && !is_well && overlapping(service, copy).is_some()
}

/// The outdated instance that runs beside the new one.
fn overlapping<'a>(service: &Service<'_>, copy: &Copy<'a>) -> Option<&'a Instance> {
    let is_old = |it: &&&Instance| it.state.is_running() && it.service_digest != service.digest;
    copy.others.iter().find(is_old).copied()
}

/// The new instance beside the old one is brought up as if it were alone; nothing is done to the
/// old one meanwhile.
pub(super) fn overlap(
    app: &App<'_>,
    service: &Service<'_>,
    copy: &Copy<'_>,
    new: &Instance,
) -> Verdict {
    let verdict = keep::judge(app, service, &copy.slot, new);
    let standing = verdict.standing.max(Standing::Moving);
    Verdict { standing, ..verdict }
}

/// Whether the app is to change its revision and may not yet.
pub(super) fn has_not_begun(app: &App<'_>) -> bool {
    let outdated = |copy: &Copy<'_>| copy.current.is_none() && !copy.others.is_empty();
    let mut copies = app.services.values().flat_map(|service| &service.copies);
    !app.is_doubted && !app.may_replace() && (!app.surplus.is_empty() || copies.any(outdated))
}

/// The one copy, if any, whose old instance may be stopped now.
pub(super) fn turn<'a>(app: &'a App<'_>) -> Option<&'a Slot> {
    let mut copies = app.in_start_order().flat_map(|it| it.copies.iter().map(move |c| (it, c)));
    if !app.may_replace() || copies.any(|(service, copy)| is_moving(app, service, copy)) {
        return None;
    }
    let copies = app.in_start_order().flat_map(|it| it.copies.iter().map(move |c| (it, c)));
    let mut ready = copies.filter(|(service, copy)| {
        let old = old_running(copy);
        old.is_some_and(|old| !is_held(app, old))
            && !service.spec.has_manifests()
            && !app.unmet.contains_key(service.name)
            && service.copies.iter().all(|peer| is_well(app, service, peer))
            && !(starts_first(service) && create::has_failed(app, service, &copy.slot))
    });
    ready.next().map(|(_, copy)| &copy.slot)
}

fn keep_alive(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>) -> Verdict {
    let wait = app.images.wait(service).unwrap_or_else(|| {
        Verdict::new(Standing::Moving, ServiceState::Pending).because(app.waits_for())
    });
    match copy.others.first() {
        Some(_) if app.images.are_unknown() => wait,
        Some(old) if !matches!(old.state, InstanceState::Created | InstanceState::Stuck) => {
            wait.with(keep::judge(app, service, &copy.slot, old))
        }
        Some(_) | None => wait,
    }
}

/// Between the old instance and the new one, and getting on.
fn is_moving(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>) -> bool {
    let fails = |key: StepKey| app.memory.failure(&key).is_some();
    match (copy.current, copy.others.first()) {
        (None, None) => {
            create::blocked(app, service, &copy.slot).is_none()
                && !create::has_failed(app, service, &copy.slot)
        }
        (None, Some(old)) => {
            old_running(copy).is_none()
                && !fails(StepKey::Remove(copy.slot.clone(), old.id.clone()))
        }
        (Some(_), Some(old)) if starts_first(service) && old.state.is_running() => {
            !fails(StepKey::Stop(copy.slot.clone(), old.id.clone()))
        }
        (Some(new), _) => match new.state {
            InstanceState::Created => {
                let waits = service.spec.schedule.is_some() && !app.memory.shall_run(&copy.slot);
                !waits
                    && !app.unmet.contains_key(service.name)
                    && !fails(StepKey::Start(copy.slot.clone(), new.id.clone()))
            }
            InstanceState::Running(Health::Starting) => true,
            InstanceState::Running(Health::Unchecked | Health::Healthy | Health::Unhealthy)
            | InstanceState::Exited { .. }
            | InstanceState::Stuck => false,
        },
    }
}

/// Still in the old revision, or well in the new one.
fn is_well(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>) -> bool {
    match copy.current {
        Some(new) => keep::judge(app, service, &copy.slot, new).standing == Standing::Settled,
        None => old_running(copy).is_some(),
    }
}

fn old_running<'a>(copy: &Copy<'a>) -> Option<&'a Instance> {
    copy.others.iter().find(|it| it.state.is_running()).filter(|_| copy.current.is_none()).copied()
}

fn is_held(app: &App<'_>, old: &Instance) -> bool {
    let key = StepKey::Stop(old.slot.clone(), old.id.clone());
    app.memory.failure(&key).is_some_and(|failure| !app.memory.is_due(failure.next))
}
