//! The simulated world holds its promises, tells the same story twice, and can fail.

use gnomon_sim::world::{Options, run, story};

#[test]
fn two_hundred_worlds_keep_every_invariant() {
    for seed in 1..=200 {
        let outcome = run(seed, Options::default());
        if let Some(failure) = outcome.failure {
            let failure = failure.shrink(1_000);
            panic!(
                "{}\nreplay: gnomon-sim sim --seed {seed} --trace\n{}",
                failure.violation,
                failure.story()
            );
        }
    }
}

#[test]
fn a_world_of_many_sites_keeps_every_invariant() {
    let outcome = run(1, Options { sites: Some(200), steps: Some(50) });
    assert_eq!(outcome.failure.map(|failure| failure.violation), None);
    assert!(outcome.tally.answers > 500, "{:?}", outcome.tally);
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 1..=20 {
        assert_eq!(story(seed, Options::default()), story(seed, Options::default()));
    }
}

#[test]
fn every_fault_strikes_somewhere() {
    let mut sum = gnomon_sim::world::Tally::default();
    for seed in 1..=100 {
        sum += run(seed, Options::default()).tally;
    }
    let counts = serde_json::to_value(sum).unwrap();
    for (name, count) in counts.as_object().unwrap() {
        assert!(count.as_u64() > Some(20), "{name}: {count}");
    }
}
