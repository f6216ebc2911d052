//! Images come over a slow link; nothing else waits for them.

use serde_json::json;

use super::*;

/// A site with one app of two services, whose update waits for an image on a slow link.
fn updating_site() -> World {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.put_all("web", &[("main", "main:1"), ("side", "side:1")]);
    world.pass(MINUTE);
    assert_eq!(world.running(), (2, 2));
    world.is_link_slow = true;
    world.put_all("web", &[("main", "main:2"), ("side", "side:1")]);
    world.pass(MINUTE);
    assert_eq!(world.reported("web").unwrap().state, AppState::Pulling);
    assert_eq!(world.count("step slow pull main:2"), 1);
    world
}

#[test]
fn an_app_is_repaired_while_an_image_of_it_is_fetched() {
    let mut world = updating_site();
    world.fake.set_state(&slot("web"), InstanceState::Exited { code: 1 });
    world.input(Input::Hint);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.running(), (2, 2), "an end is repaired");
    world.fake.vanish(&Slot { service: "side".parse().unwrap(), ..slot("web") });
    world.input(Input::Hint);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.running(), (2, 2), "a removal is repaired");
    assert_eq!(world.slow.len(), 1, "the image is still on its way");
    assert!(world.status().apps[0].busy);
    world.end_pulls();
    world.pass(MINUTE);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Running, Version(2)));
    assert_eq!(world.running(), (2, 2));
}

#[test]
fn an_app_whose_images_are_here_does_not_wait_for_those_of_others() {
    let mut world = updating_site();
    world.put("big", "big:1");
    world.put("more", "more:1");
    world.pass(MINUTE);
    assert_eq!(world.slow.len(), 2, "two are fetched, one waits");
    world.put("other", "side:1");
    world.pass(MINUTE);
    assert_eq!(world.reported("other").unwrap().state, AppState::Running);
    world.end_pulls();
    world.pass(MINUTE);
    for app in ["web", "big", "more", "other"] {
        assert_eq!(world.reported(app).unwrap().state, AppState::Running, "{app}");
    }
}

#[test]
fn two_apps_that_need_one_image_pull_it_once() {
    let mut world = updating_site();
    world.put("twin", "main:2");
    world.pass(MINUTE);
    world.end_pulls();
    world.pass(MINUTE);
    for app in ["web", "twin"] {
        assert_eq!(world.reported(app).unwrap().state, AppState::Running, "{app}");
    }
    let pulls = world.fake.steps().into_iter().filter(|step| {
        matches!(step, crate::reconcile::model::Step::Pull { image, .. } if image == "main:2")
    });
    assert_eq!(pulls.count(), 1);
}

#[test]
fn a_pull_of_what_is_not_wished_any_more_is_broken_off() {
    let mut world = updating_site();
    world.put_all("web", &[("main", "main:1"), ("side", "side:1")]);
    world.pass(MINUTE);
    assert_eq!(world.count("give up main:2"), 1);
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
    world.put_all("web", &[("main", "main:2"), ("side", "side:1")]);
    world.pass(MINUTE);
    assert_eq!(world.count("step slow pull main:2"), 2);
    world.end_pulls();
    world.pass(MINUTE);
    assert_eq!(world.reported("web").unwrap().desired_version, Version(4));
    assert_eq!(world.reported("web").unwrap().state, AppState::Running);
}

#[test]
fn credentials_reach_the_orchestrator_and_hurry_what_was_refused_and_are_seen_by_nobody() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    world.put("calm", "calm:1");
    world.fake.fail_next(StepKind::Pull, &app("web"), "unauthorized", false);
    world.put("web", "r.example/web:1");
    world.pass(Duration::from_secs(10));
    let report = world.reported("web").unwrap();
    assert_eq!(report.state, AppState::Failed);
    assert!(report.reason.unwrap().contains("unauthorized"));
    let calm = world.instances("calm");
    let password = "hunter2";
    let given = json!({ "username": "site", "password": password });
    world.put_node(json!({ "registries": { "r.example": given }, "mine": 1 }));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.reported("web").unwrap().state, AppState::Running, "before its back-off");
    assert_eq!(world.instances("calm"), calm);
    assert_eq!(world.fake.settings().registries["r.example"].password.expose(), password);
    assert_eq!(world.node_report().unwrap()["settings"]["registries"], json!(["r.example"]));
    world.input(Input::Asked(Ticket(1), Request::Diag));
    world.input(Input::Asked(Ticket(2), Request::Shadow { key: ShadowKey::Node }));
    assert_eq!(world.answers.len(), 2);
    let seen = format!("{:?} {:?} {:?}", world.answers, world.node_report(), world.log);
    assert!(!seen.contains(password), "{seen}");
}

#[test]
fn credentials_are_known_after_a_restart_without_a_link_and_bad_ones_are_reported() {
    let mut world = World::new();
    world.input(Input::Woken);
    world.connect();
    let given = json!({ "username": "site", "password": "hunter2" });
    world.put_node(json!({ "registries": { "r.example": given } }));
    world.pass(MINUTE);
    world.fake.forget_settings();
    world.restart();
    world.input(Input::Woken);
    world.pass(MINUTE);
    assert_eq!(world.fake.settings().registries.len(), 1);
    world.connect();
    world.put_node(json!({ "registries": { "r.example": "hunter2" } }));
    world.pass(MINUTE);
    assert!(world.fake.settings().registries.is_empty());
    let report = world.node_report().unwrap()["settings"].to_string();
    assert!(report.contains("registries.r.example") && !report.contains("hunter2"), "{report}");
}
