//! kill -9 at each step of an update: the next start goes on, and no app notices.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gnomon_tests::process::binary;
use gnomon_tests::{Cloud, Site};
use serde_json::Value;

use super::{Files, gnomon, reported, update};
use crate::app::{apply, converged};

/// How far an update has come, as its files tell.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A part of the program is here.
    Fetching,
    /// All of it is.
    Fetched,
    /// It was decided that it runs next.
    Chosen,
    /// It was started.
    OnTrial,
    /// It reached the cloud.
    Confirmed,
}

impl Step {
    fn is_reached(self, folder: &Path, digest: &str) -> bool {
        let program = folder.join(format!("agent-{digest}"));
        let state = fs::read(folder.join("state.json")).unwrap_or_default();
        let state: Value = serde_json::from_slice(&state).unwrap_or_default();
        let is_chosen = state["chosen"]["sha256"] == digest;
        match self {
            Self::Fetching => {
                let part = folder.join(format!("agent-{digest}.part"));
                fs::metadata(part).is_ok_and(|part| part.len() > 0)
            }
            Self::Fetched => program.exists(),
            Self::Chosen => is_chosen,
            Self::OnTrial => is_chosen && state["trial"]["starts"].as_u64() >= Some(1),
            Self::Confirmed => is_chosen && state["trial"].is_null(),
        }
    }
}

/// Looks as often as it can: a step may be over in a moment.
fn watch(step: Step, folder: &Path, digest: &str, site: &Site) {
    let end = Instant::now() + Duration::from_mins(1);
    while !step.is_reached(folder, digest) {
        assert!(Instant::now() < end, "{step:?} was not reached: {}", site.tail());
        std::thread::yield_now();
    }
}

#[test]
fn a_kill_at_any_step_of_an_update_ends_with_the_update_and_touches_no_app() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::serve(folder.path());
    let cloud = Cloud::start(folder.path());
    let key = folder.path().join("release.key").to_string_lossy().into_owned();
    let setting = gnomon(&cloud, &["node", "update-key", &key]);
    let mut site = Site::join(&cloud, folder.path(), "site-1");
    site.stop();
    let config = folder.path().join("edge.toml");
    fs::write(&config, format!("{setting}\nupdate_within_s = 60\n")).unwrap();
    site.add_args(&["--config", &config.to_string_lossy()]);
    site.start();
    assert!(apply(&cloud, folder.path(), "site-1", 1));
    converged(&cloud, "site-1");
    let apps = site.instances();
    let steps = [Step::Fetching, Step::Fetched, Step::Chosen, Step::OnTrial, Step::Confirmed];
    let program = fs::read(binary("gnomon-edge")).unwrap();
    for step in steps {
        // Else the fetching may be over before the kill.
        files.breaks.store(matches!(step, Step::Fetching), Ordering::SeqCst);
        // Bytes after its end make it another build, which runs as well.
        let name = format!("{step:?}");
        let file = files.put(&name, &[&program[..], name.as_bytes()].concat());
        update(&cloud, &files, &file, &name, &key);
        let order = &cloud.api.get("/v1/nodes/site-1/shadows/node").1["desired"]["document"];
        let digest = order["agent"]["sha256"].as_str().unwrap().to_owned();
        watch(step, &site.data().join("update"), &digest, &site);
        site.kill9();
        site.start();
        reported(&cloud, &site, &name, "current");
        assert_eq!(site.program_file(), format!("agent-{digest}"), "after a kill: {step:?}");
        assert_eq!(site.instances(), apps, "no app was touched: {step:?}");
        fs::remove_file(file).unwrap();
    }
    assert!(!files.asked.lock().unwrap().is_empty(), "what was there was not fetched again");
    assert_eq!(site.stop(), Some(0));
    let left: Vec<_> = fs::read_dir(site.data().join("update")).unwrap().collect();
    assert_eq!(left.len(), 2, "the program and what was decided: {left:?}");
}
