//! Rules: a copy is made or started only when every service that its service depends on has come
//! as far as the dependency says, in the wanted revision (a job that succeeded has come as far as
//! it can); what goes for good stops in the reverse order.
//! Tests: `services_start_in_the_order_of_their_conditions`, `a_removed_app_stops_in_reverse_order`.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::app::{AppSpec, Condition};
use gnomon_schemas::id::ServiceName;

use super::model::{Health, Instance, InstanceState};
use super::view::{App, Copy, Service};
use super::{doubt, restart};

/// The services that may not start yet, and why.
pub(super) fn unmet<'a>(app: &App<'a>) -> BTreeMap<&'a ServiceName, String> {
    let services = app.services.values();
    services.filter_map(|service| Some((service.name, unmet_by(app, service)?))).collect()
}

fn unmet_by(app: &App<'_>, service: &Service<'_>) -> Option<String> {
    service.spec.depends_on.iter().find_map(|(name, condition)| {
        let needed = app.services.get(name)?;
        let meets = |copy: &Copy<'_>| {
            effective(app, copy).is_some_and(|it| is_met(app, needed, copy, it, *condition))
        };
        let what = match condition {
            Condition::Started => "start",
            Condition::Healthy => "be healthy",
            Condition::CompletedSuccessfully => "complete",
        };
        (!needed.copies.iter().all(meets)).then(|| format!("waits for {name} to {what}"))
    })
}

/// The instance that counts: that of the wanted revision, or the old one as long as the new
/// revision cannot begin.
fn effective<'a>(app: &App<'a>, copy: &Copy<'a>) -> Option<&'a Instance> {
    if app.is_doubted {
        return doubt::stays(copy);
    }
    let old = || copy.others.first().copied().filter(|_| !app.may_replace());
    copy.current.or_else(old)
}

fn is_met(
    app: &App<'_>,
    needed: &Service<'_>,
    copy: &Copy<'_>,
    instance: &Instance,
    condition: Condition,
) -> bool {
    let is_done = || restart::is_done(app.memory, needed.spec.restart, &copy.slot, instance);
    match condition {
        Condition::Started => instance.state.is_running() || is_done(),
        Condition::Healthy => {
            instance.state == InstanceState::Running(Health::Healthy) || is_done()
        }
        Condition::CompletedSuccessfully => is_done(),
    }
}

/// A service that depends on this one and must stop before it.
pub(super) fn dependent<'a>(
    spec: &'a AppSpec,
    service: &ServiceName,
    running: &BTreeSet<&ServiceName>,
) -> Option<&'a ServiceName> {
    let depends = |(_, other): &(&ServiceName, &gnomon_schemas::app::ServiceSpec)| {
        other.depends_on.contains_key(service)
    };
    spec.services.iter().filter(depends).map(|(name, _)| name).find(|name| running.contains(name))
}
