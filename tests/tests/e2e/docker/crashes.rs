//! kill -9 of either end at any moment leaves exactly what was asked for, and nothing beside it.

use std::time::Duration;

use gnomon_tests::eventually;
use gnomon_tests::eventually::let_pass;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Stage;
use crate::app::{PATIENCE, gnomon, shadow};

/// `SEED=n` repeats a run.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| std::process::id().into())
}

#[test]
#[expect(clippy::print_stderr, reason = "the seed repeats a run that failed")]
fn kill_9_at_any_moment_leaves_no_container_too_many() {
    let seed = seed();
    eprintln!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut stage = Stage::set("crash");
    let mut answered = 0;
    for value in 1..=8 {
        if stage.apply(value) {
            answered = value;
        }
        let_pass(Duration::from_millis(rng.random_range(0..2500)));
        let (kill_cloud, kill_site) =
            [(true, false), (false, true), (true, true)][rng.random_range(0..3)];
        if kill_cloud {
            stage.cloud.kill9();
        }
        if kill_site {
            stage.site.kill9();
        }
        let_pass(Duration::from_millis(rng.random_range(0..300)));
        if kill_cloud {
            stage.cloud.restart();
        }
        if kill_site {
            stage.site.start();
        }
        let desired = shadow(&stage.cloud, stage.node())["desired"].clone();
        let held = &desired["document"]["services"]["first"]["environment"]["VALUE"];
        assert_eq!(*held, answered.to_string(), "SEED={seed}: an answered write is gone");
    }
    assert_eq!(answered, 8, "SEED={seed}");
    stage.runs(answered);
    assert_eq!(stage.networks_and_volumes(), (1, 1), "SEED={seed}");

    assert!(
        gnomon(&stage.cloud, &["delete", "app", "probe", "--node", stage.node()]).status.success()
    );
    stage.site.kill9();
    stage.site.start();
    eventually("an end of all but the volume", PATIENCE, || {
        let left = (stage.containers().len(), stage.networks_and_volumes());
        if left == (0, (0, 1)) { Ok(()) } else { Err(left) }
    });
}

#[test]
fn an_equal_app_applied_again_restarts_nothing() {
    let mut stage = Stage::set("equal");
    let before = stage.deploy(1);
    stage.site.kill9();
    stage.site.start();
    assert!(stage.apply(1), "an equal app is no change");
    eventually("the agent to see its containers again", PATIENCE, || {
        let status = stage.site.status().unwrap_or_default();
        let apps = status["apps"].to_string();
        if apps.contains("running") && status["link"]["up"] == true { Ok(()) } else { Err(status) }
    });
    assert_eq!(stage.runs(1), before, "the same containers, started once");
    assert_eq!(stage.site.stop(), Some(0));
    let_pass(Duration::from_millis(500));
    let after: std::collections::BTreeMap<_, _> = stage.containers().into_iter().collect();
    assert_eq!(after, before, "also after a graceful stop");
}
