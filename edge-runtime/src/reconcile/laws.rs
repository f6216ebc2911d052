//! The laws of the planner, under random wishes, failures, deaths and interference.

use std::collections::BTreeSet;
use std::time::Duration;

use gnomon_schemas::app::{AppSpec, AppState, Condition, RestartPolicy, ServiceSpec};
use gnomon_schemas::document::Document;
use gnomon_schemas::id::AppName;
use gnomon_schemas::version::Version;
use gnomon_sync::Moment;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::model::{Health, Instance, InstanceState, Observed, Slot, Step};
use super::planner::plan_by;
use super::world::{Site, app};
use super::{Desired, Plan, plan};

/// Everything that can happen to a site.
#[derive(Debug, Clone)]
enum Event {
    Want(u8, Value),
    Unwant(u8),
    Break(u8),
    Round,
    Settle,
    Pass(u64),
    Fail {
        transient: bool,
        steps: usize,
    },
    Befall(Index, InstanceState),
    Vanish(Index),
    Double(Index),
    AgentRestart,
    PowerCut,
    /// The store goes back to another wish for an app.
    GoBack(u8, Value),
    /// It is not the time of updates, or it is.
    Postpone(bool),
    /// The cloud says what is desired; in the tests, what the store says.
    Word,
}

fn event() -> impl Strategy<Value = Event> {
    let befall = prop_oneof![
        Just(InstanceState::Exited { code: 0 }),
        Just(InstanceState::Exited { code: 1 }),
        Just(InstanceState::Running(Health::Unhealthy)),
        Just(InstanceState::Stuck),
    ];
    prop_oneof![
        3 => (0..3_u8, spec()).prop_map(|(app, spec)| Event::Want(app, spec)),
        1 => (0..3_u8).prop_map(Event::Unwant),
        1 => (0..3_u8).prop_map(Event::Break),
        12 => Just(Event::Round),
        3 => Just(Event::Settle),
        3 => (1..400_000_u64).prop_map(Event::Pass),
        2 => (any::<bool>(), 1..5_usize)
            .prop_map(|(transient, steps)| Event::Fail { transient, steps }),
        4 => (any::<Index>(), befall).prop_map(|(pick, state)| Event::Befall(pick, state)),
        1 => any::<Index>().prop_map(Event::Vanish),
        1 => any::<Index>().prop_map(Event::Double),
        1 => Just(Event::AgentRestart),
        1 => Just(Event::PowerCut),
        1 => (0..3_u8, spec()).prop_map(|(app, spec)| Event::GoBack(app, spec)),
        1 => Just(Event::Word),
        1 => any::<bool>().prop_map(Event::Postpone),
    ]
}

/// A valid app of up to four services; a service depends only on those before it.
fn spec() -> impl Strategy<Value = Value> {
    let service = (0..5_usize, any::<bool>(), 0..3_u32, 0..2_u8, any::<[bool; 4]>());
    prop::collection::vec(service, 1..5).prop_map(|services| {
        let mut out = json!({});
        let names = ["a", "b", "c", "d"];
        for (at, (policy, checked, replicas, image, needs)) in services.iter().enumerate() {
            let mut depends_on = json!({});
            for (other, (other_policy, other_checked, ..)) in services.iter().enumerate().take(at) {
                if needs[other] {
                    depends_on[names[other]] = match (*other_policy < 3, *other_checked) {
                        (_, true) => json!("healthy"),
                        (true, false) => json!("completed_successfully"),
                        (false, false) => json!("started"),
                    };
                }
            }
            out[names[at]] = json!({
                "image": format!("{}:{image}", names[at]),
                "command": ["run"],
                "restart": policies()[*policy],
                "replicas": replicas,
                "depends_on": depends_on,
            });
            if *checked {
                out[names[at]]["healthcheck"] = json!({"test": {"shell": "true"}});
            }
        }
        json!({ "services": out })
    })
}

fn policies() -> [Value; 5] {
    [
        json!("no"),
        json!({"on-failure": {"max_retries": 2}}),
        json!({"on-failure": {}}),
        json!("always"),
        json!("unless-stopped"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_planner_keeps_its_laws(
        events in prop::collection::vec(event(), 0..60),
        images in any::<bool>(),
    ) {
        let mut site = Site::new();
        site.capabilities.images = images;
        for (version, event) in (1..).zip(events) {
            happen(&mut site, event, version);
        }
        site.faults.clear();
        for _ in 0..20 {
            checked_round(&mut site);
            site.world.settle();
        }
        site.desired.doubt(BTreeSet::new());
        site.desired.postpone(BTreeSet::new());
        let plan = site.converge();
        check(&site, &plan);
        for name in site.desired.apps.keys() {
            let Some(spec) = valid(&site.desired, name) else { continue };
            let is_up = plan.report[name].state == AppState::Running;
            prop_assert!(is_up || has_failed_for_good(&site, name, spec), "{name}:\n{plan}");
        }
    }
}

fn happen(site: &mut Site, event: Event, version: u64) {
    let name = |number: u8| app(&format!("app-{number}"));
    let pick = |site: &Site, index: Index| {
        let ids: Vec<_> = site.world.instances.keys().cloned().collect();
        (!ids.is_empty()).then(|| ids[index.index(ids.len())].clone())
    };
    match event {
        Event::Want(number, spec) => {
            let document = Document::from_value(spec).unwrap();
            site.desired.insert(name(number), Version(version), &document);
            assert!(valid(&site.desired, &name(number)).is_some(), "{:?}", site.desired.apps);
        }
        Event::Unwant(number) => site.desired.remove(&name(number)),
        Event::Break(number) => {
            site.desired.insert(name(number), Version(version), &Document::new());
        }
        Event::Round => checked_round(site),
        Event::Settle => {
            site.world.settle();
        }
        Event::Pass(millis) => {
            site.now = site.now + Duration::from_millis(millis);
        }
        Event::Fail { transient, steps } => {
            site.faults.extend(std::iter::repeat_n(("a fault", transient), steps));
        }
        Event::Befall(index, state) => {
            if let Some(it) = pick(site, index).and_then(|id| site.world.instances.get_mut(&id))
                && (it.state.is_running() || !matches!(state, InstanceState::Exited { .. }))
            {
                it.state = state;
            }
        }
        Event::Vanish(index) => {
            if let Some(id) = pick(site, index) {
                site.world.instances.remove(&id);
            }
        }
        Event::Double(index) => {
            if let Some(id) = pick(site, index) {
                site.world.double(&id);
            }
        }
        Event::AgentRestart => site.attempts = super::Attempts::default(),
        Event::PowerCut => {
            for instance in site.world.instances.values_mut() {
                if instance.state.is_running() {
                    instance.state = InstanceState::Exited { code: 255 };
                }
            }
            site.attempts = super::Attempts::default();
        }
        Event::GoBack(number, spec) => go_back(site, &name(number), spec, version),
        Event::Postpone(is_late) => {
            let apps = (0..3_u8).filter(|_| is_late).map(name);
            site.desired.postpone(apps.collect());
        }
        Event::Word => {
            site.desired.doubt(BTreeSet::new());
        }
    }
}

/// The store says another wish for an app, and the agent forgets what it knew.
fn go_back(site: &mut Site, name: &AppName, spec: Value, version: u64) {
    let document = Document::from_value(spec).unwrap();
    site.desired.insert(name.clone(), Version(version), &document);
    let all = (0..3_u8).map(|number| app(&format!("app-{number}")));
    let doubted = all.filter(|it| site.desired.is_doubted(it) || it == name).collect();
    site.desired.doubt(doubted);
    site.attempts = super::Attempts::default();
}

fn checked_round(site: &mut Site) {
    site.look();
    let plan = site.plan();
    check(site, &plan);
    for step in &plan.steps {
        site.execute(step);
    }
    site.look();
}

/// Every law that one plan must keep.
fn check(site: &Site, plan: &Plan) {
    assert_eq!(*plan, site.plan(), "the same inputs give the same plan");
    what_is_settled_is_told_as_the_whole_plan_would_tell_it(site, plan);
    check_time(site, plan);
    let observed = site.world.observe();
    check_slots(plan);
    for step in &plan.steps {
        check_step(site, &observed, step);
    }
    for name in site.desired.apps.keys().chain(observed.apps()) {
        check_alone(site, &observed, plan, name);
        let steps = plan.steps.iter().filter(|step| step.app() == name).count();
        let state = plan.report.get(name).map(|status| status.state);
        match valid(&site.desired, name) {
            Some(spec) => {
                let drifts = drifts(&observed, name, spec);
                assert_eq!(steps == 0 && state == Some(AppState::Running), !drifts, "\n{plan}");
                assert_eq!(state == Some(AppState::Running), !drifts, "\n{plan}");
            }
            None if site.desired.apps.contains_key(name) => {
                assert_eq!((steps, state), (0, Some(AppState::Refused)), "\n{plan}");
            }
            None => assert_eq!(state, Some(AppState::Stopping), "\n{plan}"),
        }
    }
    for (name, status) in &plan.report {
        let is_known = site.desired.apps.contains_key(name) || observed.apps().any(|it| it == name);
        assert!(is_known, "{name} is reported and is not there: {status:?}");
    }
}

fn what_is_settled_is_told_as_the_whole_plan_would_tell_it(site: &Site, plan: &Plan) {
    let (observed, memory) = (site.world.observe(), (&site.attempts, &site.capabilities));
    let whole = plan_by(&site.desired, &observed, memory, site.now, |_, _, _, _| None);
    assert_eq!(*plan, whole);
}

/// Nothing but the moment of waking changes a plan while nothing happens.
fn check_time(site: &Site, plan: &Plan) {
    let before = match plan.wake_at {
        Some((at, why)) => {
            assert!(at > site.now, "woken for the past: {why}");
            Moment::from_millis(at.as_millis() - 1)
        }
        None => site.now + Duration::from_hours(24),
    };
    let later = Site { now: before, ..site.clone() };
    assert_eq!(*plan, later.plan(), "a plan must not change before it asks to be woken");
}

fn check_slots(plan: &Plan) {
    let mut slots = BTreeSet::new();
    for slot in plan.steps.iter().filter_map(Step::slot) {
        assert!(slots.insert(slot), "two steps for {slot}:\n{plan}");
    }
}

/// No step for what is not there or not wanted, and none that harms what is well.
fn check_step(site: &Site, observed: &Observed, step: &Step) {
    let spec = valid(&site.desired, step.app());
    let is_wanted = |slot: &Slot| {
        let service = spec.and_then(|spec| spec.services.get(&slot.service));
        service.is_some_and(|service| u32::from(slot.replica) < service.replicas)
    };
    match step {
        Step::Pull { image, .. } => {
            let mut services = spec.expect("a pull is for an app").services.values();
            assert!(services.any(|service| service.image.as_ref() == Some(image)));
            assert!(site.capabilities.images);
        }
        Step::Create { slot, .. } => {
            assert!(is_wanted(slot), "{step}");
            check_order(observed, spec.unwrap(), slot);
        }
        Step::Start { id, slot } => {
            assert!(is_wanted(slot), "{step}");
            check_order(observed, spec.unwrap(), slot);
            assert_eq!(observed.instances[id].slot, *slot);
        }
        Step::Stop { id, slot, .. } | Step::Remove { id, slot } => {
            let it = &observed.instances[id];
            assert_eq!(it.slot, *slot);
            let wanted = spec.and_then(|spec| spec.service_digest(&slot.service));
            let mut twins = observed.instances.values().filter(|other| other.slot == *slot);
            let is_double = twins.any(|twin| twin.id != *id && Some(twin.service_digest) == wanted);
            let is_current = is_wanted(slot) && Some(it.service_digest) == wanted;
            assert!(!(is_current && !is_double && is_well(it, None)), "{step} harms what is well");
            let is_sick = it.state == InstanceState::Running(Health::Unhealthy);
            if site.desired.is_doubted(&slot.app) && spec.is_some() {
                let is_stuck = it.state == InstanceState::Stuck;
                assert!(is_sick || is_stuck, "{step} although it may be the newest");
                return;
            }
            if site.desired.is_postponed(&slot.app) && spec.is_some() && !is_current && !is_double {
                assert!(is_wanted(slot) && is_sick, "{step} at another time than that of updates");
            }
            if spec.is_some() && !is_current && !(is_wanted(slot) && is_sick) {
                check_images(site, observed, step);
            }
        }
        Step::RemoveApp { app } => assert!(!site.desired.apps.contains_key(app), "{step}"),
    }
}

/// Nothing begins before what it depends on has come as far as it must.
fn check_order(observed: &Observed, spec: &AppSpec, slot: &Slot) {
    for (name, condition) in &spec.services[&slot.service].depends_on {
        let needed = &spec.services[name];
        for replica in 0..needed.replicas {
            let met = observed.instances.values().any(|it| {
                let is_done = it.state == InstanceState::Exited { code: 0 } && needed.is_job();
                it.slot.app == slot.app
                    && it.slot.service == *name
                    && u32::from(it.slot.replica) == replica
                    && match condition {
                        Condition::Started => it.state.is_running() || is_done,
                        Condition::Healthy => {
                            it.state == InstanceState::Running(Health::Healthy) || is_done
                        }
                        Condition::CompletedSuccessfully => is_done,
                    }
            });
            assert!(met, "{slot} before {name}.{replica} is {condition:?}");
        }
    }
}

/// Nothing is given up before all that replaces it is here.
fn check_images(site: &Site, observed: &Observed, step: &Step) {
    let spec = valid(&site.desired, step.app()).unwrap();
    for (name, service) in &spec.services {
        let digest = spec.service_digest(name);
        let is_missing = |replica: u32| {
            let has = |it: &&Instance| {
                it.slot.app == *step.app()
                    && it.slot.service == *name
                    && u32::from(it.slot.replica) == replica
                    && Some(it.service_digest) == digest
            };
            !observed.instances.values().any(|it| has(&it))
        };
        let is_needed = site.capabilities.images && (0..service.replicas).any(is_missing);
        let image = service.image.as_ref().unwrap();
        // A double of a current instance may go at any time.
        let slot = step.slot().unwrap();
        let is_double = observed.instances.values().any(|it| {
            it.slot == *slot && Some(it.service_digest) == spec.service_digest(&slot.service)
        });
        let is_here = site.world.images.contains(image);
        assert!(is_double || !is_needed || is_here, "{step} before {image} is here");
    }
}

/// An app is planned as if there were no other.
fn check_alone(site: &Site, observed: &Observed, whole: &Plan, name: &AppName) {
    let mut alone = Site { desired: site.desired.clone(), ..site.clone() };
    alone.desired.apps.retain(|other, _| other == name);
    let mut seen = observed.clone();
    seen.instances.retain(|_, it| it.slot.app == *name);
    seen.app_resources.retain(|other| other == name);
    alone.attempts.retain(&alone.desired, &seen);
    let part = plan(&alone.desired, &seen, &alone.attempts, &alone.capabilities, alone.now);
    let steps: Vec<_> = whole.steps.iter().filter(|step| step.app() == name).collect();
    assert_eq!(steps, part.steps.iter().collect::<Vec<_>>());
    assert_eq!(whole.report.get(name), part.report.get(name));
}

fn valid<'a>(desired: &'a Desired, name: &AppName) -> Option<&'a AppSpec> {
    desired.apps.get(name)?.spec.as_deref().ok()
}

/// The definition of drift, written without the planner's words.
fn drifts(observed: &Observed, name: &AppName, spec: &AppSpec) -> bool {
    let own: Vec<_> = observed.instances.values().filter(|it| it.slot.app == *name).collect();
    let mut wanted = 0;
    for (service_name, service) in &spec.services {
        for replica in 0..service.replicas {
            wanted += 1;
            let mut here = own.iter().filter(|it| {
                it.slot.service == *service_name && u32::from(it.slot.replica) == replica
            });
            let is_right = here.next().is_some_and(|it| {
                Some(it.service_digest) == spec.service_digest(service_name)
                    && is_well(it, Some(service))
            });
            if !is_right || here.next().is_some() {
                return true;
            }
        }
    }
    own.len() != wanted
}

fn is_well(it: &Instance, service: Option<&ServiceSpec>) -> bool {
    match it.state {
        InstanceState::Running(Health::Healthy | Health::Unchecked) => true,
        InstanceState::Exited { code: 0 } => service.is_some_and(ServiceSpec::is_job),
        InstanceState::Running(_)
        | InstanceState::Exited { .. }
        | InstanceState::Created
        | InstanceState::Stuck => false,
    }
}

/// Some service ended, or sickened, and its policy forbids to start it again.
fn has_failed_for_good(site: &Site, name: &AppName, spec: &AppSpec) -> bool {
    site.world.instances.values().filter(|it| it.slot.app == *name).any(|it| {
        let policy = spec.services.get(&it.slot.service).map(|service| service.restart);
        let is_final = matches!(
            policy,
            Some(RestartPolicy::No | RestartPolicy::OnFailure { max_retries: Some(_) })
        );
        is_final && !is_well(it, spec.services.get(&it.slot.service))
    })
}
