//! Every shipped scenario in the simulated world: it holds, it is the same again, and a claim that is
//! not true does not hold.

#![expect(clippy::unwrap_used, reason = "in tests a surprise is a failure")]

use gnomon_sim::scenario::judge::{Verdict, judge};
use gnomon_sim::scenario::timetable::Timetable;
use gnomon_sim::scenario::{Scenario, read};
use gnomon_sim::system::play;

fn played(text: &str, seed: Option<u64>) -> Vec<Verdict> {
    let scenario = read::scenario(text).unwrap();
    let (record, _) = play(&scenario, seed.unwrap_or(scenario.seed), false);
    judge(&scenario, &Timetable::of(&scenario), &record)
}

fn holds(name: &str) {
    let verdicts = played(Scenario::shipped(name).unwrap(), None);
    let bad: Vec<_> = verdicts.iter().filter(|it| !it.held).collect();
    assert!(bad.is_empty(), "{name}: {bad:#?}");
}

#[test]
fn challenge_one_a_weak_network() {
    holds("weak-network");
}

#[test]
fn challenge_two_autonomy_offline() {
    holds("offline-autonomy");
}

#[test]
fn challenge_three_scarce_resources() {
    holds("scarce-resources");
}

#[test]
fn challenge_four_all_return_at_once() {
    holds("mass-return");
}

#[test]
fn a_cloud_that_is_killed_loses_nothing() {
    holds("cloud-killed");
}

#[test]
fn power_cuts_need_nobodys_help() {
    holds("power-cuts");
}

#[test]
fn days_of_tunnels_restart_nothing() {
    holds("days-of-tunnels");
}

#[test]
fn three_days_away_end_in_one_newest_state() {
    holds("three-days-away");
}

#[test]
fn the_small_ones_for_real_programs_hold_in_the_simulated_world_too() {
    holds("real-outage");
    holds("real-cloud-kill");
}

#[test]
fn the_same_seed_is_the_same_world_and_another_one_is_not() {
    let text = Scenario::shipped("weak-network").unwrap();
    let scenario = read::scenario(text).unwrap();
    let (one, _) = play(&scenario, 5, false);
    assert_eq!(one, play(&scenario, 5, false).0);
    assert_ne!(one, play(&scenario, 6, false).0);
}

#[test]
fn claims_that_are_not_true_do_not_hold() {
    let text = "name = \"a\"\nabout = \"b\"\n\
        steps = [\"at 60 s cut site for 60 s\", \"at 70 s write 1 desired version\",\n\
        \"at 150 s kill app of site-0\"]\n\
        expect = [\"all converged within 1 ms of reconnect\", \"no app restarted\",\n\
        \"bytes per site under 100 B\", \"apps of site run from 150.1 s to 170 s\", \"nothing lost\"]\n\
        fleet.site = { sites = 2, link = \"4g-bad\" }\n";
    let held: Vec<_> = played(text, None).iter().map(|it| it.held).collect();
    assert_eq!(held, [false, false, false, false, true]);
}
