//! Rules for an instance that is wanted: created is started, ended follows the restart policy,
//! unhealthy is stopped (and then started) after a back-off that grows, stuck is removed, a job with
//! a schedule is started when a run is due, and one that runs well is never touched. What somebody
//! else altered of one is set right first, without a restart of our own.
//! Tests: `a_healthy_instance_is_left_alone`, `what_somebody_altered_is_set_right`,
//! `an_unhealthy_instance_is_restarted_after_its_back_off`, `a_stuck_instance_is_made_anew`.

use std::sync::Arc;

use gnomon_schemas::app::ServiceState;

use super::attempts::SlotLife;
use super::backoff::CRASH_LOOP;
use super::model::{Health, Instance, InstanceState, Slot, Step};
use super::restart::{self, Next};
use super::text::times;
use super::verdict::{Standing, Verdict};
use super::view::{App, Service};

/// Why the planner wants to be woken.
pub(super) const RESTART_IS_DUE: &str = "the back-off of a restart is over";

pub(super) fn judge(app: &App<'_>, service: &Service<'_>, slot: &Slot, it: &Instance) -> Verdict {
    let is_ours = it.service_digest == service.digest && it.state != InstanceState::Stuck;
    if let Some(what) = it.altered.as_ref().filter(|_| is_ours) {
        let step = Step::Create { slot: slot.clone(), spec: Arc::clone(app.spec) };
        let news = Verdict::new(Standing::Moving, ServiceState::Starting)
            .because(format!("{what}; setting it right"));
        return app.memory.offer(step, ServiceState::Starting, "setting it right").with(news);
    }
    let waits = service.spec.schedule.is_some() && !app.memory.shall_run(slot);
    match it.state {
        InstanceState::Created if waits => {
            Verdict::new(Standing::Settled, ServiceState::Pending).because("waits for its schedule")
        }
        InstanceState::Exited { .. } if service.spec.schedule.is_some() && !waits => {
            start(app, service, slot, it, ServiceState::Starting)
        }
        InstanceState::Created => start(app, service, slot, it, ServiceState::Starting),
        InstanceState::Running(Health::Unchecked | Health::Healthy) => {
            Verdict::new(Standing::Settled, ServiceState::Running)
        }
        InstanceState::Running(Health::Starting) => {
            let why = match it.note.as_deref() {
                Some(note) if service.spec.has_manifests() => note.to_owned(),
                Some(note) => format!("its health check has not passed yet ({note})"),
                None => "its health check has not passed yet".to_owned(),
            };
            Verdict::new(Standing::Moving, ServiceState::Starting).because(why)
        }
        InstanceState::Running(Health::Unhealthy) => unhealthy(app, service, slot, it),
        InstanceState::Exited { code } => ended(app, service, slot, it, code),
        InstanceState::Stuck => {
            let step = Step::Remove { id: it.id.clone(), slot: slot.clone() };
            let news = Verdict::new(Standing::Troubled, ServiceState::Waiting)
                .because("its instance is stuck and is made anew");
            app.memory.offer(step, ServiceState::Waiting, "removing").with(news)
        }
    }
}

fn ended(app: &App<'_>, service: &Service<'_>, slot: &Slot, it: &Instance, code: i64) -> Verdict {
    let life = app.memory.life(slot, it.service_digest);
    match restart::after_end(app.memory, service.spec.restart, slot, it, code) {
        Next::Done => Verdict::new(Standing::Settled, ServiceState::Completed),
        Next::Never(why) => Verdict::new(Standing::Broken, ServiceState::Failed)
            .because(format!("{}; {why}", end(it, code))),
        Next::Resume => start(app, service, slot, it, ServiceState::Starting),
        Next::Again => {
            let next = app.unmet.get(service.name).map_or("starting it again", String::as_str);
            let why = format!("{}{}; {next}", end(it, code), in_a_row(life));
            let news = Verdict::new(trouble(life), ServiceState::Waiting).because(why);
            back_off(app, life, news, || start(app, service, slot, it, ServiceState::Waiting))
        }
    }
}

fn end(it: &Instance, code: i64) -> String {
    let note = it.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
    format!("ended with exit code {code}{note}")
}

fn unhealthy(app: &App<'_>, service: &Service<'_>, slot: &Slot, it: &Instance) -> Verdict {
    if service.spec.has_manifests() {
        // To stop and start Kubernetes objects mends none: their controllers go on trying.
        let why = it.note.as_deref().unwrap_or("its objects are not well");
        return Verdict::new(Standing::Broken, ServiceState::Unhealthy).because(why);
    }
    let life = app.memory.life(slot, it.service_digest);
    if let Some(why) = restart::forbidden(service.spec.restart, life) {
        return Verdict::new(Standing::Broken, ServiceState::Unhealthy)
            .because(format!("its health check fails; {why}"));
    }
    let why = format!("its health check fails{}; starting it again", in_a_row(life));
    let news = Verdict::new(trouble(life), ServiceState::Unhealthy).because(why);
    back_off(app, life, news, || {
        let (id, slot, grace) = (it.id.clone(), slot.clone(), service.grace());
        app.memory.offer(Step::Stop { id, slot, grace }, ServiceState::Unhealthy, "stopping")
    })
}

/// A start waits for the services that this one depends on.
fn start(
    app: &App<'_>,
    service: &Service<'_>,
    slot: &Slot,
    it: &Instance,
    state: ServiceState,
) -> Verdict {
    if let Some(why) = app.unmet.get(service.name) {
        return Verdict::new(Standing::Moving, ServiceState::Pending).because(why.as_str());
    }
    let step = Step::Start { id: it.id.clone(), slot: slot.clone() };
    app.memory.offer(step, state, "starting")
}

/// The step once the back-off is over, with news that are the same before and after.
fn back_off(
    app: &App<'_>,
    life: Option<&SlotLife>,
    news: Verdict,
    step: impl FnOnce() -> Verdict,
) -> Verdict {
    if let Some(life) = life.filter(|life| !app.memory.is_due(life.retry_at)) {
        return news.until(life.retry_at, RESTART_IS_DUE);
    }
    news.with(step())
}

/// How bad it is that a copy is down: nothing to speak of if the agent did not see it fall (the
/// node was restarted), and hopeless, although it is tried again, if it keeps falling.
pub(super) fn trouble(life: Option<&SlotLife>) -> Standing {
    match streak(life) {
        0 => Standing::Moving,
        1..CRASH_LOOP => Standing::Troubled,
        CRASH_LOOP.. => Standing::Broken,
    }
}

pub(super) fn in_a_row(life: Option<&SlotLife>) -> String {
    match streak(life) {
        0 | 1 => String::new(),
        more => format!(", {} in a row", times(more)),
    }
}

fn streak(life: Option<&SlotLife>) -> u32 {
    life.map_or(0, |life| life.streak)
}
