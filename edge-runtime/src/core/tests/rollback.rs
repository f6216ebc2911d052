//! Good revisions, bad ones, and the way back.

use serde_json::json;

use super::*;
use crate::reconcile::model::Health;

const ENDS: InstanceState = InstanceState::Exited { code: 1 };

/// A site whose app `web` is good at `web:1`, beside another app; `web:2` ends at once.
fn good_site() -> World {
    let mut world = running_site();
    world.put("other", "other:1");
    world.pass(MINUTE * 2);
    assert!(world.reported("web").unwrap().good && world.reported("other").unwrap().good);
    world.fake.when_image_starts("web:2", ENDS);
    world
}

fn assert_rolled_back(world: &World, what: &str) {
    assert_eq!(world.images("web"), ["sha256:web:1"], "{what}");
}

#[test]
fn a_revision_is_reported_as_good_after_its_settle_time_and_not_before() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.put("web", "web:1");
    world.pass(Duration::from_secs(25));
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.good), (AppState::Running, false));
    world.pass(Duration::from_secs(10));
    assert!(world.reported("web").unwrap().good);
}

#[test]
fn a_bad_revision_is_rolled_back_without_a_link_and_other_apps_are_untouched() {
    let mut world = good_site();
    let other = world.instances("other");
    world.put("web", "web:2");
    world.pass(Duration::from_secs(2));
    world.disconnect();
    world.pass(MINUTE * 5);
    assert_rolled_back(&world, "offline");
    assert_eq!(world.instances("other"), other, "the very same instances");
    world.connect();
    world.pass(MINUTE);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Failed, Version(2)));
    assert!(report.rolled_back_from.is_some() && report.rolled_back_from == report.wanted);
    assert_ne!(report.revision, report.wanted);
    assert!(report.good, "what runs is the good one");
    let reason = report.reason.unwrap();
    assert!(reason.contains("main ended 4 times, last with exit code 1"), "{reason}");
}

#[test]
fn a_bad_revision_is_tried_again_only_when_another_one_is_desired() {
    let mut world = good_site();
    world.put("web", "web:2");
    world.pass(MINUTE * 5);
    let steps = world.count("step");
    world.restart();
    world.input(Input::Woken);
    world.connect();
    world.pass(MINUTE * 600);
    assert_eq!(world.count("step"), steps, "nothing is tried again, after a restart neither");
    world.put("web", "web:3");
    world.pass(MINUTE * 2);
    assert_eq!(world.images("web"), ["sha256:web:3"]);
    let report = world.reported("web").unwrap();
    assert!(report.good && report.rolled_back_from.is_none() && report.wanted.is_none());
    world.put("web", "web:2");
    world.pass(MINUTE * 5);
    assert_eq!(world.images("web"), ["sha256:web:3"], "tried anew and given up anew");
}

#[test]
fn a_first_revision_that_is_bad_stays_and_is_tried_with_back_off() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.fake.when_image_starts("web:2", ENDS);
    world.put("web", "web:2");
    world.pass(MINUTE * 30);
    let report = world.reported("web").unwrap();
    assert!(report.rolled_back_from.is_none() && !report.good);
    let starts = world.count("step start");
    assert!((8..20).contains(&starts), "{starts} starts in half an hour");
    world.fake.when_image_starts("web:2", InstanceState::Running(Health::Unchecked));
    world.pass(MINUTE * 10);
    assert!(world.reported("web").unwrap().good);
}

#[test]
fn an_app_that_forbids_it_is_not_rolled_back() {
    let mut world = good_site();
    let services = json!({ "main": { "image": "web:2", "restart": "always" } });
    world.put_spec("web", json!({ "services": services, "trial": { "rollback": false } }));
    world.pass(MINUTE * 10);
    assert_eq!(world.instances("web"), []);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.rolled_back_from), (AppState::Failed, None));
}

#[test]
fn a_refused_revision_leaves_the_last_good_one_alive() {
    let mut world = good_site();
    let before = world.instances("web");
    world.put_spec("web", json!({ "services": 3 }));
    world.pass(MINUTE);
    assert_eq!(world.instances("web"), before);
    world.fake.vanish(&slot("web"));
    world.pass(MINUTE);
    assert_rolled_back(&world, "it is kept alive");
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Refused, Version(2)));
    assert!(report.reason.unwrap().contains("services"));
    world.restart();
    world.fake.vanish(&slot("web"));
    world.input(Input::Woken);
    world.pass(MINUTE);
    assert_rolled_back(&world, "after a restart without a link");
}

#[test]
fn the_images_of_every_revision_that_may_run_again_are_needed() {
    let mut world = good_site();
    world.put("web", "web:2");
    world.pass(MINUTE * 5);
    let needed = world.core.needed_images();
    for image in ["web:1", "sha256:web:1", "web:2", "other:1", "sha256:other:1"] {
        assert!(needed.contains(image), "{image} of {needed:?}");
    }
    world.put("web", "web:3");
    world.pass(MINUTE * 2);
    let needed = world.core.needed_images();
    assert!(!needed.contains("web:1") && !needed.contains("web:2"), "{needed:?}");
}

#[test]
fn a_deleted_app_has_no_good_revision_when_it_comes_again() {
    let mut world = good_site();
    world.delete("web");
    world.pass(MINUTE);
    world.put("web", "web:2");
    world.pass(MINUTE * 5);
    assert_eq!(world.instances("web"), []);
    assert!(world.reported("web").unwrap().rolled_back_from.is_none());
}

#[test]
fn a_store_that_is_full_delays_the_way_back_and_does_not_lose_it() {
    let mut world = good_site();
    world.put("web", "web:2");
    world.pass(Duration::from_secs(2));
    world.disk.set_full(true);
    world.pass(MINUTE * 10);
    assert_eq!(world.instances("web"), [], "nothing is decided that is not durable");
    assert_eq!(world.images("other"), ["sha256:other:1"]);
    world.disk.set_full(false);
    world.pass(MINUTE * 10);
    assert_rolled_back(&world, "the store works again");
}

#[test]
fn a_crash_between_any_two_effects_of_a_rollback_ends_in_the_good_revision() {
    let update = |world: &mut World| {
        world.put("web", "web:2");
        world.pass(Duration::from_secs(2));
        world.disconnect();
        world.pass(MINUTE * 3);
    };
    let mut whole = good_site();
    let before = whole.log.len();
    update(&mut whole);
    assert_rolled_back(&whole, "without a crash");
    let effects = u32::try_from(whole.log.len() - before).unwrap();
    assert!(effects > 30, "{:?}", whole.log);
    let mut decided = 0;
    for power in 1..=effects {
        let mut world = good_site();
        let other = world.instances("other");
        world.power = Some(power);
        update(&mut world);
        world.restart();
        let wanted = world.core.cloud.len();
        assert_eq!(wanted, 0, "it knows nothing before it read the store");
        world.input(Input::Woken);
        let bad = world.core.ledger.get(&app("web")).bad.is_some();
        decided += usize::from(bad);
        world.pass(MINUTE * 5);
        assert_rolled_back(&world, &format!("after a crash before effect {power}"));
        assert_eq!(world.instances("other"), other, "after a crash before effect {power}");
        let starts = world.log.iter().filter(|line| line.starts_with("step start web")).count();
        assert!(starts < 16, "{starts} starts after a crash before effect {power}");
        world.connect();
        world.put("web", "web:3");
        world.pass(MINUTE * 2);
        assert_eq!(world.images("web"), ["sha256:web:3"], "after a crash before effect {power}");
    }
    assert!(decided > 3, "some crashes came between the decision and its end: {decided}");
}

#[test]
fn an_image_that_its_registry_refuses_is_given_up_with_a_link_and_waited_for_without() {
    let mut world = good_site();
    let before = world.instances("web");
    for _ in 0..200 {
        world.fake.fail_next(StepKind::Pull, &app("web"), "manifest unknown", false);
    }
    world.put("web", "web:3");
    world.pass(Duration::from_secs(2));
    world.disconnect();
    world.pass(MINUTE * 60);
    assert!(world.core.ledger.get(&app("web")).bad.is_none(), "without a link it waits");
    world.connect();
    world.pass(MINUTE * 15);
    let report = world.reported("web").unwrap();
    assert!(report.rolled_back_from.is_some());
    let reason = report.reason.unwrap();
    assert!(reason.contains("web:3 could not be pulled for 10 minutes: manifest"), "{reason}");
    assert_eq!(world.instances("web"), before, "what ran was never touched");
    let pulls = world.count("step pull web:3");
    world.pass(MINUTE * 60);
    assert_eq!(world.count("step pull web:3"), pulls, "and the link is spared");
}

#[test]
fn what_the_daemon_refuses_is_rolled_back_and_the_other_services_keep_their_instances() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.put_all("web", &[("main", "main:1"), ("side", "side:1")]);
    world.pass(MINUTE * 2);
    let side = |world: &World| {
        let all = world.instances("web").into_iter();
        all.filter(|(_, image)| image == "sha256:side:1").collect::<Vec<_>>()
    };
    let before = side(&world);
    world.fake.fail_next(StepKind::Create, &app("web"), "no such device", false);
    world.put_all("web", &[("main", "main:2"), ("side", "side:1")]);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.images("web"), ["sha256:main:1", "sha256:side:1"], "at once");
    assert_eq!(side(&world), before, "the very same instance");
    let report = world.reported("web").unwrap();
    assert!(report.reason.unwrap().contains("main: creating failed once: no such device"));
}
