//! kill -9 of either end, or of both, at any moment, does not change where things end.

use std::time::Duration;

use gnomon_tests::{Cloud, Site};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::app::{apply, converged, runs, shadow};

/// `SEED=n` repeats a run.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| std::process::id().into())
}

#[test]
fn kill_9_at_any_moment_does_not_change_the_end() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(folder.path());
    let mut site = Site::join(&cloud, folder.path(), "site-1");
    let mut answered = 0;
    for value in 1..=12 {
        if apply(&cloud, folder.path(), "site-1", value) {
            answered = value;
        }
        gnomon_tests::eventually::let_pass(Duration::from_millis(rng.random_range(0..900)));
        let (kill_cloud, kill_site) =
            [(true, false), (false, true), (true, true)][value as usize % 3];
        if kill_cloud {
            cloud.kill9();
        }
        if kill_site {
            site.kill9();
        }
        gnomon_tests::eventually::let_pass(Duration::from_millis(rng.random_range(0..300)));
        if kill_cloud {
            cloud.restart();
        }
        if kill_site {
            site.start();
        }
        let desired = shadow(&cloud, "site-1")["desired"].clone();
        let held = &desired["document"]["services"]["first"]["environment"]["VALUE"];
        assert_eq!(*held, answered.to_string(), "SEED={seed}: an answered write is gone");
    }
    assert_eq!(answered, 12, "SEED={seed}");
    converged(&cloud, "site-1");
    runs(&site, answered);
}

#[test]
fn a_restart_of_the_agent_restarts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let mut site = Site::join(&cloud, folder.path(), "site-1");
    assert!(apply(&cloud, folder.path(), "site-1", 1));
    converged(&cloud, "site-1");
    let mut before = site.instances();
    before.sort_unstable();
    site.kill9();
    site.start();
    assert!(apply(&cloud, folder.path(), "site-1", 1), "an equal app is no change");
    gnomon_tests::eventually("the agent to see its instances again", crate::app::PATIENCE, || {
        let status = site.status().unwrap_or_default();
        let state = status["apps"].to_string();
        if state.contains("running") { Ok(()) } else { Err(status) }
    });
    assert_eq!(site.stop(), Some(0));
    let mut after = site.instances();
    after.sort_unstable();
    assert_eq!(before, after, "the same processes run, also after a graceful stop");
}
