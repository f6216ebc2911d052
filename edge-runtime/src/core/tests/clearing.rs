//! Images that nothing needs any more go; those that a rollback, a hold or a person needs stay.

use super::*;
use crate::orchestrator::images::Disk;

const DAY: Duration = Duration::from_hours(24);

/// A site whose app has had two good revisions, on a node with an image that a person brought.
fn updated_site() -> World {
    let mut world = World::new();
    world.fake.bring_image("mine:1");
    world.input(Input::Woken);
    world.connect();
    for image in ["web:1", "web:2"] {
        world.put("web", image);
        world.pass(MINUTE * 5);
        assert!(world.reported("web").unwrap().good, "{image}");
    }
    world
}

fn images(world: &World) -> Vec<String> {
    world.fake.images().into_iter().collect()
}

#[test]
fn the_image_before_the_last_good_one_goes_after_its_grace() {
    let mut world = updated_site();
    world.pass(DAY - MINUTE * 10);
    assert_eq!(images(&world), ["mine:1", "web:1", "web:2"]);
    world.pass(MINUTE * 30);
    assert_eq!(images(&world), ["mine:1", "web:2"]);
    world.restart();
    world.input(Input::Woken);
    world.pass(DAY * 2);
    assert_eq!(images(&world), ["mine:1", "web:2"]);
    let surveys = world.count("survey");
    world.pass(DAY);
    assert_eq!(world.count("survey"), surveys, "nothing is looked at while nothing may go");
}

#[test]
fn the_image_of_the_last_good_revision_stays_while_another_one_is_tried_or_held() {
    let mut world = updated_site();
    world.fake.when_image_starts("web:3", InstanceState::Exited { code: 1 });
    world.put("web", "web:3");
    world.pass(DAY * 2);
    assert_eq!(world.images("web"), ["sha256:web:2"], "it was rolled back");
    assert_eq!(images(&world), ["mine:1", "web:2", "web:3"], "what is desired stays too");
    let app = app("web");
    world.input(Input::Asked(Ticket(7), Request::Hold { app }));
    world.put("web", "web:4");
    world.pass(DAY * 2);
    assert_eq!(images(&world), ["mine:1", "web:2"], "held, and web:4 was never fetched");
}

#[test]
fn a_tight_disk_does_not_wait_and_takes_no_foreign_image() {
    let mut world = updated_site();
    world.fake.set_disk(Disk { free: 1, total: 100 });
    world.pass(MINUTE * 11);
    assert_eq!(images(&world), ["mine:1", "web:2"]);
    world.delete("web");
    world.pass(MINUTE * 11);
    assert_eq!(images(&world), ["mine:1"]);
}

#[test]
fn what_was_fetched_is_known_after_a_restart_and_an_image_that_was_here_is_never_taken() {
    let mut world = updated_site();
    world.put("other", "mine:1");
    world.pass(MINUTE);
    assert_eq!(world.reported("other").unwrap().state, AppState::Running);
    world.delete("other");
    world.restart();
    world.input(Input::Woken);
    world.connect();
    world.pass(DAY + MINUTE * 11);
    assert_eq!(images(&world), ["mine:1", "web:2"]);
}

#[test]
fn while_it_is_not_known_what_should_run_nothing_goes() {
    let mut world = updated_site();
    world.forget_desired();
    world.restart();
    world.fake.set_disk(Disk { free: 1, total: 100 });
    world.input(Input::Woken);
    world.pass(DAY * 2);
    assert_eq!(images(&world), ["mine:1", "web:1", "web:2"]);
}
