//! A difference anywhere is found.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn app() -> App {
    App::second().unwrap()
}

fn shadow(reported_version: u64, web: u32) -> Shadow {
    let service = |running: u32| json!({"state": "running", "running": running, "replicas": 1});
    serde_json::from_value(json!({
        "node": "demo-site-1", "key": "app/hello", "version": 5, "delta": null,
        "desired": {"version": 2, "document": app().spec},
        "reported": {"version": 3, "document": {
            "desired_version": reported_version, "state": "running",
            "services": {"web": service(web), "worker": service(1)},
        }},
    }))
    .unwrap()
}

fn running(service: &str, greeting: &str) -> Running {
    Running {
        service: service.to_owned(),
        pid: 1,
        container: None,
        environment: BTreeMap::from([(VARIABLE.to_owned(), greeting.to_owned())]),
    }
}

#[test]
fn what_is_the_same_everywhere_has_no_differences() {
    let all = [running("web", app().greeting), running("worker", app().greeting)];
    assert_eq!(differences(&shadow(2, 1), &app(), &all), Vec::<String>::new());
}

#[test]
fn every_kind_of_difference_is_found() {
    let good = [running("web", app().greeting), running("worker", app().greeting)];
    let old = [running("web", "hello"), running("worker", app().greeting)];
    let missing = [running("worker", app().greeting)];
    let stranger = [good.as_slice(), &[running("ghost", app().greeting)]].concat();
    let twice = [good.as_slice(), &[running("web", app().greeting)]].concat();
    for (reported, web, real) in [
        (1, 1, good.as_slice()),
        (2, 2, &good),
        (2, 1, &old),
        (2, 1, &missing),
        (2, 0, &missing),
        (2, 1, &stranger),
        (2, 1, &twice),
    ] {
        let found = differences(&shadow(reported, web), &app(), real);
        assert_eq!(found.len(), 1, "{found:?}");
    }
    let mut other = shadow(2, 1);
    other.desired.as_mut().unwrap().document = json!({});
    assert_eq!(differences(&other, &app(), &good).len(), 1);
}
