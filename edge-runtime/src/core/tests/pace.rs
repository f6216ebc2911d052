//! How many reports one change costs, and that nobody waits for one longer than he should.

use serde_json::json;

use super::super::pace::{GAP, GATHER};
use super::*;

impl World {
    /// The batches of reports that were sent so far.
    fn batches(&self) -> usize {
        self.log.iter().filter(|line| line.ends_with("u/batch")).count()
    }

    /// Lets time pass until something is reported of an app, and gives back how much.
    fn until_reported(&mut self, is_it: impl Fn(&World) -> bool) -> Duration {
        let began = self.now;
        while !is_it(self) {
            self.pass(Duration::from_millis(10));
            let passed = self.now.saturating_since(began);
            assert!(passed < MINUTE, "nothing is reported");
        }
        self.now.saturating_since(began)
    }
}

#[test]
fn one_change_costs_one_report_where_all_is_done_at_once() {
    let mut world = running_site();
    let (batches, commits) = (world.batches(), world.disk.commits());
    world.put("web", "web:2");
    world.pass(Duration::from_secs(2));
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Running, Version(2)));
    assert_eq!(world.batches() - batches, 1);
    // What is desired, what was reported, and how far the cloud has it.
    let commits = world.disk.commits() - commits;
    assert!(commits <= 4, "{commits} commits");
    world.pass(MINUTE);
    assert!(world.reported("web").unwrap().good);
    assert_eq!(world.batches() - batches, 2, "and one that it is good");
}

#[test]
fn what_is_put_off_is_not_called_in_sync() {
    let mut world = running_site();
    world.put("web", "web:2");
    world.input(Input::Woken);
    assert_eq!(world.images("web"), ["sha256:web:2"], "nothing else waits");
    let status = world.status();
    assert!(!status.up.unwrap().in_sync);
    assert_eq!(status.pending, [key("web")]);
    world.input(Input::Asked(Ticket(1), Request::Shadow { key: key("web") }));
    let Some(Response::Shadow(shadow)) = world.answers.pop() else { panic!("no answer") };
    assert!(!shadow.reported_in_sync);
    world.pass(GATHER);
    let status = world.status();
    assert!(status.up.unwrap().in_sync && status.pending.is_empty());
}

#[test]
fn an_app_that_goes_up_and_down_is_told_of_once_a_gap() {
    let mut world = running_site();
    let batches = world.batches();
    for _ in 0..300 {
        world.fake.set_state(&slot("web"), InstanceState::Exited { code: 1 });
        world.input(Input::Hint);
        world.pass(Duration::from_millis(150));
        world.input(Input::Asked(Ticket(1), Request::Restart { app: app("web"), service: None }));
        world.pass(Duration::from_millis(150));
    }
    let batches = world.batches() - batches;
    let most = 300 * Duration::from_millis(310).as_millis() / GAP.as_millis() + 1;
    assert!((10..=usize::try_from(most).unwrap()).contains(&batches), "{batches} reports");
}

#[test]
fn a_failure_is_told_within_the_gap_also_right_after_another_report() {
    let mut world = running_site();
    world.fake.fail_next(StepKind::Create, &app("bad"), "no such device", false);
    world.put("other", "other:1");
    world.until_reported(|world| world.reported("other").is_some());
    world.put("bad", "bad:1");
    let is_told = |world: &World| {
        world.reported("bad").is_some_and(|report| report.state == AppState::Failed)
    };
    let took = world.until_reported(is_told);
    assert!(took <= GAP + Duration::from_millis(20), "{took:?}");
}

#[test]
fn an_order_at_the_node_is_answered_at_once_and_what_it_reports_goes_at_once() {
    let mut world = running_site();
    world.put("web", "web:2");
    world.input(Input::Woken);
    let value = json!({ "level": 3 });
    let key: ShadowKey = "device/pump".parse().unwrap();
    world.input(Input::Asked(Ticket(1), Request::Report { key: key.clone(), value }));
    assert!(matches!(world.answers.pop(), Some(Response::Done(_))));
    assert!(world.cloud_up.get(&key).is_some(), "the measured value does not wait");
}

#[test]
fn what_waits_when_the_store_fails_is_told_when_it_works_again() {
    let mut world = running_site();
    world.put("web", "web:2");
    world.input(Input::Woken);
    world.disk.set_full(true);
    world.pass(MINUTE);
    assert_eq!(world.reported("web").unwrap().desired_version, Version(1));
    world.disk.set_full(false);
    world.pass(MINUTE * 2);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Running, Version(2)));
    assert!(world.status().up.unwrap().in_sync);
}

#[test]
fn nobody_is_woken_for_a_report_while_the_store_is_busy() {
    let mut world = running_site();
    world.put("web", "web:2");
    world.input(Input::Woken);
    let why = |world: &World| world.core.poll_timeout().unwrap().1;
    assert_eq!(why(&world), "what changed is to be reported");
    let report = Request::Report { key: ShadowKey::Node, value: json!({ "level": 3 }) };
    world.core.handle(world.now, Input::Asked(Ticket(1), report));
    let is_commit = |effect: Effect| matches!(effect, Effect::Commit(_));
    assert!(world.core.poll_effect(world.now).is_some_and(is_commit));
    assert_ne!(why(&world), "what changed is to be reported");
}
