//! What may be written and sent: what waits, and what never does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::link::Quality;

impl World {
    fn report(&mut self, key: &str, value: Value) -> String {
        let request = Request::Report { key: key.parse().unwrap(), value };
        self.input(Input::Asked(Ticket(9), request));
        match self.answers.pop() {
            Some(Response::Done(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    fn level(&self) -> Option<Value> {
        let held = self.cloud_up.get(&"device/pump".parse().unwrap())?;
        Some(held.document.to_value()["level"].clone())
    }
}

/// A running site with budgets.
fn site(budgets: Budgets) -> World {
    let mut world = running_site();
    world.budgets = budgets;
    world.restart();
    world.input(Input::Woken);
    world.connect();
    world.pass(MINUTE * 2);
    world
}

#[test]
fn a_measured_value_within_its_dead_band_is_neither_written_nor_sent() {
    let dead_bands = BTreeMap::from([("level".to_owned(), 0.5)]);
    let mut world = site(Budgets { dead_bands, ..Budgets::default() });
    world.report("device/pump", json!({ "level": 10.0 }));
    let commits = world.disk.commits();
    assert!(world.report("device/pump", json!({ "level": 10.4 })).contains("dead-band"));
    assert_eq!(world.disk.commits(), commits);
    world.report("device/pump", json!({ "level": 10.6 }));
    world.pass(MINUTE);
    assert_eq!(world.level(), Some(json!(10.6)));
}

#[test]
fn a_chatty_device_writes_no_more_than_the_hour_allows_and_its_newest_value_gets_through() {
    const LIMIT: u64 = 20 * 1024;
    let mut world = site(Budgets { write_bytes_per_hour: LIMIT, ..Budgets::default() });
    let before = world.status().budget.written;
    let mut held_back = 0;
    for second in 0..3600 * 3 {
        let told = world.report("device/pump", json!({ "level": second }));
        held_back += u32::from(told.contains("held back"));
        world.pass(Duration::from_secs(1));
    }
    let budget = world.status().budget;
    assert!(held_back > 5_000, "{held_back} of 10800 were held back");
    assert!(budget.written - before < LIMIT * 4, "{budget:?}");
    assert!(budget.written_last_hour <= LIMIT + LIMIT / 4, "{budget:?}");
    world.pass(MINUTE * 61);
    assert_eq!(world.level(), Some(json!(3600 * 3 - 1)), "the newest value, not the queue");
    assert!(!world.status().budget.reports_wait);
}

#[test]
fn while_writes_wait_what_is_desired_and_how_apps_are_is_written_all_the_same() {
    let mut world = site(Budgets { write_bytes_per_hour: 1, ..Budgets::default() });
    world.report("device/pump", json!({ "level": 1 }));
    assert!(world.report("device/pump", json!({ "level": 2 })).contains("held back"));
    assert!(world.status().budget.reports_wait);
    world.put("web", "web:2");
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:2"]);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Running, Version(2)));
    assert_eq!(world.level(), Some(json!(1)), "the measured value waits");
    let commits = world.disk.commits();
    for _ in 0..180 {
        // It is started again at once, and after it fell again a second later.
        for lasts in [1, 19] {
            world.fake.set_state(&slot("web"), InstanceState::Exited { code: 1 });
            world.input(Input::Hint);
            world.pass(Duration::from_secs(lasts));
        }
    }
    let commits = world.disk.commits() - commits;
    assert!((10..40).contains(&commits), "{commits} commits in an hour of ups and downs");
    world.pass(MINUTE * 10);
    assert_eq!(world.reported("web").unwrap().state, AppState::Running, "the last word is told");
}

#[test]
fn a_site_at_rest_writes_nothing() {
    let mut world = site(Budgets::default());
    let before = world.status().budget.written;
    world.pass(MINUTE * 60 * 24);
    assert_eq!(world.status().budget.written, before);
}

#[test]
fn a_spent_link_carries_what_is_desired_and_nothing_else_until_the_next_day() {
    let link = Limits { day: Some(6_000), month: None };
    let mut world = site(Budgets { link, ..Budgets::default() });
    for round in 0..400 {
        world.report("device/pump", json!({ "level": round }));
        world.pass(Duration::from_secs(31));
    }
    let level = world.level().unwrap().as_u64().unwrap();
    assert!(level < 300, "measured values ended at {level}");
    let budget = world.status().budget;
    assert!((4_800..5_600).contains(&budget.link_today), "{budget:?}");
    for tag in 2..40 {
        world.put("web", &format!("web:{tag}"));
        world.pass(MINUTE);
    }
    assert_eq!(world.images("web"), ["sha256:web:39"], "what is desired flows");
    let told = world.reported("web").unwrap().desired_version;
    assert!(told < Version(39), "its reports ended at {told}");
    world.restart();
    world.input(Input::Woken);
    world.connect();
    world.pass(MINUTE * 5);
    assert_eq!(world.reported("web").unwrap().desired_version, told, "it is remembered");
    world.pass(Duration::from_hours(24));
    assert_eq!(world.reported("web").unwrap().desired_version, Version(39), "a new day");
    assert!(world.cloud_down.is_in_sync());
}

#[test]
fn while_reports_wait_a_heartbeat_of_positions_goes_and_nothing_else() {
    let link = Limits { day: Some(6_000), month: None };
    let mut world = site(Budgets { link, ..Budgets::default() });
    for tag in 2..60 {
        world.put("web", &format!("web:{tag}"));
        world.pass(MINUTE);
    }
    let told = world.reported("web").unwrap().desired_version;
    assert!(told < Version(59), "reports wait from {told} on");
    let (before, log) = (world.carried, world.log.len());
    world.pass(Duration::from_hours(10));
    let sent: Vec<_> = world.log[log..].iter().filter(|it| it.starts_with("publish")).collect();
    let beats = sent.iter().filter(|it| it.ends_with("u/batch") || it.ends_with("/hello")).count();
    assert_eq!(beats, sent.len(), "{sent:?}");
    assert!((18..=22).contains(&beats), "{beats} in ten hours");
    assert!(world.carried - before < 2_000, "{} bytes", world.carried - before);
    assert_eq!(world.reported("web").unwrap().desired_version, told);
    world.put("web", "web:99");
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:99"], "what is desired flows");
    world.disconnect();
    let log = world.log.len();
    world.pass(Duration::from_hours(3));
    assert!(!world.log[log..].iter().any(|it| it.starts_with("publish")));
}

#[test]
fn how_good_the_link_is_is_reported_and_costs_next_to_nothing() {
    let mut world = site(Budgets::default());
    world.quality = Quality { rtt_ms: Some(90), connections: 1, mqtt: 5, ..Quality::default() };
    world.pass(MINUTE);
    let told = world.node_report().unwrap()["link"].clone();
    assert_eq!((&told["rtt_ms"], &told["mqtt"]), (&json!(90), &json!(5)));
    let commits = world.disk.commits();
    for hour in 0..48_u64 {
        world.quality.rtt_ms = Some(40 + hour * 3);
        world.pass(MINUTE * 60);
    }
    assert_eq!(world.disk.commits(), commits, "within its dead-band it is no news");
    world.quality.rtt_ms = Some(900);
    world.quality.connections = 40;
    world.pass(MINUTE * 2);
    assert_eq!(world.node_report().unwrap()["link"]["connections"], 40);
}
