//! What is remembered, and for how long.

use gnomon_schemas::app::Revision;

use super::*;
use crate::reconcile::model::{Health, InstanceId};

const OLD: Revision = Revision::from_bytes([1; 16]);
const NEW: Revision = Revision::from_bytes([2; 16]);

fn slot() -> Slot {
    Slot { app: "shop".parse().unwrap(), service: "web".parse().unwrap(), replica: 0 }
}

fn seen(digest: Revision, state: InstanceState) -> Observed {
    let id = InstanceId("i1".into());
    let instance = Instance {
        id: id.clone(),
        slot: slot(),
        service_digest: digest,
        image: None,
        state,
        note: None,
        altered: None,
    };
    Observed { instances: [(id, instance)].into(), ..Observed::default() }
}

fn at(seconds: u64) -> Moment {
    Moment::from_millis(seconds * 1_000)
}

fn stop() -> Step {
    Step::Stop { id: InstanceId("i1".into()), slot: slot(), grace: std::time::Duration::ZERO }
}

const RUNNING: InstanceState = InstanceState::Running(Health::Unchecked);
const ENDED: InstanceState = InstanceState::Exited { code: 1 };

#[test]
fn an_end_that_nobody_saw_is_not_held_against_the_copy() {
    let mut attempts = Attempts::default();
    attempts.observed(&seen(OLD, ENDED), at(5));
    let life = attempts.life(&slot(), OLD).unwrap();
    assert_eq!((life.streak, life.retry_at, life.last_exit), (0, at(0), Some(1)));
}

#[test]
fn an_end_is_counted_once() {
    let mut attempts = Attempts::default();
    attempts.observed(&seen(OLD, RUNNING), at(1));
    for second in 2..9 {
        attempts.observed(&seen(OLD, ENDED), at(second));
    }
    let life = attempts.life(&slot(), OLD).unwrap();
    assert_eq!((life.streak, life.retry_at), (1, at(2)));
}

#[test]
fn a_stop_of_our_own_is_no_fall() {
    let mut attempts = Attempts::default();
    attempts.observed(&seen(OLD, RUNNING), at(1));
    attempts.succeeded(&stop(), at(2));
    attempts.observed(&seen(OLD, ENDED), at(2));
    let life = attempts.life(&slot(), OLD).unwrap();
    assert!(life.is_stopped_by_us());
    assert_eq!(life.streak, 0);
}

#[test]
fn a_new_digest_begins_a_new_life() {
    let mut attempts = Attempts::default();
    attempts.observed(&seen(OLD, RUNNING), at(1));
    attempts.observed(&seen(OLD, ENDED), at(2));
    attempts.observed(&seen(NEW, InstanceState::Created), at(3));
    assert!(attempts.life(&slot(), OLD).is_none());
    assert_eq!(attempts.life(&slot(), NEW).unwrap().streak, 0);
}

#[test]
fn a_failure_is_forgotten_with_its_instance_and_after_success() {
    let mut attempts = Attempts::default();
    attempts.observed(&seen(OLD, RUNNING), at(1));
    attempts.failed(&stop(), "busy".to_owned(), true, at(1));
    assert!(attempts.failure(&Key::of(&stop())).is_some());
    attempts.succeeded(&stop(), at(2));
    assert!(attempts.failure(&Key::of(&stop())).is_none());
    attempts.failed(&stop(), "busy".to_owned(), true, at(3));
    attempts.observed(&Observed::default(), at(4));
    assert!(attempts.failure(&Key::of(&stop())).is_none());
}

#[test]
fn a_long_reason_is_cut() {
    let mut attempts = Attempts::default();
    attempts.failed(&stop(), "é".repeat(10_000), true, at(1));
    let text = attempts.failure(&Key::of(&stop())).unwrap().to_string();
    assert!(text.chars().count() < 400, "{text}");
}

#[test]
fn an_app_that_is_gone_is_forgotten() {
    let mut attempts = Attempts::default();
    attempts.observed(&seen(OLD, RUNNING), at(1));
    attempts.failed(&stop(), "busy".to_owned(), true, at(1));
    let pull = Step::Pull { app: slot().app, image: "web".to_owned() };
    attempts.succeeded(&pull, at(1));
    attempts.retain(&Desired::default(), &seen(OLD, RUNNING));
    assert!(attempts.has_pulled(&slot().app, "web"));
    attempts.retain(&Desired::default(), &Observed::default());
    assert_eq!(attempts, Attempts::default());
}

#[test]
fn a_first_start_that_a_look_saw_before_it_was_done_is_no_restart() {
    let start = Step::Start { id: InstanceId("i1".into()), slot: slot() };
    let mut attempts = Attempts::default();
    attempts.observed(&seen(OLD, InstanceState::Created), at(1));
    attempts.observed(&seen(OLD, RUNNING), at(2));
    attempts.succeeded(&start, at(4));
    let restarts = |attempts: &Attempts| attempts.life(&slot(), OLD).unwrap().restarts;
    assert_eq!(restarts(&attempts), 0);
    attempts.observed(&seen(OLD, ENDED), at(3));
    attempts.observed(&seen(OLD, RUNNING), at(4));
    attempts.succeeded(&start, at(4));
    assert_eq!(restarts(&attempts), 1);
}
