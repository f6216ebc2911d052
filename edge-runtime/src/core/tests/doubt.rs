//! A store that went back while apps run in newer revisions, and an agent that is killed between an
//! old instance and a new one.

use serde_json::json;

use super::*;

/// A site whose `web` runs in its second revision, beside an app that came later, and whose store
/// is what it was before both.
fn site_behind() -> World {
    let mut world = running_site();
    world.pass(MINUTE);
    assert!(world.reported("web").unwrap().good);
    let backup = world.disk.backup();
    world.put("web", "web:2");
    world.put("late", "late:1");
    world.put_node(json!({ "agent": { "version": "9" } }));
    world.pass(MINUTE * 2);
    assert_eq!(world.images("web"), ["sha256:web:2"]);
    world.disconnect();
    world.disk.go_back(&backup);
    world.restart();
    world.log.clear();
    world.input(Input::Woken);
    world
}

fn assert_word_is_heard(world: &mut World) {
    world.connect();
    world.pass(MINUTE * 2);
    assert!(world.core.settled && world.cloud_down.is_in_sync());
    assert_eq!(world.images("web"), ["sha256:web:2"]);
    assert_eq!(world.images("late"), ["sha256:late:1"]);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Running, Version(2)));
}

#[test]
fn after_the_store_went_back_what_runs_stays_until_the_cloud_has_spoken() {
    let mut world = site_behind();
    let before = (world.instances("web"), world.instances("late"));
    world.pass(MINUTE * 30);
    world.restart();
    world.input(Input::Woken);
    world.pass(MINUTE * 30);
    let status = world.status();
    assert!(
        !status.desired_complete,
        "it is known that something is missing, also after a restart"
    );
    let reason = status.apps[0].status.as_ref().unwrap().reason.clone().unwrap();
    assert!(reason.contains("until the cloud says"), "{reason}");
    assert_word_is_heard(&mut world);
    assert_eq!((world.instances("web"), world.instances("late")), before);
    assert_eq!(world.count("step"), 0, "{:?}", world.log);
}

#[test]
fn what_ends_in_doubt_is_started_as_it_was_and_what_is_gone_as_the_store_says() {
    let mut world = site_behind();
    let before = world.instances("web");
    world.fake.set_state(&slot("web"), InstanceState::Exited { code: 1 });
    world.input(Input::Hint);
    world.pass(MINUTE);
    assert_eq!(world.instances("web"), before);
    world.fake.vanish(&slot("web"));
    world.input(Input::Hint);
    world.pass(MINUTE * 5);
    assert_eq!(world.images("web"), ["sha256:web:1"]);
    assert_word_is_heard(&mut world);
}

#[test]
fn what_is_applied_here_in_doubt_runs_and_a_hold_is_refused() {
    let mut world = site_behind();
    world.pass(MINUTE);
    let hold = Request::Hold { app: app("web") };
    world.input(Input::Asked(Ticket(1), hold));
    assert!(matches!(world.answers.pop(), Some(Response::Refused(_))));
    let spec = json!({ "services": { "main": { "image": "web:7", "restart": "always" } } });
    world.input(Input::Asked(Ticket(2), Request::Apply { app: app("web"), spec }));
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:7"]);
    assert_eq!(world.images("late"), ["sha256:late:1"]);
    assert_word_is_heard(&mut world);
}

#[test]
fn an_order_for_the_agent_itself_is_not_followed_in_doubt() {
    let mut world = running_site();
    world.put_node(json!({ "agent": { "version": "8" } }));
    world.pass(MINUTE);
    let backup = world.disk.backup();
    world.put_node(json!({ "agent": { "version": "9" } }));
    world.pass(MINUTE);
    world.disconnect();
    world.disk.go_back(&backup);
    world.restart();
    world.log.clear();
    world.input(Input::Woken);
    world.pass(MINUTE * 5);
    assert_eq!(world.count("agent"), 0, "{:?}", world.log);
    world.connect();
    world.pass(MINUTE);
    assert_eq!(world.count("agent"), 1);
    assert_eq!(world.count(r#"agent {"version":"9"}"#), 1);
}

#[test]
fn an_order_that_is_still_the_last_word_is_followed_when_the_doubt_ends() {
    let mut world = running_site();
    world.put_node(json!({ "agent": { "version": "8" } }));
    world.pass(MINUTE);
    world.disconnect();
    let backup = world.disk.backup();
    world.disk.go_back(&backup);
    world.restart();
    world.log.clear();
    world.input(Input::Woken);
    world.pass(MINUTE);
    assert_eq!(world.count("agent"), 0);
    world.connect();
    world.pass(MINUTE);
    assert_eq!(world.count(r#"agent {"version":"8"}"#), 1);
}

#[test]
fn a_power_cut_at_any_moment_of_the_way_out_of_doubt_replaces_nothing() {
    for power in 1..60 {
        let mut world = site_behind();
        let before = (world.instances("web"), world.instances("late"));
        world.connect();
        world.power = Some(power);
        world.pass(MINUTE);
        let is_through = !world.is_dead();
        world.restart();
        world.input(Input::Woken);
        world.pass(MINUTE * 5);
        assert_word_is_heard(&mut world);
        let steps = world.count("step");
        assert_eq!((world.instances("web"), world.instances("late")), before, "effect {power}");
        assert_eq!(steps, 0, "effect {power}: {:?}", world.log);
        if is_through {
            return;
        }
    }
    panic!("the way out is longer than the test");
}

#[test]
fn an_agent_that_is_killed_in_the_middle_of_an_update_does_not_start_the_old_instance_again() {
    for power in 1..80 {
        let mut world = running_site();
        let old = &world.instances("web")[0].0;
        let again = format!("step start web/main.0 ({old})");
        world.put("web", "web:2");
        world.power = Some(power);
        world.pass(MINUTE);
        let is_through = !world.is_dead();
        world.restart();
        world.log.clear();
        world.input(Input::Woken);
        world.connect();
        world.pass(MINUTE * 2);
        assert_eq!(world.count(&again), 0, "effect {power}: {:?}", world.log);
        assert_eq!(world.images("web"), ["sha256:web:2"], "effect {power}");
        if is_through {
            return;
        }
    }
    panic!("the update is longer than the test");
}

#[test]
fn an_old_instance_whose_successor_is_not_here_is_kept_alive_by_the_next_agent() {
    let mut world = running_site();
    world.is_link_slow = true;
    world.put("web", "web:2");
    world.pass(Duration::from_secs(5));
    world.fake.set_state(&slot("web"), InstanceState::Exited { code: 137 });
    world.restart();
    world.is_link_slow = true;
    world.input(Input::Woken);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.images("web"), ["sha256:web:1"], "the image of the new one has not come");
}
