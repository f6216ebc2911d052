//! One revision after another on a real Docker daemon: what is there in between.

use gnomon_tests::eventually;

use super::Stage;
use crate::app::{PATIENCE, converged};

fn app(value: u32) -> String {
    format!(
        r#"
name: probe
services:
  web:
    image: gnomon-demo:1
    restart: always
    environment: {{ VALUE: "{value}" }}
    entrypoint: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
    healthcheck: {{ test: [CMD, "true"], interval: 1s, retries: 1 }}
    deploy: {{ update_config: {{ order: start-first }} }}
"#
    )
}

/// Applies the app and waits until one container is all that there is; gives back its id.
fn runs(stage: &Stage, value: u32) -> String {
    assert!(stage.apply_text(&app(value)), "{}", stage.cloud.tail());
    converged(&stage.cloud, stage.node());
    eventually(&format!("one container at {value}: {}", stage.site.tail()), PATIENCE, || {
        let all = stage.containers();
        match all.as_slice() {
            [(_, it)] if it.runs && it.value == value.to_string() => Ok(it.id.clone()),
            _ => Err(all),
        }
    })
}

#[test]
fn a_service_that_starts_first_is_never_without_a_container() {
    let stage = Stage::set("first");
    let old = runs(&stage, 1);
    let new = runs(&stage, 2);
    let filter = format!("label=io.gnomon.node={}", stage.node());
    let events = ["events", "--since", "10m", "--until", "0s", "--filter", &filter];
    let events = [&events[..], &["--format", "{{.Action}} {{.ID}}"]].concat();
    // The client cuts the present off to a whole second.
    let told = eventually("the end of the old one to be told", PATIENCE, || {
        let told = stage.docker.run(&events);
        if told.contains(&format!("kill {old}")) { Ok(told) } else { Err(told) }
    });
    let at = |what: String| {
        let found = told.lines().position(|line| line.starts_with(&what));
        found.unwrap_or_else(|| panic!("no `{what}` in\n{told}"))
    };
    let healthy = at(format!("health_status: healthy {new}"));
    assert!(at(format!("start {new}")) < healthy);
    assert!(healthy < at(format!("kill {old}")), "the old one stopped too early:\n{told}");
}
