//! The checker against histories that were doctored: each promise, broken in each way, is found.

use serde_json::json;

use super::{Promise, check};
use crate::fault::Fault;
use crate::history::{
    APP, End, Entry, Event, Half, Held, Holder, Instance, Outcome, SERVICES, Shadow,
};

const NODE: &str = "east";
const PUMP: &str = "device/pump-1";

fn wrote(value: u64, outcome: Outcome) -> Event {
    let (node, key) = (NODE.to_owned(), PUMP.to_owned());
    Event::Wrote { node, key, value, condition: None, outcome }
}

fn answered(value: u64, version: u64) -> Event {
    wrote(value, Outcome::Answered { version })
}

fn given(value: u64, taken: bool) -> Event {
    Event::Given { node: NODE.to_owned(), key: PUMP.to_owned(), value, taken }
}

fn seen(holder: Holder, half: Half, version: u64, value: u64) -> Event {
    let (node, key, value) = (NODE.to_owned(), PUMP.to_owned(), Some(value));
    Event::Seen { era: 0, holder, node, key, half, version, value }
}

fn started(service: &str, revision: &str, instance: &str) -> Event {
    let [node, service, revision, instance] =
        [NODE, service, revision, instance].map(str::to_owned);
    Event::Started { node, service, revision, instance }
}

fn broke(fault: Fault, service: Option<&str>) -> Event {
    Event::Broke { fault, node: Some(NODE.to_owned()), service: service.map(str::to_owned) }
}

fn forgot() -> Event {
    Event::Forgot { node: NODE.to_owned() }
}

fn held(version: u64, document: serde_json::Value) -> Held {
    Held { version, document }
}

/// A site whose pump is desired at a version and reports a count, and whose app runs with 7.
fn end(version: u64, n: u64, count: u64) -> End {
    let desired = Some(held(version, json!({"n": n})));
    let reported = Some(held(4, json!({"count": count})));
    let pump = Shadow {
        key: PUMP.to_owned(),
        desired_cloud: desired.clone(),
        desired_site: desired,
        reported_cloud: reported.clone(),
        reported_site: reported,
    };
    let wanted = Some(held(3, json!({"services": {"first": {"environment": {"VALUE": "7"}}}})));
    let told = Some(held(9, json!({"state": "running", "good": true, "desired_version": 3})));
    let app = Shadow {
        key: APP.to_owned(),
        desired_cloud: wanted.clone(),
        desired_site: wanted,
        reported_cloud: told.clone(),
        reported_site: told,
    };
    let runs = |service: &str| Instance { service: service.to_owned(), value: 7, runs: true };
    End {
        node: NODE.to_owned(),
        shadows: vec![pump, app],
        instances: SERVICES.iter().map(|service| runs(service)).collect(),
        is_complete: true,
        pending: Vec::new(),
    }
}

fn peace(end: End) -> Event {
    Event::Peace { burst: 1, ends: vec![end] }
}

fn broken(events: Vec<Event>) -> Vec<Promise> {
    let entry = |(at, event)| Entry { at_ms: at, event };
    let history: Vec<_> = (0..).zip(events).map(entry).collect();
    check(&history).into_iter().map(|violation| violation.promise).collect()
}

/// A history in which everything happens and no promise is broken.
fn good() -> Vec<Event> {
    vec![
        started("first", "r1", "a"),
        started("second", "r1", "b"),
        answered(10, 1),
        seen(Holder::Cloud, Half::Desired, 1, 10),
        wrote(11, Outcome::Unknown),
        given(1, true),
        seen(Holder::Cloud, Half::Reported, 1, 1),
        broke(Fault::SitePowerCut, None),
        started("first", "r1", "c"),
        started("second", "r1", "d"),
        answered(12, 3),
        given(2, false),
        peace(end(3, 12, 2)),
        started("first", "r2", "e"),
        answered(13, 4),
        Event::Restored { era: 1 },
        started("first", "r1", "f"),
        peace(end(3, 12, 2)),
    ]
}

#[test]
fn a_history_that_kept_every_promise_is_accepted() {
    assert_eq!(broken(good()), []);
}

#[test]
fn an_answered_write_that_is_gone_is_found() {
    assert_eq!(
        broken(vec![answered(1, 1), answered(2, 2), peace(end(1, 1, 0))]),
        [Promise::NothingLost]
    );
    let other = vec![answered(1, 1), wrote(2, Outcome::Unknown), peace(end(1, 2, 0))];
    assert_eq!(broken(other), [Promise::NothingLost], "another value at its version");
}

#[test]
fn what_was_written_before_a_backup_is_still_owed_after_it_was_put_back() {
    let restored = Event::Restored { era: 1 };
    let events = vec![answered(1, 1), peace(end(1, 1, 0)), answered(2, 2), restored.clone()];
    let held = [events, vec![peace(end(1, 1, 0))]].concat();
    assert_eq!(broken(held), []);
    let lost =
        vec![answered(1, 1), answered(2, 2), peace(end(2, 2, 0)), restored, peace(end(1, 1, 0))];
    assert!(broken(lost).contains(&Promise::NothingLost));
}

#[test]
fn a_refused_write_that_took_effect_and_one_that_nobody_made_are_found() {
    let refused = wrote(2, Outcome::Refused { status: 507 });
    assert_eq!(broken(vec![answered(1, 1), refused, peace(end(2, 2, 0))]), [Promise::NoGhosts]);
    assert_eq!(broken(vec![answered(1, 1), peace(end(2, 9, 0))]), [Promise::NoGhosts]);
    let seen_first = vec![answered(1, 1), seen(Holder::Site, Half::Desired, 2, 9)];
    assert_eq!(broken(seen_first), [Promise::NoGhosts]);
}

#[test]
fn a_write_without_an_answer_may_have_happened_or_not() {
    for (version, value) in [(1, 1), (2, 2)] {
        let unknown = wrote(2, Outcome::Unknown);
        assert_eq!(broken(vec![answered(1, 1), unknown, peace(end(version, value, 0))]), []);
    }
}

#[test]
fn two_winners_of_one_version_are_found() {
    let both = broken(vec![answered(1, 1), answered(2, 1)]);
    assert!(both.contains(&Promise::OneWinner), "{both:?}");
    let (node, key) = (NODE.to_owned(), PUMP.to_owned());
    let outcome = Outcome::Answered { version: 4 };
    let stale = Event::Wrote { node, key, value: 3, condition: Some(2), outcome };
    assert_eq!(broken(vec![stale]), [Promise::OneWinner]);
}

#[test]
fn versions_that_go_back_are_found_at_either_end() {
    for holder in [Holder::Cloud, Holder::Site] {
        let events = vec![
            answered(1, 1),
            answered(2, 2),
            seen(holder, Half::Desired, 2, 2),
            seen(holder, Half::Desired, 1, 1),
        ];
        assert_eq!(broken(events), [Promise::NeverBack], "{holder:?}");
    }
}

#[test]
fn one_version_with_two_documents_is_found() {
    let events = vec![answered(1, 1), wrote(2, Outcome::Unknown)];
    let ghost = seen(Holder::Cloud, Half::Desired, 1, 2);
    assert_eq!(broken([events, vec![ghost]].concat()), [Promise::NoGhosts]);
}

#[test]
fn what_a_device_counts_goes_back_only_when_its_site_forgot_and_only_once() {
    let at = |version, count| seen(Holder::Cloud, Half::Reported, version, count);
    let counts = vec![given(1, true), given(2, true), at(5, 2)];
    assert_eq!(broken([counts.clone(), vec![at(6, 1)]].concat()), [Promise::NeverBack]);
    let once = [counts, vec![forgot(), at(1, 1)]].concat();
    assert_eq!(broken(once.clone()), []);
    let twice = [once, vec![at(2, 2), at(1, 1)]].concat();
    assert_eq!(broken(twice), [Promise::NeverBack]);
}

#[test]
fn a_site_that_is_two_tells_two_stories_and_one_again_when_one_is_left() {
    let at = |version, count| seen(Holder::Cloud, Half::Reported, version, count);
    let counts = vec![given(1, true), given(2, true), broke(Fault::Cloned, None)];
    let twice = vec![at(6, 2), at(5, 1), at(6, 2), at(5, 1)];
    let node = Some(NODE.to_owned());
    let mended = vec![Event::Mended { fault: Fault::Cloned, node }, at(6, 2), at(5, 1)];
    let during = [counts, twice, mended].concat();
    assert_eq!(broken(during.clone()), []);
    assert_eq!(broken([during, vec![at(6, 2), at(5, 1)]].concat()), [Promise::NeverBack]);
}

#[test]
fn a_backup_knows_nothing_of_what_a_site_forgot_after_it() {
    let at = |era, version, count| {
        let seen = seen(Holder::Cloud, Half::Reported, version, count);
        let Event::Seen { holder, node, key, half, version, value, .. } = seen else { panic!() };
        Event::Seen { era, holder, node, key, half, version, value }
    };
    let before = vec![answered(1, 1), given(1, true), given(2, true), peace(end(1, 1, 2))];
    let put_back = vec![Event::Restored { era: 1 }, forgot(), at(1, 9, 2), at(1, 1, 1)];
    assert_eq!(broken([before.clone(), put_back].concat()), []);
    let only_put_back = vec![Event::Restored { era: 1 }, at(1, 9, 2), at(1, 1, 1)];
    assert_eq!(broken([before, only_put_back].concat()), [Promise::NeverBack]);
}

#[test]
fn a_report_that_was_taken_and_is_gone_is_found() {
    let taken = vec![answered(1, 1), given(1, true), given(2, true)];
    let lost = [taken.clone(), vec![peace(end(1, 1, 1))]].concat();
    assert_eq!(broken(lost), [Promise::NothingLost]);
    let forgotten = [taken.clone(), vec![forgot(), peace(end(1, 1, 1))]].concat();
    assert_eq!(broken(forgotten), []);
    let late = [taken.clone(), vec![given(3, false), given(4, true), peace(end(1, 1, 3))]].concat();
    assert_eq!(broken(late), [], "what was not answered came after what was");
    let invented = [taken.clone(), vec![peace(end(1, 1, 3))]].concat();
    assert_eq!(broken(invented), [Promise::NothingLost]);
    // What a damaged store still has may be older than the last peace, as long as it was once taken.
    let settled = [taken, vec![peace(end(1, 1, 2))]].concat();
    let old = [settled.clone(), vec![forgot(), peace(end(1, 1, 1))]].concat();
    assert_eq!(broken(old), []);
    let old = [settled, vec![peace(end(1, 1, 1))]].concat();
    assert_eq!(broken(old), [Promise::NothingLost]);
}

#[test]
fn a_start_without_a_reason_is_found() {
    let first = started("first", "r1", "a");
    let again = started("first", "r1", "b");
    assert_eq!(broken(vec![first.clone(), again.clone()]), [Promise::NoNeedlessStart]);
    assert_eq!(broken(vec![first.clone(), first.clone()]), [], "the same start, told twice");
    for harmless in [Fault::AgentKilled, Fault::StoreDeleted, Fault::LinkOut, Fault::DaemonFrozen] {
        let rest = peace(end(1, 1, 0));
        let events = vec![answered(1, 1), given(0, true), first.clone(), broke(harmless, None)];
        let ended = Event::AgentEnded { node: NODE.to_owned() };
        let events = [events, vec![ended, again.clone(), rest]].concat();
        assert_eq!(broken(events), [Promise::NoNeedlessStart], "{harmless}");
    }
    let other = broke(Fault::ContainerRemoved, Some("second"));
    assert_eq!(broken(vec![first.clone(), other, again.clone()]), [Promise::NoNeedlessStart]);
    let cut = broke(Fault::SitePowerCut, None);
    assert_eq!(broken(vec![first.clone(), cut.clone(), again.clone()]), []);
    let twice = vec![first, cut, again, started("first", "r1", "c")];
    assert_eq!(broken(twice), [Promise::NoNeedlessStart], "one power cut, two starts");
}

#[test]
fn an_old_instance_may_be_kept_alive_by_an_agent_that_was_ended_in_the_middle_of_an_update() {
    let [old, again, more] = ["a", "b", "c"].map(|instance| started("first", "r1", instance));
    let killed = Event::AgentEnded { node: NODE.to_owned() };
    let new = started("first", "r2", "d");
    let kept = vec![old.clone(), killed.clone(), again.clone(), new.clone()];
    assert_eq!(broken(kept), []);
    let daemon = broke(Fault::DaemonKilled, None);
    let both = vec![old.clone(), killed.clone(), again.clone(), daemon, more.clone(), new.clone()];
    assert_eq!(broken(both), [], "and then its daemon was killed");
    let twice = vec![old.clone(), killed, again.clone(), more, new.clone()];
    assert_eq!(broken(twice), [Promise::NoNeedlessStart]);
    let torn = vec![old.clone(), new.clone(), broke(Fault::StoreTorn, None), again.clone()];
    assert_eq!(broken(torn.clone()), [], "the store went back");
    let rest = vec![answered(1, 1), given(0, true), peace(end(1, 1, 0))];
    let later = [torn, rest, vec![started("first", "r2", "e")]].concat();
    assert_eq!(broken(later), [Promise::NoNeedlessStart], "but not for ever");
    let unhurt = vec![old, broke(Fault::AgentFrozen, None), again, new];
    assert_eq!(broken(unhurt), [Promise::NoNeedlessStart]);
}

#[test]
fn every_difference_in_peace_is_found() {
    let mut wrong = Vec::new();
    let mut doctored = |change: &dyn Fn(&mut End)| {
        let mut end = end(1, 1, 1);
        change(&mut end);
        wrong.push(end);
    };
    doctored(&|end| end.is_complete = false);
    doctored(&|end| end.pending.push(PUMP.to_owned()));
    doctored(&|end| end.shadows[0].desired_site = None);
    doctored(&|end| end.shadows[0].reported_site = Some(held(4, json!({"count": 2}))));
    doctored(&|end| end.shadows[0].reported_site = Some(held(5, json!({"count": 1}))));
    doctored(&|end| end.shadows[1].desired_site = Some(held(2, json!({}))));
    doctored(&|end| end.instances.truncate(1));
    doctored(&|end| end.instances[1].runs = false);
    doctored(&|end| end.instances[1].value = 6);
    doctored(&|end| {
        let twin = end.instances[0].clone();
        end.instances.push(twin);
    });
    doctored(&|end| {
        end.instances.push(Instance { service: "third".to_owned(), value: 7, runs: true });
    });
    for name in ["state", "good", "desired_version"] {
        doctored(&|end| {
            let app = &mut end.shadows[1];
            for copy in [&mut app.reported_cloud, &mut app.reported_site] {
                copy.as_mut().unwrap().document[name] = json!(null);
            }
        });
    }
    for end in wrong {
        let found = broken(vec![answered(1, 1), given(1, true), peace(end.clone())]);
        assert_eq!(found, [Promise::Equal], "{end:?}");
    }
}

#[test]
fn a_site_that_never_became_equal_is_found() {
    let unrest =
        Event::Unrest { burst: 3, after_ms: 60_000, differences: vec!["east: late".to_owned()] };
    assert_eq!(broken(vec![unrest]), [Promise::Equal]);
}
