//! What people at the node order, with and without a link.

use serde_json::{Value, json};

use super::*;
use crate::local::{Refusal, Shadow};

impl World {
    fn order(&mut self, request: Request) -> Result<Response, Refusal> {
        self.input(Input::Asked(Ticket(7), request));
        let answer = self.answers.pop().expect("an order is answered at once in this world");
        if let Response::Refused(refusal) = answer { Err(refusal) } else { Ok(answer) }
    }

    fn refused(&mut self, request: Request) -> RefusalCode {
        self.order(request).unwrap_err().code
    }

    fn shadow(&mut self, key: &str) -> Shadow {
        match self.order(Request::Shadow { key: key.parse().unwrap() }) {
            Ok(Response::Shadow(shadow)) => *shadow,
            other => panic!("{other:?}"),
        }
    }
}

fn hold(name: &str) -> Request {
    Request::Hold { app: app(name) }
}

fn release(name: &str) -> Request {
    Request::Release { app: app(name) }
}

fn apply(name: &str, image: &str) -> Request {
    let services = json!({ "main": { "image": image, "restart": "always" } });
    Request::Apply { app: app(name), spec: json!({ "services": services }) }
}

fn discard(name: &str) -> Request {
    Request::Discard { app: app(name) }
}

#[test]
fn a_held_app_keeps_its_revision_across_wishes_and_restarts_until_it_is_released() {
    let mut world = running_site();
    let before = world.instances("web");
    world.order(hold("web")).unwrap();
    world.put("web", "web:2");
    world.pass(MINUTE);
    assert_eq!(world.instances("web"), before);
    let report = world.reported("web").unwrap();
    assert!(report.held && report.state == AppState::Running);
    assert_eq!(report.desired_version, Version(1), "what it reflects is the version it is held at");
    assert!(report.wanted.is_some() && report.wanted != report.revision);

    world.restart();
    world.fake.vanish(&slot("web"));
    world.input(Input::Woken);
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:1"], "a boot without a link");
    world.connect();
    world.delete("web");
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:1"], "it is held, whatever is desired");
    world.put("web", "web:3");
    world.pass(MINUTE);
    world.order(release("web")).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:3"]);
    let report = world.reported("web").unwrap();
    assert!(!report.held && report.wanted.is_none());
}

#[test]
fn a_hold_that_is_released_after_the_app_was_deleted_lets_it_go() {
    let mut world = running_site();
    world.order(hold("web")).unwrap();
    world.delete("web");
    world.pass(MINUTE);
    assert_eq!(world.running(), (1, 1));
    world.order(release("web")).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.running(), (0, 0));
    assert!(world.reported("web").is_none());
}

#[test]
fn what_was_rolled_back_to_is_held_as_the_version_that_it_was() {
    let mut world = running_site();
    world.fake.when_image_starts("web:2", InstanceState::Exited { code: 1 });
    world.put("web", "web:2");
    world.pass(MINUTE * 5);
    world.order(hold("web")).unwrap();
    world.pass(MINUTE);
    let report = world.reported("web").unwrap();
    assert_eq!((report.state, report.desired_version), (AppState::Running, Version(1)));
    assert!(report.held && report.wanted.is_some());
}

#[test]
fn a_release_tries_again_what_was_rolled_back() {
    let mut world = running_site();
    world.fake.when_image_starts("web:2", InstanceState::Exited { code: 1 });
    world.put("web", "web:2");
    world.pass(MINUTE * 5);
    assert_eq!(world.images("web"), ["sha256:web:1"]);
    let running = InstanceState::Running(crate::reconcile::model::Health::Unchecked);
    world.fake.when_image_starts("web:2", running);
    world.disconnect();
    world.order(release("web")).unwrap();
    world.pass(MINUTE * 5);
    assert_eq!(world.images("web"), ["sha256:web:2"]);
    assert_eq!(world.refused(release("web")), RefusalCode::Conflict);
}

#[test]
fn what_is_applied_without_a_link_lives_until_the_clouds_next_version() {
    let mut world = running_site();
    world.disconnect();
    world.order(apply("web", "web:local")).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:local"]);
    world.connect();
    world.pass(MINUTE);
    let report = world.reported("web").unwrap();
    assert!(report.local && report.good && report.state == AppState::Running);
    assert!(report.wanted.is_some(), "the cloud sees that another one was desired");
    world.restart();
    world.input(Input::Woken);
    world.connect();
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:local"], "the same version is no next one");
    world.put("web", "web:2");
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:2"]);
    let report = world.reported("web").unwrap();
    assert!(!report.local && report.wanted.is_none());
    assert_eq!(world.refused(discard("web")), RefusalCode::Conflict);
}

#[test]
fn what_is_applied_can_be_taken_back_and_a_bad_one_is_rolled_back() {
    let mut world = running_site();
    world.disconnect();
    world.order(apply("web", "web:local")).unwrap();
    world.order(apply("mine", "mine:1")).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.images("mine"), ["sha256:mine:1"], "also an app that the cloud does not have");
    world.order(discard("web")).unwrap();
    world.order(discard("mine")).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.images("web"), ["sha256:web:1"]);
    assert_eq!(world.images("mine"), Vec::<String>::new());

    world.fake.when_image_starts("web:bad", InstanceState::Exited { code: 1 });
    world.order(apply("web", "web:bad")).unwrap();
    world.pass(MINUTE * 5);
    assert_eq!(world.images("web"), ["sha256:web:1"]);
    world.connect();
    world.pass(MINUTE);
    let report = world.reported("web").unwrap();
    assert!(report.local && report.rolled_back_from.is_some());
    assert_eq!(report.state, AppState::Failed);
}

#[test]
fn a_local_app_that_the_cloud_gets_too_is_the_clouds() {
    let mut world = running_site();
    world.order(apply("mine", "mine:1")).unwrap();
    world.pass(MINUTE);
    assert!(world.reported("mine").unwrap().local);
    world.put("mine", "mine:2");
    world.pass(MINUTE);
    assert_eq!(world.images("mine"), ["sha256:mine:2"]);
    assert!(!world.reported("mine").unwrap().local);
}

#[test]
fn a_restart_stops_and_starts_the_same_instances_and_runs_jobs_again() {
    let mut world = running_site();
    let job = json!({ "main": { "image": "job:1" } });
    world.put_spec("job", json!({ "services": job }));
    world.pass(Duration::from_secs(5));
    world.fake.set_state(&slot("job"), InstanceState::Exited { code: 0 });
    world.pass(MINUTE);
    let (before, starts) = (world.instances("web"), world.count("step start"));
    let restart = |name: &str, service: Option<&str>| Request::Restart {
        app: app(name),
        service: service.map(|it| it.parse().unwrap()),
    };
    world.order(restart("web", Some("main"))).unwrap();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.instances("web"), before);
    assert_eq!(world.count("step start web/main"), 2);
    assert_eq!(world.count("step stop web/main"), 1);
    world.order(restart("job", None)).unwrap();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.count("step start"), starts + 2);
    world.pass(MINUTE * 10);
    assert_eq!(world.count("step start"), starts + 2, "once");
}

#[test]
fn a_reported_value_is_merged_kept_and_told_to_the_cloud() {
    let mut world = running_site();
    let report = |key: &str, value: Value| Request::Report { key: key.parse().unwrap(), value };
    world.disconnect();
    world.order(report("device/pump", json!({ "level": 3, "unit": "l" }))).unwrap();
    world.order(report("device/pump", json!({ "level": 4, "unit": null }))).unwrap();
    world.order(report("node", json!({ "site": "north" }))).unwrap();
    assert!(!world.shadow("device/pump").reported_in_sync);
    world.restart();
    world.input(Input::Woken);
    world.connect();
    world.pass(MINUTE);
    let pump = world.cloud_up.get(&"device/pump".parse().unwrap()).unwrap();
    assert_eq!(pump.document.to_value(), json!({ "level": 4 }));
    let node = world.node_report().unwrap();
    assert_eq!(node["local"], json!({ "site": "north" }));
    assert_eq!(node["orchestrator"]["state"], "ready", "the agent's own part stays");
    assert!(world.shadow("device/pump").reported_in_sync);
    assert_eq!(world.refused(report("app/web", json!({}))), RefusalCode::Invalid);
    assert_eq!(world.refused(report("device/pump", json!(3))), RefusalCode::Invalid);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let mut world = running_site();
    assert_eq!(world.refused(hold("none")), RefusalCode::UnknownApp);
    assert_eq!(world.refused(release("web")), RefusalCode::Conflict);
    world.order(hold("web")).unwrap();
    assert_eq!(world.refused(hold("web")), RefusalCode::Conflict);
    let refusal = world.order(apply("web", "web:2")).unwrap_err();
    assert!(refusal.message.contains("release web"), "{refusal}");
    let spec = json!({ "services": {} });
    assert_eq!(world.refused(Request::Apply { app: app("x"), spec }), RefusalCode::Invalid);
    let exec = |replica, command: &[&str]| Request::Exec {
        app: app("web"),
        service: "main".parse().unwrap(),
        replica,
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        timeout_s: 1,
    };
    assert_eq!(world.refused(exec(1, &["ls"])), RefusalCode::UnknownService);
    assert_eq!(world.refused(exec(0, &[])), RefusalCode::Invalid);
    world.input(Input::Asked(Ticket(7), exec(0, &["ls", "-l"])));
    assert_eq!(world.count("exec web/main.0 ls -l"), 1);
    let unknown = Request::Shadow { key: "device/none".parse().unwrap() };
    assert_eq!(world.refused(unknown), RefusalCode::UnknownShadow);
}

#[test]
fn an_order_that_the_store_refuses_is_refused_and_changes_nothing() {
    let mut world = running_site();
    world.disk.set_full(true);
    assert_eq!(world.refused(hold("web")), RefusalCode::Unavailable);
    assert_eq!(world.refused(apply("web", "web:2")), RefusalCode::Unavailable);
    world.disk.set_full(false);
    world.pass(MINUTE * 3);
    assert_eq!(world.images("web"), ["sha256:web:1"]);
    assert!(!world.reported("web").unwrap().held);
    world.order(hold("web")).unwrap();
}

#[test]
fn the_diagnosis_says_everything_but_secrets() {
    let mut world = running_site();
    let services = json!({ "main": { "image": "shop:1", "environment": { "TOKEN": "hunter2" },
        "secrets": { "/run/secrets/key": { "source": "key" } } } });
    let secrets = json!({ "key": { "content": "hunter2" } });
    world.put_spec("shop", json!({ "services": services, "secrets": secrets }));
    world.pass(MINUTE);
    world.order(hold("web")).unwrap();
    let Ok(Response::Diag(value)) = world.order(Request::Diag) else { panic!("a diagnosis") };
    let text = value.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("TOKEN") && text.contains("shop:1"));
    assert_eq!(value["decided_here"]["web"]["held"]["version"], 1);
    assert_eq!(value["status"]["link"]["up"], true);
}
