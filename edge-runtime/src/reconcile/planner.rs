//! Dispatches: each app is planned by itself, so that none can disturb another, and each copy of
//! a service by the one rule that fits its instances.

use std::collections::BTreeSet;

use gnomon_schemas::app::{AppSpec, AppStatus};
use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::attempts::Attempts;
use super::desired::{Desired, DesiredApp};
use super::instances::Instances;
use super::lives::Lives;
use super::memory::Memory;
use super::model::{Instance, Observed, Slot};
use super::plan::{AppPlan, Plan};
use super::share::Shares;
use super::verdict::{Standing, Verdict};
use super::view::{App, Copy, Place, Service};
use super::{create, doubt, keep, preflight, report, retire, settled, update};
use crate::orchestrator::Capabilities;

/// Tells what to report of an app that needs no plan.
pub(super) type Shortcut =
    fn(&DesiredApp, &AppSpec, &[&Instance], &mut Lives<'_>) -> Option<AppStatus>;

/// Decides what to do now and what to report; the same inputs always give the same plan.
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    attempts: &Attempts,
    capabilities: &Capabilities,
    now: Moment,
) -> Plan {
    plan_by(desired, observed, (attempts, capabilities), now, settled::status)
}

/// The same with another shortcut: what it tells must be what the way around it would tell.
pub(super) fn plan_by(
    desired: &Desired,
    observed: &Observed,
    (attempts, capabilities): (&Attempts, &Capabilities),
    now: Moment,
    shortcut: Shortcut,
) -> Plan {
    let memory = Memory::new(attempts, now);
    let instances = Instances::of(observed);
    let shares = Shares::share_out(desired, &instances, &observed.taken_ports);
    let site = Site { desired, capabilities, memory, shares, shortcut };
    let mut plan = Plan::default();
    let apps = apps(desired, observed, &instances);
    let (mut lives, mut report) = (memory.lives(), Vec::with_capacity(apps.len()));
    for (app, wanted, instances) in apps {
        let mut part = if let Some(wanted) = wanted {
            site.plan_wanted(app, wanted, instances, &mut lives)
        } else {
            let leftover = observed.app_resources.contains(app);
            retire::leaving(app, desired.leaving(app), instances, leftover, memory)
        };
        report.extend(part.status.take().map(|status| (app.clone(), status)));
        plan.add(part);
    }
    // In order: to make a map of all at once takes less than to insert one after the other.
    plan.report = report.into_iter().collect();
    plan
}

/// What the plans of all apps share.
struct Site<'a> {
    desired: &'a Desired,
    capabilities: &'a Capabilities,
    memory: Memory<'a>,
    shares: Shares<'a>,
    shortcut: Shortcut,
}

impl Site<'_> {
    fn plan_wanted(
        &self,
        name: &AppName,
        wanted: &DesiredApp,
        instances: &[&Instance],
        lives: &mut Lives<'_>,
    ) -> AppPlan {
        let spec = match preflight::check(wanted, self.capabilities, self.shares.refusal(name)) {
            Ok(spec) => spec,
            Err(why) => {
                let status = report::refused(wanted.version, why, instances);
                return AppPlan::new(Vec::new(), Some(status));
            }
        };
        if let Some(status) = (self.shortcut)(wanted, spec, instances, lives) {
            return AppPlan::new(Vec::new(), Some(status));
        }
        let place = Place {
            runs_images: self.capabilities.images,
            is_doubted: self.desired.is_doubted(name),
            is_postponed: self.desired.is_postponed(name),
        };
        plan_app(&App::new(name, spec, wanted.facts(), instances, self.memory, place), wanted)
    }
}

/// Every app that is desired or still has something here, by name, with its instances.
fn apps<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    instances: &'a Instances<'a>,
) -> Vec<(&'a AppName, Option<&'a DesiredApp>, &'a [&'a Instance])> {
    let mut apps = Vec::with_capacity(desired.apps.len());
    let mut here = instances.by_app().peekable();
    for (app, wanted) in &desired.apps {
        while let Some((other, own)) = here.next_if(|(other, _)| *other < app) {
            apps.push((other, None, own));
        }
        let own = here.next_if(|(other, _)| *other == app).map_or(&[][..], |(_, own)| own);
        apps.push((app, Some(wanted), own));
    }
    apps.extend(here.map(|(other, own)| (other, None, own)));
    // What is left of apps comes in order, and mostly of those that are desired.
    let mut names = desired.apps.keys();
    let mut is_bare = |app: &&AppName| {
        names.next() != Some(*app)
            && !desired.apps.contains_key(*app)
            && instances.of_app(app).is_empty()
    };
    let bare: BTreeSet<_> = observed.app_resources.iter().filter(|app| is_bare(app)).collect();
    if !bare.is_empty() {
        apps.extend(bare.into_iter().map(|app| (app, None, &[][..])));
        apps.sort_by_key(|(app, ..)| *app);
    }
    apps
}

fn plan_app(app: &App<'_>, wanted: &DesiredApp) -> AppPlan {
    let turn = update::turn(app);
    let surplus = retire::surplus(app);
    let judged: Vec<_> = app
        .in_start_order()
        .map(|service| {
            let verdicts = service.copies.iter().map(|copy| judge(app, service, copy, turn));
            (service, verdicts.collect::<Vec<_>>())
        })
        .collect();
    let status = report::of(app, wanted.version, &judged, &surplus);
    let copies = judged.into_iter().flat_map(|(_, verdicts)| verdicts);
    let verdicts = surplus.into_iter().chain(copies).chain(app.images.pulls());
    AppPlan::new(verdicts, Some(status))
}

fn judge(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>, turn: Option<&Slot>) -> Verdict {
    if app.is_doubted {
        return doubt::judge(app, service, copy);
    }
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
