//! Another machine with this node's identity takes the link.

use super::*;

#[test]
fn a_site_whose_link_is_taken_begins_a_new_history_and_says_so_for_an_hour() {
    let mut world = running_site();
    let before = world.cloud_up.epoch();
    world.input(Input::TakenOver);
    world.disconnect();
    world.connect();
    world.pass(MINUTE);
    assert_ne!(world.cloud_up.epoch(), before);
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
    assert_eq!(world.node_report().unwrap()["identity"]["state"], "shared");
    assert!(world.status().up.unwrap().in_sync);
    world.pass(61 * MINUTE);
    assert!(world.node_report().unwrap()["identity"].is_null());
}

#[test]
fn a_link_that_only_breaks_leaves_the_history_as_it_is() {
    let mut world = running_site();
    let before = world.cloud_up.epoch();
    for _ in 0..3 {
        world.disconnect();
        world.pass(MINUTE);
        world.connect();
        world.pass(MINUTE);
    }
    assert_eq!(world.cloud_up.epoch(), before);
    assert!(world.node_report().unwrap()["identity"].is_null());
}

#[test]
fn a_store_that_fails_meanwhile_does_not_bring_the_old_history_back() {
    let mut world = running_site();
    let before = world.cloud_up.epoch();
    world.disconnect();
    world.core.handle(world.now, Input::TakenOver);
    world.core.handle(world.now, Input::StoreFailed { full: false, reason: "no".to_owned() });
    world.pass(MINUTE);
    world.connect();
    world.pass(MINUTE);
    assert_ne!(world.cloud_up.epoch(), before);
    assert!(world.status().up.unwrap().in_sync);
}
