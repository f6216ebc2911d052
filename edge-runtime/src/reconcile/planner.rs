//! Dispatches: each app is planned by itself, so that none can disturb another, and each copy of
//! a service by the one rule that fits its instances.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::attempts::Attempts;
use super::desired::{Desired, DesiredApp};
use super::memory::Memory;
use super::model::{Instance, Observed, Slot};
use super::plan::{AppPlan, Plan};
use super::share::Shares;
use super::verdict::{Standing, Verdict};
use super::view::{App, Copy, Service};
use super::{create, keep, preflight, report, retire, update};
use crate::orchestrator::Capabilities;

/// Decides what to do now and what to report; the same inputs always give the same plan.
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    attempts: &Attempts,
    capabilities: &Capabilities,
    now: Moment,
) -> Plan {
    let memory = Memory::new(attempts, now);
    let mut instances: BTreeMap<&AppName, Vec<&Instance>> = BTreeMap::new();
    for instance in observed.instances.values() {
        instances.entry(&instance.slot.app).or_default().push(instance);
    }
    let shares = Shares::share_out(desired, &instances, &observed.taken_ports);
    let mut plan = Plan::default();
    for (app, wanted) in apps(desired, observed, &instances) {
        let instances = instances.get(app).map_or(&[][..], Vec::as_slice);
        let part = if let Some(wanted) = wanted {
            let refusal = shares.refusal(app);
            plan_wanted(app, wanted, instances, memory, (capabilities, refusal))
        } else {
            let leftover = observed.app_resources.contains(app);
            retire::leaving(app, desired.leaving(app), instances, leftover, memory)
        };
        plan.add(app, part);
    }
    plan
}

/// Every app that is desired or still has something here, by name.
fn apps<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    instances: &BTreeMap<&'a AppName, Vec<&Instance>>,
) -> Vec<(&'a AppName, Option<&'a DesiredApp>)> {
    let here = instances.keys().copied().chain(&observed.app_resources);
    let leaving: BTreeSet<_> = here.filter(|app| !desired.apps.contains_key(*app)).collect();
    let wanted = desired.apps.iter().map(|(app, wanted)| (app, Some(wanted)));
    let mut apps: Vec<_> = wanted.chain(leaving.into_iter().map(|app| (app, None))).collect();
    apps.sort_by_key(|(app, _)| *app);
    apps
}

fn plan_wanted(
    name: &AppName,
    wanted: &DesiredApp,
    instances: &[&Instance],
    memory: Memory<'_>,
    (capabilities, refusal): (&Capabilities, Option<&str>),
) -> AppPlan {
    let spec = match preflight::check(wanted, capabilities, refusal) {
        Ok(spec) => spec,
        Err(why) => {
            let status = report::refused(wanted.version, why, instances);
            return AppPlan::new(Vec::new(), Some(status));
        }
    };
    let app = App::new(name, spec, wanted.facts(), instances, memory, capabilities.images);
    let turn = update::turn(&app);
    let surplus = retire::surplus(&app);
    let judged: Vec<_> = app
        .in_start_order()
        .map(|service| {
            let verdicts = service.copies.iter().map(|copy| judge(&app, service, copy, turn));
            (service, verdicts.collect::<Vec<_>>())
        })
        .collect();
    let status = report::of(&app, wanted.version, &judged, &surplus);
    let copies = judged.into_iter().flat_map(|(_, verdicts)| verdicts);
    let verdicts = surplus.into_iter().chain(copies).chain(app.images.pulls());
    AppPlan::new(verdicts, Some(status))
}

fn judge(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>, turn: Option<&Slot>) -> Verdict {
    match copy.current {
        Some(current) if copy.others.is_empty() => keep::judge(app, service, &copy.slot, current),
        Some(current) if update::overlaps(service, copy, current) => {
            update::overlap(app, service, copy, current)
        }
        Some(current) => double(app, service, copy, current),
        None if copy.others.is_empty() => create::judge(app, service, &copy.slot),
        None => update::judge(app, service, copy, turn),
    }
}

/// Rule: of several instances in one place the best current one stays, and nothing else is done
/// there until the others are gone. Test: `of_two_instances_in_one_place_one_goes`.
fn double(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>, current: &Instance) -> Verdict {
    let kept = keep::judge(app, service, &copy.slot, current);
    let gone = retire::one_of(app.memory, &copy.slot, &copy.others, service.grace());
    let why = kept.why.clone().or_else(|| gone.why.clone());
    let standing = kept.standing.max(gone.standing).max(Standing::Moving);
    let why = why.or_else(|| Some("a second instance is being removed".to_owned()));
    Verdict { standing, state: kept.state, why, ..gone }
}
