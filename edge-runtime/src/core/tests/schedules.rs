//! Jobs that run at times of their own, in a world whose clock begins at midnight.

use serde_json::json;

use super::*;

const HOUR: Duration = Duration::from_hours(1);
const DONE: InstanceState = InstanceState::Exited { code: 0 };

/// A site with a job at three in the morning; what is started ends at once.
fn nightly_site(missed: &str) -> World {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.fake.when_image_starts("job:1", DONE);
    put_job(&mut world, "job:1", missed);
    world.pass(MINUTE * 2);
    assert_eq!(world.count("step pull job:1"), 1, "the image is here before its time");
    assert_eq!((world.count("step create job"), world.count("step start job")), (1, 0));
    world
}

fn put_job(world: &mut World, image: &str, missed: &str) {
    let schedule = json!({ "cron": "0 3 * * *", "missed": missed });
    let services = json!({ "main": { "image": image, "schedule": schedule } });
    world.put_spec("job", json!({ "services": services }));
}

fn starts(world: &World) -> usize {
    world.count("step start job")
}

#[test]
fn a_job_runs_at_its_time_without_a_link_and_its_exit_code_is_reported() {
    let mut world = nightly_site("once");
    let report = world.reported("job").unwrap();
    assert!(report.good && report.state == AppState::Running, "waiting is as desired");
    world.disconnect();
    world.pass(HOUR * 2 + MINUTE * 57);
    assert_eq!(starts(&world), 0);
    world.pass(MINUTE * 2);
    assert_eq!(starts(&world), 1);
    world.pass(HOUR * 23);
    assert_eq!(starts(&world), 1);
    world.fake.when_image_starts("job:1", InstanceState::Exited { code: 4 });
    world.pass(HOUR * 2);
    assert_eq!(starts(&world), 2, "the next night, in the same container");
    assert_eq!(world.count("step create job"), 1);
    world.connect();
    world.pass(MINUTE);
    let report = world.reported("job").unwrap();
    let service = report.services.values().next().unwrap();
    assert_eq!((service.exit_code, service.restarts), (Some(4), 0));
    assert_eq!(report.state, AppState::Failed);
    assert!(report.rolled_back_from.is_none());
    world.fake.when_image_starts("job:1", DONE);
    world.pass(HOUR * 24);
    assert_eq!(world.reported("job").unwrap().state, AppState::Running);
}

#[test]
fn a_run_that_was_missed_is_made_up_for_once_or_skipped() {
    for (missed, made_up) in [("once", 1), ("skip", 0)] {
        let mut world = nightly_site(missed);
        world.now = world.now + HOUR * 24 * 5;
        world.restart();
        world.input(Input::Woken);
        world.pass(MINUTE * 10);
        assert_eq!(starts(&world), made_up, "{missed}");
        world.pass(HOUR * 24);
        assert_eq!(starts(&world), made_up + 1, "{missed}: then comes the next one");
    }
}

#[test]
fn a_clock_that_was_never_set_starts_nothing_and_one_that_is_set_later_does() {
    let mut world = World::new();
    world.clock_s = 0;
    world.input(Input::Woken);
    world.connect();
    world.fake.when_image_starts("job:1", DONE);
    put_job(&mut world, "job:1", "once");
    world.pass(HOUR * 50);
    assert_eq!(starts(&world), 0);
    world.clock_s = 1_767_225_600 - world.now.as_millis() / 1000;
    world.pass(HOUR * 2);
    assert_eq!(starts(&world), 0, "midnight is not three");
    world.pass(HOUR * 2);
    assert_eq!(starts(&world), 1);
}

#[test]
fn a_clock_that_goes_back_an_hour_runs_nothing_twice() {
    let mut world = nightly_site("once");
    world.pass(HOUR * 3);
    assert_eq!(starts(&world), 1);
    world.clock_s -= 3600;
    world.pass(HOUR * 20);
    assert_eq!(starts(&world), 1);
    world.pass(HOUR * 5);
    assert_eq!(starts(&world), 2);
}

#[test]
fn a_job_that_runs_too_long_is_left_alone_and_its_next_run_skipped() {
    let mut world = nightly_site("once");
    let runs = InstanceState::Running(crate::reconcile::model::Health::Unchecked);
    world.fake.when_image_starts("job:1", runs);
    world.pass(HOUR * 30);
    assert_eq!(starts(&world), 1);
    world.fake.set_state(&slot("job"), DONE);
    world.pass(HOUR * 20);
    assert_eq!(starts(&world), 1, "the second night was skipped for good");
    world.pass(HOUR * 5);
    assert_eq!(starts(&world), 2);
}

#[test]
fn an_update_of_a_job_waits_for_its_time_and_holds_up_no_other_service() {
    let mut world = nightly_site("once");
    let spec = |tag: u8| {
        json!({ "services": {
            "main": { "image": format!("job:{tag}"), "schedule": { "cron": "0 3 * * *" } },
            "web": { "image": format!("web:{tag}"), "restart": "always" },
        } })
    };
    world.put_spec("job", spec(1));
    world.pass(MINUTE * 2);
    world.put_spec("job", spec(2));
    world.pass(MINUTE * 2);
    assert_eq!(world.images("job"), ["sha256:web:2"]);
    assert!(world.reported("job").unwrap().good);
    assert_eq!(world.count("step start job/main"), 0);
    world.fake.when_image_starts("job:2", DONE);
    world.pass(HOUR * 4);
    assert_eq!(world.count("step start job/main"), 1);
}

#[test]
fn a_crash_at_any_point_of_a_run_neither_loses_nor_repeats_it_for_long() {
    let nightly_site = |_| {
        let mut world = World::new();
        world.clock_s += 3600 * 3 - 600;
        world.input(Input::Woken);
        world.connect();
        world.fake.when_image_starts("job:1", DONE);
        put_job(&mut world, "job:1", "once");
        world.pass(MINUTE * 2);
        world
    };
    let night = |world: &mut World| world.pass(MINUTE * 10);
    let mut whole = nightly_site("once");
    let before = whole.log.len();
    night(&mut whole);
    let effects = u32::try_from(whole.log.len() - before).unwrap();
    let mut seen = BTreeSet::new();
    for power in 1..=effects {
        let mut world = nightly_site("once");
        world.power = Some(power);
        night(&mut world);
        world.now = world.now + HOUR;
        world.restart();
        world.input(Input::Woken);
        world.pass(MINUTE * 10);
        let runs = starts(&world);
        seen.insert(runs);
        assert!((1..=2).contains(&runs), "{runs} runs after a crash before effect {power}");
        world.now = world.now + HOUR * 22;
        world.pass(HOUR);
        assert_eq!(starts(&world), runs + 1, "after a crash before effect {power}");
    }
    assert!(seen.contains(&1));
}
