//! A site goes on without its cloud.

use gnomon_tests::{Cloud, Site, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::app::{PATIENCE, apply, converged, running, runs};

#[test]
fn after_a_power_cut_everything_comes_back_without_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(folder.path());
    let mut site = Site::join(&cloud, folder.path(), "site-1");
    assert!(apply(&cloud, folder.path(), "site-1", 7));
    converged(&cloud, "site-1");
    cloud.kill9();
    site.cut_power();
    assert_eq!(running(&site), [""; 0]);
    site.start();
    runs(&site, 7);
    let status = site.status().expect("the agent answers over its own socket");
    assert_ne!(status["link"]["state"], "up", "{status}");
}

#[test]
fn a_killed_process_is_repaired_offline_and_reported_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(folder.path());
    let site = Site::join(&cloud, folder.path(), "site-1");
    assert!(apply(&cloud, folder.path(), "site-1", 1));
    converged(&cloud, "site-1");
    cloud.kill9();
    let before = site.instances();
    for pid in &before {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
    }
    eventually("other processes in place of the killed", PATIENCE, || {
        let now = site.instances();
        let values = running(&site);
        let fresh = now.iter().all(|pid| !before.contains(pid));
        if fresh && values == ["1", "1"] { Ok(()) } else { Err((now, values)) }
    });
    cloud.restart();
    converged(&cloud, "site-1");
}
