//! Changes that wait for their part of the day.

use serde_json::json;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// An app that is changed between two and four in the morning; the world begins at midnight.
fn put(world: &mut World, image: &str) {
    let services = json!({ "main": { "image": image, "restart": "always" } });
    let trial = json!({ "update_window": "02:00-04:00" });
    world.put_spec("web", json!({ "services": services, "trial": trial }));
}

fn site() -> World {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    put(&mut world, "web:1");
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:1"], "a first deploy waits for nothing");
    world
}

#[test]
fn an_update_fetches_its_images_at_once_and_changes_nothing_before_its_window() {
    let mut world = site();
    put(&mut world, "web:2");
    world.pass(HOUR);
    assert_eq!(world.count("step pull web:2"), 1, "what is needed is here");
    assert_eq!(world.images("web"), ["sha256:web:1"]);
    let report = world.reported("web").unwrap();
    assert_eq!(report.desired_version, Version(2));
    let reason = report.reason.unwrap();
    assert!(reason.contains("waits for its window of updates, 02:00-04:00 UTC"), "{reason}");
    world.fake.set_state(&slot("web"), InstanceState::Exited { code: 1 });
    world.input(Input::Hint);
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:1"], "it is kept alive meanwhile");
    world.disconnect();
    world.restart();
    world.input(Input::Woken);
    world.pass(HOUR);
    assert_eq!(world.images("web"), ["sha256:web:2"], "offline, and after a restart of the agent");
}

#[test]
fn a_bad_revision_gives_way_at_any_time_of_the_day() {
    let mut world = site();
    world.fake.when_image_starts("web:2", InstanceState::Exited { code: 1 });
    world.pass(MINUTE * 2);
    world.clock_s += 4 * 3600 - 5 - world.now.as_millis() / 1000;
    put(&mut world, "web:2");
    world.pass(MINUTE * 30);
    assert_eq!(world.images("web"), ["sha256:web:1"]);
    assert!(world.reported("web").unwrap().rolled_back_from.is_some(), "it was tried");
}

#[test]
fn what_is_wanted_now_does_not_wait_for_its_window() {
    for order in ["release", "apply"] {
        let mut world = site();
        put(&mut world, "web:2");
        world.pass(MINUTE);
        assert_eq!(world.images("web"), ["sha256:web:1"]);
        let request = if order == "release" {
            Request::Release { app: app("web") }
        } else {
            let services = json!({ "main": { "image": "web:2", "restart": "always" } });
            let trial = json!({ "update_window": "02:00-04:00" });
            Request::Apply {
                app: app("web"),
                spec: json!({ "services": services, "trial": trial }),
            }
        };
        world.input(Input::Asked(Ticket(1), request));
        assert!(matches!(world.answers.pop(), Some(Response::Done(_))), "{order}");
        world.pass(MINUTE);
        assert_eq!(world.images("web"), ["sha256:web:2"], "{order}");
    }
}

#[test]
fn an_update_that_has_begun_is_not_left_half_way_when_its_window_ends() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    let put = |world: &mut World, tag: u8| {
        let service = |name: &str| json!({ "image": format!("{name}:{tag}"), "restart": "always" });
        let services = json!({ "a": service("a"), "b": service("b") });
        let trial = json!({ "update_window": "02:00-04:00" });
        world.put_spec("web", json!({ "services": services, "trial": trial }));
    };
    put(&mut world, 1);
    world.pass(MINUTE);
    world.are_stops_slow = true;
    world.clock_s += 3 * 3600;
    put(&mut world, 2);
    world.pass(MINUTE);
    assert_eq!(world.count("step slow stop"), 1);
    world.clock_s += 2 * 3600;
    world.end_stops();
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:a:2", "sha256:b:2"]);
}

#[test]
fn a_clock_that_was_never_set_knows_no_window() {
    let mut world = site();
    world.clock_s = 60;
    put(&mut world, "web:2");
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:2"]);
}
