//! The core in a world of fakes: what it does with and without a link, across crashes at every
//! point, with a full store, and with an orchestrator that does not answer.

mod budgets;
mod clearing;
mod doubt;
mod laws;
mod orders;
mod pace;
mod pulling;
mod rival;
mod rollback;
mod schedules;
mod windows;
mod world;

use std::time::Duration;

use gnomon_schemas::app::AppState;
use gnomon_schemas::version::Version;

use super::*;
use crate::local::{RefusalCode, Request, Response};
use crate::orchestrator::fake::StepKind;
use crate::reconcile::model::{InstanceState, Slot};
use world::{World, app, key, rng};

const MINUTE: Duration = Duration::from_mins(1);

/// A site that runs one app and whose cloud knows it.
fn running_site() -> World {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.put("web", "web:1");
    world.pass(MINUTE);
    assert_eq!(world.running(), (1, 1));
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
    world
}

fn slot(name: &str) -> Slot {
    Slot { app: app(name), service: "main".parse().unwrap(), replica: 0 }
}

#[test]
fn desired_state_comes_down_runs_and_is_reported() {
    let mut world = running_site();
    let report = world.reported("web").unwrap();
    assert_eq!(report.desired_version, Version(1));
    let node = world.node_report().unwrap();
    assert_eq!(node["orchestrator"]["state"], "ready");
    assert_eq!(node["orchestrator"]["version"], "1.0");
    let status = world.status();
    assert!(status.link.up && status.desired_complete && status.up.unwrap().in_sync);
    assert_eq!(status.apps.len(), 1);
}

#[test]
fn a_boot_without_a_link_reconciles_from_the_store() {
    let mut world = running_site();
    world.fake.vanish(&slot("web"));
    world.restart();
    world.input(Input::Woken);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.running(), (1, 1));
}

#[test]
fn a_first_boot_touches_nothing_until_the_cloud_was_heard() {
    let mut world = running_site();
    world.disk.wipe();
    world.restart();
    world.input(Input::Woken);
    world.pass(MINUTE * 10);
    assert_eq!(world.running(), (1, 1), "a lost store must not stop what runs");
    let steps = world.count("step");
    world.connect();
    world.pass(MINUTE);
    assert_eq!(world.running(), (1, 1));
    assert_eq!(world.count("step"), steps, "nothing had to be done");
    assert!(world.core.settled);
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
}

#[test]
fn what_was_deleted_while_the_store_was_lost_goes_once_the_cloud_said_so() {
    let mut world = running_site();
    world.delete("web");
    world.disconnect();
    world.disk.wipe();
    world.restart();
    world.input(Input::Woken);
    world.pass(MINUTE);
    world.connect();
    world.pass(MINUTE);
    assert_eq!(world.running(), (0, 0));
    assert!(world.reported("web").is_none());
}

#[test]
fn a_store_that_is_lost_while_running_leaves_the_apps_alone() {
    let mut world = running_site();
    world.disconnect();
    world.disk.wipe();
    world.disk.fail_next_after_write();
    world.fake.set_state(&slot("web"), InstanceState::Exited { code: 1 });
    world.input(Input::Hint);
    world.pass(MINUTE);
    assert_eq!(world.running(), (1, 1), "it is still repaired from memory");
    world.connect();
    world.pass(MINUTE);
    assert!(world.core.settled);
    assert_eq!(world.running(), (1, 1));
}

#[test]
fn replayed_messages_cause_no_second_plan() {
    let mut world = running_site();
    let (steps, observations) = (world.count("step"), world.count("observe"));
    world.replay();
    assert_eq!(world.count("step"), steps);
    assert_eq!(world.count("observe"), observations);
}

#[test]
fn nothing_is_reported_while_nothing_changes() {
    let mut world = running_site();
    let (commits, published) = (world.disk.commits(), world.count("publish"));
    world.pass(MINUTE * 60);
    assert!(world.count("observe") > 100, "it kept looking");
    assert_eq!(world.disk.commits(), commits);
    assert_eq!(world.count("publish"), published);
}

#[test]
fn an_app_that_is_not_desired_any_more_loses_its_report_when_all_of_it_is_gone() {
    let mut world = running_site();
    world.delete("web");
    world.pass(MINUTE);
    assert_eq!(world.running(), (0, 0));
    assert!(world.reported("web").is_none());
    assert!(world.cloud_up.get(&ShadowKey::Node).is_some());
}

#[test]
fn an_invalid_app_is_refused_and_does_not_disturb_others() {
    let mut world = running_site();
    let nonsense = gnomon_schemas::document::Document::parse(br#"{"services": 3}"#).unwrap();
    world.cloud_down.put(world.now, &key("bad"), nonsense);
    world.pass(MINUTE);
    assert_eq!(world.reported("bad").unwrap().state, AppState::Refused);
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
}

#[test]
fn a_failing_app_does_not_disturb_others() {
    let mut world = running_site();
    for _ in 0..50 {
        world.fake.fail_next(StepKind::Create, &app("bad"), "no", true);
    }
    world.put("bad", "bad:1");
    world.put("web", "web:2");
    world.pass(MINUTE);
    let web = world.reported("web").unwrap();
    assert_eq!((web.state, web.desired_version), (AppState::Running, Version(2)));
    assert!(world.count("step create") < 40, "failures back off");
}

#[test]
fn a_service_that_takes_long_to_stop_holds_up_nothing_else() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.put_all("web", &[("main", "main:1"), ("side", "side:1")]);
    world.put("other", "other:1");
    world.pass(MINUTE);
    world.are_stops_slow = true;
    world.put_all("web", &[("main", "main:2"), ("side", "side:1")]);
    world.pass(MINUTE);
    assert_eq!(world.count("step slow stop web/main"), 1);
    world.fake.vanish(&Slot { service: "side".parse().unwrap(), ..slot("web") });
    world.put("other", "other:2");
    world.pass(MINUTE);
    assert!(world.images("web").contains(&"sha256:side:1".to_owned()), "drift is repaired");
    world.put("new", "new:1");
    world.pass(MINUTE);
    assert_eq!(world.images("new"), ["sha256:new:1"], "another app comes up");
    assert_eq!(world.count("step slow stop web/main"), 1, "it is asked once");
    world.end_stops();
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:main:2", "sha256:side:1"]);
    assert_eq!(world.images("other"), ["sha256:other:2"]);
}

#[test]
fn an_image_that_could_not_come_is_tried_again_when_the_link_is_back() {
    let mut world = running_site();
    for _ in 0..12 {
        world.fake.fail_next(StepKind::Pull, &app("web"), "no such host", true);
    }
    world.put("web", "web:2");
    world.pass(Duration::from_secs(2));
    world.disconnect();
    world.pass(MINUTE * 12);
    let pulls = world.count("step pull");
    world.pass(MINUTE);
    assert_eq!(world.count("step pull"), pulls, "the back-off is long by now");
    world.connect();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.count("step pull"), pulls + 1);
}

#[test]
fn hints_are_answered_soon_and_together() {
    let mut world = running_site();
    world.pass(Duration::from_secs(1));
    let observations = world.count("observe");
    for _ in 0..20 {
        world.input(Input::Hint);
    }
    assert_eq!(world.count("observe"), observations, "not yet");
    world.pass(Duration::from_millis(150));
    assert_eq!(world.count("observe"), observations + 1);
}

#[test]
fn an_unreachable_orchestrator_is_reported_once_and_tried_with_back_off() {
    let mut world = running_site();
    world.fake.break_down("daemon is down");
    world.pass(MINUTE);
    let (commits, observations) = (world.disk.commits(), world.count("observe"));
    let node = world.node_report().unwrap();
    assert_eq!(node["orchestrator"]["state"], "unreachable");
    assert_eq!(node["orchestrator"]["reason"], "daemon is down");
    world.pass(MINUTE * 60);
    assert_eq!(world.disk.commits(), commits, "the same trouble is no news");
    let tries = world.count("observe") - observations;
    assert!((60..400).contains(&tries), "{tries} tries in an hour");
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
    world.fake.recover();
    world.pass(MINUTE * 2);
    assert_eq!(world.node_report().unwrap()["orchestrator"]["state"], "ready");
}

#[test]
fn a_full_store_leaves_healthy_apps_alone_and_heals_by_itself() {
    let mut world = running_site();
    world.disk.set_full(true);
    world.put("other", "other:1");
    world.pass(MINUTE * 10);
    assert_eq!(world.running(), (1, 1), "what is not durable must not run");
    let status = world.status();
    assert_eq!(status.store.state, "failing");
    assert_eq!(status.apps.len(), 1);
    let attempts = world.count("commit");
    assert!(attempts < 60, "{attempts} attempts in ten minutes");
    world.fake.vanish(&slot("web"));
    world.pass(MINUTE);
    assert_eq!(world.running(), (1, 1), "drift is repaired from memory");
    world.disk.set_full(false);
    world.pass(MINUTE * 3);
    assert_eq!(world.running(), (2, 2));
    assert_eq!(world.status().store.state, "ok");
    assert_eq!(world.reported("other").unwrap().state, AppState::Running);
}

#[test]
fn a_commit_that_happened_and_was_not_answered_is_found_again() {
    let mut world = running_site();
    world.disk.fail_next_after_write();
    world.put("web", "web:2");
    world.pass(MINUTE);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Running, Version(2)));
    assert_eq!(world.running(), (1, 1));
}

#[test]
fn rows_that_cannot_be_read_are_thrown_away_and_everything_comes_again() {
    let mut world = running_site();
    let garbage = [b"down/s".to_vec(), b"up/h/app/web".to_vec()];
    let ops: Vec<_> = garbage.into_iter().map(|key| (key, Some(vec![0xff]))).collect();
    crate::store::Store::commit(&mut world.disk.open(), &ops).unwrap();
    world.restart();
    world.input(Input::Woken);
    world.connect();
    world.pass(MINUTE);
    assert_eq!(world.running(), (1, 1));
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
    world.restart();
    world.input(Input::Woken);
    world.pass(MINUTE);
    assert!(world.core.settled, "the new rows are readable");
}

#[test]
fn a_store_that_went_back_and_overtook_its_old_self_still_converges() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.put("busy", "x:1");
    world.put("calm", "x:1");
    world.pass(MINUTE);
    let backup = world.disk.backup();
    world.fake.set_state(&slot("calm"), InstanceState::Exited { code: 1 });
    world.input(Input::Hint);
    world.pass(MINUTE);
    let restarts =
        |world: &World| world.reported("calm").unwrap().services[&slot("calm").service].restarts;
    assert_eq!(restarts(&world), 1, "the cloud knows what the store will forget");
    world.disconnect();
    world.disk.go_back(&backup);
    world.restart();
    world.input(Input::Woken);
    for _ in 0..40 {
        world.fake.set_state(&slot("busy"), InstanceState::Exited { code: 1 });
        world.input(Input::Hint);
        world.pass(MINUTE);
    }
    let head = world.core.machines.as_ref().unwrap().up.head();
    assert!(head > world.cloud_up.seq(), "it must overtake its old self");
    world.connect();
    world.pass(MINUTE);
    let ours: Vec<_> = world.core.machines.as_ref().unwrap().up.halves().collect();
    let theirs: Vec<_> = world.cloud_up.halves().collect();
    assert_eq!(ours.len(), theirs.len());
    for ((key, mine), (other, told)) in ours.into_iter().zip(theirs) {
        assert_eq!((key, mine.document, mine.version), (other, told.document, told.version));
    }
    assert_eq!(restarts(&world), 0);
}

#[test]
fn logs_are_asked_of_the_slots_of_an_app_and_unknown_ones_refused() {
    let mut world = running_site();
    let ask = |app: &str, service: Option<&str>| Request::Logs {
        app: app.parse().unwrap(),
        service: service.map(|it| it.parse().unwrap()),
        tail: 10,
    };
    world.input(Input::Asked(Ticket(1), ask("web", None)));
    assert_eq!(world.count("logs 1"), 1);
    for (request, code) in [
        (ask("none", None), RefusalCode::UnknownApp),
        (ask("web", Some("none")), RefusalCode::UnknownService),
    ] {
        world.input(Input::Asked(Ticket(2), request));
        let answer = world.answers.pop().unwrap();
        assert!(matches!(answer, Response::Refused(refusal) if refusal.code == code));
    }
}

/// The life of a site: an app comes, another one, the first changes, the second goes.
fn live(world: &mut World) {
    let steps: [fn(&mut World); 6] = [
        |world| world.input(Input::Woken),
        World::connect,
        |world| world.put("web", "web:1"),
        |world| world.put("db", "db:1"),
        |world| world.put("web", "web:2"),
        |world| world.delete("db"),
    ];
    for step in steps {
        step(world);
        world.pass(Duration::from_secs(20));
        if world.is_dead() {
            return;
        }
    }
}

#[test]
fn a_crash_between_any_two_effects_ends_in_the_same_state() {
    let mut whole = World::new();
    live(&mut whole);
    let effects = u32::try_from(whole.log.len()).unwrap();
    assert!(effects > 60, "{:?}", whole.log);
    for power in 1..=effects {
        let mut world = World::new();
        world.power = Some(power);
        live(&mut world);
        world.restart();
        world.input(Input::Woken);
        world.pass(Duration::from_secs(20));
        let seen = world.cloud_down.halves().count();
        assert!(world.running().0 <= 2 && seen <= 2);
        world.connect();
        world.put("web", "web:2");
        world.delete("db");
        world.pass(MINUTE * 5);
        assert_eq!(world.running(), (1, 1), "after a crash before effect {power}");
        let report = world.reported("web").unwrap();
        let wanted = world.cloud_down.last_version(&key("web"));
        assert_eq!((report.state, report.desired_version), (AppState::Running, wanted));
        assert!(world.reported("db").is_none(), "after a crash before effect {power}");
        assert!(world.cloud_down.is_in_sync(), "after a crash before effect {power}");
    }
}

#[test]
fn nothing_leaves_the_site_that_a_crash_could_take_back() {
    // Whatever the cloud has heard of the site must be on its disk: the reader of the reports and
    // the writer of the wishes never find a site that is behind what it said.
    let mut whole = World::new();
    live(&mut whole);
    for power in 1..=u32::try_from(whole.log.len()).unwrap() {
        let mut world = World::new();
        world.power = Some(power);
        live(&mut world);
        let told = world.cloud_up.seq();
        let acked = world.cloud_down.acked();
        let mut entries = Vec::new();
        let mut visit = |k: &[u8], v: &[u8]| entries.push((k.to_vec(), v.to_vec()));
        crate::store::Store::scan(&mut world.disk.open(), b"", &mut visit).unwrap();
        let contents = Contents { entries, went_back: false };
        let machines = Machines::restore(contents, &mut rng(9));
        if world.cloud_up.epoch() == machines.up.epoch() {
            assert!(machines.up.head() >= told, "before effect {power}");
        } else {
            assert_eq!(world.cloud_up.epoch(), Epoch::NONE, "before effect {power}");
        }
        assert!(acked.is_none_or(|seq| machines.down.seq() >= seq), "before effect {power}");
    }
}
